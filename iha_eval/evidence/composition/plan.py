"""How much of the experiment is done: settings, cells and folder of a command.

For: the full experiment, and reduced ones that say so. Not for: running it (see `experiment.py`).
"""

from dataclasses import dataclass, replace

from iha_eval.evidence.composition.cells import TrainingCell, grid
from iha_eval.evidence.composition.relations import QUICK_TASKS, TASKS
from iha_eval.evidence.composition.training import QUICK, TrainingSettings

#: Of the full experiment.
SEEDS = 3

_SMALL = "This quick form shows that everything runs; its numbers say nothing about the claim."


@dataclass(frozen=True)
class Plan:
    """How much of the experiment is done.

    Attributes:
        seed: The first one.
        seeds: How many; None for three, or one of a quick run.
        epochs: The limit; None for that of the settings.
        quick: A few small examples instead of the experiment.
        jobs: Processes at a time.
        summary: Run nothing, and sum up the cells that are there.
    """

    seed: int = 0
    seeds: int | None = None
    epochs: int | None = None
    quick: bool = False
    jobs: int = 1
    summary: bool = False

    @property
    def settings(self) -> TrainingSettings:
        """Of every cell."""
        usual = QUICK if self.quick else TrainingSettings()
        return usual if self.epochs is None else replace(usual, epochs=self.epochs)

    @property
    def cells(self) -> list[TrainingCell]:
        """All of them, in their order."""
        count = self.seeds or (1 if self.quick else SEEDS)
        return grid(QUICK_TASKS if self.quick else TASKS, range(self.seed, self.seed + count))

    @property
    def folder(self) -> str:
        """Its name, another one for other settings."""
        quick = "-quick" if self.quick else ""
        return f"composition{quick}" + ("" if self.epochs is None else f"-epochs{self.epochs}")

    @property
    def reductions(self) -> list[str]:
        """A sentence on how this falls short of the experiment, if it does."""
        if self.quick:
            return [_SMALL]
        numbers = {
            "epochs": (self.settings.epochs, TrainingSettings().epochs),
            "seeds": (len({cell.seed for cell in self.cells}), SEEDS),
        }
        other = [f"{name} {n} (in full {full})" for name, (n, full) in numbers.items() if n != full]
        return [f"Not the full experiment: {', '.join(other)}."] if other else []
