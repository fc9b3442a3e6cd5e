"""lm-eval's side of the project: start-up hook, model classes, and what goes into result files.

For: everything that talks to lm-eval's interfaces. Not for: tasks, documents and scores, nor for
models.
"""
