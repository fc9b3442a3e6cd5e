"""Tasks for lm-evaluation-harness: YAML files, and Python that only names functions of iha_eval.

For: `--include_path`, and the start-up hook, which adds this folder to lm-eval's own.
Not for: code.
"""
