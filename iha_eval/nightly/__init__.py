"""Two models, night after night: run, remember, find regressions, report.

For: `iha-eval nightly` and `iha-eval history`. In the order in which a night meets them: `config`
says what to do, `night` makes commands of it and knows which are done already, `lock` keeps a
second start out, `process` runs a command, `measures` reads what it wrote, `regressions` looks for
drops, `record` writes the night into the `history`, `trends` looks back, `report` has the report
made, and `run` does all of that in turn.
Not for: evaluating (lm-eval does that, in processes of its own), nor for comparing two runs
question by question (`iha_eval.compare`).
"""
