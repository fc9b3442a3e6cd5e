"""Two models, night after night: run, remember, find regressions, report.

For: `iha-eval nightly` and `iha-eval history`. In the order in which a night meets them: `config`
says what to do, `jobs` makes commands of it, `lock` keeps a second start out, `night` knows what is
done already, `child` runs a command, `measures` reads what it wrote, `rules` looks for regressions,
`store` remembers, `series` looks back, `page` has the report made, and `conduct` conducts.
Not for: evaluating (lm-eval does that, in processes of its own), nor for comparing two runs
question by question (`iha_eval.compare`).
"""
