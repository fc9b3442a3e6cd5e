"""Training one model on one task, with early stopping.

For: one cell of the experiment. Not for: which cells there are (see `cells.py`).

The paper fixes 40,000 / 5,000 / 5,000 examples, binary cross-entropy for each entry, the learning
rates and a patience of 10. Choices: Adam (torch's fused form) without weight decay or schedule;
batches of 16, each of one m; patience counts evaluations without a lower loss in validation, four
an epoch; an end after 4 epochs, which lets all cells finish in about a night on one core; the
weights of the best evaluation are tested. All models of a seed see the same examples in the same
order. A width of 32 was chosen on multi-head attention alone, which with 64 has 98% of binary's
entries right after two epochs, so that nothing is left to compare; with 32 simplicial attention,
through its second keys and values, has exactly as many parameters as IHA.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from iha_eval.evidence.composition import network, progress
from iha_eval.evidence.composition.relations import Examples, RelationTask, draw


@dataclass(frozen=True)
class TrainingSettings:
    """All that is the same for every cell; the defaults are those of the full run."""

    examples: tuple[int, int, int] = (40_000, 5_000, 5_000)
    hidden: int = 32
    batch: int = 16
    epochs: int = 4
    evaluations: int = 4
    patience: int = 10


#: What `--quick` does: everything, on next to nothing.
QUICK = TrainingSettings((64, 16, 16), hidden=16, epochs=1, evaluations=2)


@dataclass(frozen=True)
class Scores:
    """How good the logits of some examples are.

    Attributes:
        loss: Binary cross-entropy, mean over entries.
        accuracy: Share of entries that are right.
        whole: Share of matrices without a wrong entry.
    """

    loss: float
    accuracy: float
    whole: float


@dataclass(frozen=True)
class Splits:
    """The examples of a task and seed."""

    training: Examples
    validation: Examples
    test: Examples


Say = Callable[[str], None]


def train(
    task: RelationTask,
    model: str,
    rate: float,
    seed: int,
    settings: TrainingSettings,
    say: Say,
    kept: Path,
) -> dict[str, Any]:
    """Train and test one model.

    Args:
        task: Binary or ternary composition.
        model: A key of `network.MODELS`.
        rate: Learning rate.
        seed: Of the examples, their order and the weights.
        settings: Sizes and limits.
        say: Is told how far it is after every evaluation.
        kept: File for the state at every evaluation, from which the run goes on if it is there.

    Returns:
        The history, the test's scores and counts, for the cell's JSON.

    Raises:
        UserError: The file is of other settings, or is no state.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    splits = split(task, seed, settings)
    trained = network.build(model, settings.hidden, max(task.sizes), seed).to(device)
    watch = _fit(trained, splits, rate, seed, settings, say, kept)
    trained.load_state_dict(watch.best)
    test = evaluate(trained, splits.test, settings.batch)
    return {
        "test": vars(test),
        "constant_guess": splits.test.share,
        "parameters": network.parameters(trained),
        "attention_parameters": network.parameters(trained.attention),
        "stopped_early": len(watch.history) < settings.epochs * settings.evaluations,
        "seconds": round(watch.spent, 1),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU, one thread",
        "history": watch.history,
    }


def split(task: RelationTask, seed: int, settings: TrainingSettings) -> Splits:
    """Examples that depend on task, seed and numbers alone."""
    generator = torch.Generator().manual_seed(seed)
    return Splits(*(draw(task, count, generator) for count in settings.examples))


@torch.no_grad()
def evaluate(trained: nn.Module, examples: Examples, batch: int) -> Scores:
    """Scores on all examples."""
    loss, right, entries, whole = 0.0, 0, 0, 0
    for relations, composed in examples.batches(batch):
        wanted = composed.to(_device(trained))
        logits = trained(relations.to(_device(trained)))
        loss += float(_loss(logits, wanted)) * wanted.numel()
        hits = (logits > 0) == wanted
        right, entries = right + int(hits.sum()), entries + wanted.numel()
        whole += int(hits.flatten(1).all(dim=1).sum())
    return Scores(loss / entries, right / entries, whole / examples.count)


