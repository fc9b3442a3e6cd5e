"""Training one model on one task, with early stopping.

For: one cell of the experiment. Not for: which cells there are (see `cells.py`).

The paper fixes 40,000 / 5,000 / 5,000 examples, binary cross-entropy for each entry, the learning
rates and a patience of 10. Choices: Adam without weight decay or schedule; batches of 16, each of
one m; patience counts evaluations without a lower loss in validation, four an epoch; an end after 4
epochs, which is what lets all cells finish in a night on two cores; the weights of the best
evaluation are tested. All models of a seed see the same examples in the same order. A width of
32 was chosen on multi-head attention alone, which with 64 has 98% of binary's entries right after
two epochs, so that nothing is left to compare; with 32 simplicial attention, through its second
keys and values, has exactly as many parameters as IHA.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from iha_eval.evidence.composition import network
from iha_eval.evidence.composition.relations import Examples, Task, draw


@dataclass(frozen=True)
class Settings:
    """All that is the same for every cell; the defaults are those of the full run."""

    examples: tuple[int, int, int] = (40_000, 5_000, 5_000)
    hidden: int = 32
    batch: int = 16
    epochs: int = 4
    evaluations: int = 4
    patience: int = 10


#: What `--quick` does: everything, on next to nothing.
QUICK = Settings((64, 16, 16), hidden=16, epochs=1, evaluations=2)


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
    task: Task, model: str, rate: float, seed: int, settings: Settings, say: Say
) -> dict[str, Any]:
    """Train and test one model.

    Args:
        task: Binary or ternary composition.
        model: A key of `network.MODELS`.
        rate: Learning rate.
        seed: Of the examples, their order and the weights.
        settings: Sizes and limits.
        say: Is told how far it is after every evaluation.

    Returns:
        The history, the test's scores and counts, for the cell's JSON.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    splits = split(task, seed, settings)
    trained = network.build(model, settings.hidden, max(task.sizes), seed).to(device)
    started = time.perf_counter()
    history, best = _fit(trained, splits, rate, seed, settings, say)
    trained.load_state_dict(best)
    test = evaluate(trained, splits.test, settings.batch)
    return {
        "test": vars(test),
        "constant_guess": splits.test.share,
        "parameters": network.parameters(trained),
        "attention_parameters": network.parameters(trained.attention),
        "stopped_early": len(history) < settings.epochs * settings.evaluations,
        "seconds": round(time.perf_counter() - started, 1),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU, one thread",
        "history": history,
    }


def split(task: Task, seed: int, settings: Settings) -> Splits:
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
    trained: nn.Module, splits: Splits, rate: float, seed: int, settings: Settings, say: Say
) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    """The history of evaluations and the best weights."""
    optimizer = torch.optim.Adam(trained.parameters(), lr=rate)
    watch = Watch(trained, splits, settings, say)
    order = torch.Generator().manual_seed(seed)
    for _ in range(settings.epochs):
        for relations, composed in splits.training.batches(settings.batch, order):
            logits = trained(relations.to(_device(trained)))
            loss = _loss(logits, composed.to(_device(trained)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if watch.after(len(relations), loss.item()):
                return watch.history, watch.best
    return watch.history, watch.best


class Watch:
    """Evaluates in good time, keeps the best weights, and says when to stop.

    Attributes:
        history: One entry an evaluation.
        best: Weights with the lowest loss in validation so far.
    """

    def __init__(self, trained: nn.Module, splits: Splits, settings: Settings, say: Say) -> None:
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self._trained, self._examples, self._settings = trained, splits.validation, settings
        self._say = say
        self._seen = 0
        self._losses: list[float] = []
        self._total = settings.epochs * splits.training.count
        self._every = splits.training.count / settings.evaluations
        self._start = time.perf_counter()

    def after(self, examples: int, loss: float) -> bool:
        """Count a batch and its training loss; True if patience is at its end."""
        self._seen += examples
        self._losses.append(loss)
        if self._seen < (len(self.history) + 1) * self._every:
            return False
        scores = evaluate(self._trained, self._examples, self._settings.batch)
        lowest = min((entry["loss"] for entry in self.history), default=float("inf"))
        if scores.loss < lowest:
            self.best = copy.deepcopy(self._trained.state_dict())
        losses, self._losses = self._losses, []
        entry = {"examples": self._seen, "training_loss": sum(losses) / len(losses)}
        self.history.append(entry | vars(scores))
        self._tell(scores)
        return self._since_best() >= self._settings.patience

    def _since_best(self) -> int:
        losses = [entry["loss"] for entry in self.history]
        return len(losses) - 1 - losses.index(min(losses))

    def _tell(self, scores: Scores) -> None:
        spent = time.perf_counter() - self._start
        left = spent * (self._total - self._seen) / self._seen
        self._say(
            f"{self._seen:,} of {self._total:,} examples, validation {scores.accuracy:.4f}, "
            f"{1000 * spent / self._seen:.1f} ms an example, at most {left / 60:.0f} min left"
        )


def _loss(logits: Tensor, wanted: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, wanted.float())


def _device(trained: nn.Module) -> torch.device:
    return next(trained.parameters()).device
