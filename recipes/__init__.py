"""Recipes: how checkpoints are trained or converted, one package each, run as `python -m`.

For: making what the project ships and examples of making one's own.
Not for: evaluation; nothing of `iha_eval` or `model_adapters` needs a recipe to run.
"""

from collections.abc import Callable
from pathlib import Path


def leave_checkpoint(run: Path, step: int, write: Callable[[Path], object]) -> None:
    """Leave a checkpoint for use in `step-N` of a run, for `iha-eval watch`; it appears whole.

    One that is there stays: a run that goes on makes the same steps again.

    Args:
        run: folder of the run.
        step: number of steps made.
        write: writes the checkpoint into a folder.
    """
    # Slow to import, and not needed for the help of a recipe.
    from model_adapters.convert.output import appearing

    place = run / f"step-{step:08d}"
    if not place.exists():
        with appearing(place) as made:
            write(made)