def _fit(
    trained: nn.Module,
    splits: Splits,
    rate: float,
    seed: int,
    settings: TrainingSettings,
    say: Say,
    kept: Path,
) -> "TrainingWatch":
    """Train until patience or epochs are at their end."""
    optimizer = torch.optim.Adam(trained.parameters(), lr=rate, fused=True)
    watch = TrainingWatch(trained, splits, settings, say)
    if state := progress.load(kept, settings):
        trained.load_state_dict(state["weights"])
        optimizer.load_state_dict(state["optimizer"])
        watch.restore(state["watch"])
    if watch.impatient():
        return watch
    order = torch.Generator().manual_seed(seed)
    learned, passed = watch.seen, 0
    for _ in range(settings.epochs):
        for relations, composed in splits.training.batches(settings.batch, order):
            passed += len(relations)
            # What a run that was stopped has learned already; the order is the same again.
            if passed <= learned:
                continue
            logits = trained(relations.to(_device(trained)))
            loss = _loss(logits, composed.to(_device(trained)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if watch.after(len(relations), loss.item()):
                weights, moments = trained.state_dict(), optimizer.state_dict()
                state = {"weights": weights, "optimizer": moments, "watch": watch.state()}
                progress.save(kept, state, settings)
                if watch.impatient():
                    return watch
    return watch


class TrainingWatch:
    """Evaluates in good time, keeps the best weights, and says when to stop.

    Attributes:
        history: One entry an evaluation.
        best: Weights with the lowest loss in validation so far.
        seen: Examples learned from.
    """

    def __init__(
        self, trained: nn.Module, splits: Splits, settings: TrainingSettings, say: Say
    ) -> None:
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self.seen = 0
        self._trained, self._examples, self._settings = trained, splits.validation, settings
        self._say = say
        self._losses: list[float] = []
        self._total = settings.epochs * splits.training.count
        self._every = splits.training.count / settings.evaluations
        self._start = time.perf_counter()

    @property
    def spent(self) -> float:
        """Seconds of training and evaluating, those before a stop included."""
        return time.perf_counter() - self._start

    def impatient(self) -> bool:
        """Whether so many evaluations as patience allows have had no lower loss than the best."""
        losses = [entry["loss"] for entry in self.history]
        since = len(losses) - 1 - losses.index(min(losses)) if losses else 0
        return since >= self._settings.patience

    def state(self) -> dict[str, Any]:
        """All that `restore` needs, right after an evaluation."""
        return {name: getattr(self, name) for name in ("history", "best", "seen", "spent")}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.history, self.best, self.seen = state["history"], state["best"], state["seen"]
        self._start = time.perf_counter() - state["spent"]

    def after(self, examples: int, loss: float) -> bool:
        """Count a batch and its training loss; True if it was time for an evaluation."""
        self.seen += examples
        self._losses.append(loss)
        if self.seen < (len(self.history) + 1) * self._every:
            return False
        scores = evaluate(self._trained, self._examples, self._settings.batch)
        lowest = min((entry["loss"] for entry in self.history), default=float("inf"))
        if scores.loss < lowest:
            self.best = copy.deepcopy(self._trained.state_dict())
        losses, self._losses = self._losses, []
        entry = {"examples": self.seen, "training_loss": sum(losses) / len(losses)}
        self.history.append(entry | vars(scores))
        self._tell(scores)
        return True

    def _tell(self, scores: Scores) -> None:
        left = self.spent * (self._total - self.seen) / self.seen
        self._say(
            f"{self.seen:,} of {self._total:,} examples, validation {scores.accuracy:.4f}, "
            f"{1000 * self.spent / self.seen:.1f} ms an example, at most {left / 60:.0f} min left"
        )


def _loss(logits: Tensor, wanted: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, wanted.float())


def _device(trained: nn.Module) -> torch.device:
    return next(trained.parameters()).device
