"""Recipes: how checkpoints are trained or converted, one package each, run as `python -m`.

For: making what the project ships and examples of making one's own.
Not for: evaluation; nothing of `iha_eval` or `model_adapters` needs a recipe to run.
"""
