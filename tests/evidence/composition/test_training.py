"""Training: it learns, stops as said, keeps the best weights, and is repeatable."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch

from iha_eval.evidence.composition import network, training
from iha_eval.evidence.composition.relations import QUICK_TASKS, Examples, RelationTask

TASK = QUICK_TASKS[0]
SMALL = replace(training.QUICK, epochs=2)


def trained(
    settings: training.TrainingSettings, rate: float = 1e-3, **changes: Any
) -> dict[str, Any]:
    said: list[str] = []
    task = changes.get("task", TASK)
    with TemporaryDirectory() as folder:
        kept = changes.get("kept", Path(folder) / "state")
        found = training.train(task, "MHA", rate, 3, settings, said.append, kept)
    return found | {"said": said}


def test_a_small_task_is_learned() -> None:
    """Relations on two points: 16 of them, so that the layer can get all right."""
    task = RelationTask("tiny", 2, (2,), 0.5)
    settings = replace(SMALL, examples=(1200, 32, 64), epochs=3)
    found = trained(settings, 1e-2, task=task)
    assert found["test"]["accuracy"] > 0.97
    assert found["test"]["accuracy"] > found["constant_guess"] + 0.2
    assert found["history"][-1]["training_loss"] < found["history"][0]["training_loss"]


def test_a_run_is_repeatable_and_complete() -> None:
    found, again = trained(SMALL), trained(SMALL)
    assert found["history"] == again["history"]
    assert found["test"] == again["test"]
    assert [entry["examples"] for entry in found["history"]] == [32, 64, 96, 128]
    assert (found["stopped_early"], found["device"]) == (False, "CPU, one thread")
    built = network.build("MHA", 16, 3, 3)
    assert found["parameters"] == network.parameters(built)
    assert found["attention_parameters"] == network.parameters(built.attention)


def test_every_evaluation_is_told() -> None:
    [first, *_, last] = trained(SMALL)["said"]
    assert first.startswith("32 of 128 examples, validation 0.")
    assert "ms an example, at most " in first
    assert last.endswith("at most 0 min left")


def test_patience_counts_evaluations_without_a_lower_loss() -> None:
    """A rate of 0 never gets better than its first evaluation."""
    found = trained(replace(SMALL, epochs=3, patience=4), rate=0.0)
    assert found["stopped_early"]
    assert len(found["history"]) == 5


class StoppedError(Exception):
    """Stands for Ctrl-C."""


@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize("rate", [1e-3, 0.0], ids=["learning", "to-the-end-of-patience"])
def test_a_run_that_was_stopped_comes_to_the_same_end(
    after: int, rate: float, tmp_path: Path
) -> None:
    settings = replace(SMALL, patience=2)
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        # Before the state of this evaluation is kept.
        if len(said) == after:
            raise StoppedError

    kept = tmp_path / "state"
    with pytest.raises(StoppedError):
        training.train(TASK, "MHA", rate, 3, settings, say, kept)
    assert kept.exists() is (after > 1)
    again, whole = trained(settings, rate, kept=kept), trained(settings, rate)
    assert again["history"] == whole["history"]
    assert again["test"] == whole["test"]
    assert len(again["said"]) == len(whole["said"]) - (after - 1)
    ended = trained(settings, rate, kept=kept)
    assert (ended["said"], ended["test"]) == ([], whole["test"])


def test_seconds_before_a_stop_count(tmp_path: Path) -> None:
    kept = tmp_path / "state"
    trained(SMALL, kept=kept)
    state = training.progress.load(kept, SMALL)
    assert state is not None
    state["watch"]["spent"] = 1000.0
    training.progress.save(kept, state, SMALL)
    assert trained(SMALL, kept=kept)["seconds"] >= 1000


def test_the_best_weights_are_tested_not_the_last(tmp_path: Path) -> None:
    """A wild rate: some evaluation is better than the last one."""
    settings = replace(SMALL, epochs=4)
    splits = training.split(TASK, 3, settings)
    model = network.build("MHA", 16, 3, 3)
    watch = training._fit(model, splits, 0.5, 3, settings, lambda text: None, tmp_path / "state")
    losses = [entry["loss"] for entry in watch.history]
    assert min(losses) < losses[-1]
    model.load_state_dict(watch.best)
    found = training.evaluate(model, splits.validation, settings.batch)
    assert found.loss == pytest.approx(min(losses))


class Guess(torch.nn.Module):
    """The relation itself as logits of 2 and -2."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(4.0))

    def forward(self, relations: torch.Tensor) -> torch.Tensor:
        return self.scale * (relations.float() - 0.5)


def test_scores_by_hand() -> None:
    """Two matrices of 2 x 2, one right but for an entry."""
    relation = torch.tensor([[[1, 0], [0, 1]], [[1, 1], [0, 0]]]).bool()
    composed = torch.tensor([[[1, 0], [0, 1]], [[1, 1], [0, 1]]]).bool()
    scores = training.evaluate(Guess(), Examples({2: relation}, {2: composed}), 1)
    assert (scores.accuracy, scores.whole) == (7 / 8, 1 / 2)
    good, bad = (torch.nn.functional.softplus(torch.tensor(x)).item() for x in (-2.0, 2.0))
    assert scores.loss == pytest.approx((7 * good + bad) / 8)


def test_splits_differ_from_one_another_and_by_seed() -> None:
    splits = training.split(TASK, 0, SMALL)
    assert [part.count for part in (splits.training, splits.validation, splits.test)] == [
        *SMALL.examples
    ]
    first, other = (training.split(TASK, seed, SMALL).test.relations[3] for seed in (0, 1))
    assert first.shape != other.shape or not torch.equal(first, other)


def test_at_the_full_width_simplicial_attention_and_iha_have_equally_many_parameters() -> None:
    hidden = training.TrainingSettings().hidden
    counts = {name: network.parameters(build(hidden)) for name, build in network.MODELS.items()}
    assert counts["IHA"] == counts["simplicial"] == 4 * hidden**2 + 2048
