"""The timing of a training step: every way computes the same, and the estimate adds up."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from iha_eval.evidence.composition import network
from iha_eval.evidence.composition.relations import TASKS

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def timing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    monkeypatch.syspath_prepend(FOLDER)
    import evidence_step

    return evidence_step


@pytest.fixture
def threads() -> Iterator[None]:
    """The number of threads, as it was."""
    count = torch.get_num_threads()
    yield
    torch.set_num_threads(count)


def test_all_ways_compute_the_same_attention(timing: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    states = [torch.randn(3, length, 4, generator=generator) for length in (9, 81, 81)]
    wanted = timing.by_definition(*states)
    for attend, _ in timing.WAYS.values():
        torch.testing.assert_close(attend(*states), wanted)


def test_a_step_is_made_in_its_way(timing: ModuleType) -> None:
    """And attention is the package's own again afterwards."""
    own, seen = timing.blockwise.attend, []

    def attend(*states: torch.Tensor) -> torch.Tensor:
        seen.append(states[0].shape)
        attended: torch.Tensor = own(*states)
        return attended

    timing.make_step("MHA", 3, attend, fused=False)()
    assert seen == [(16 * network.HEADS, 9, 4)]
    assert timing.blockwise.attend is own


@pytest.mark.usefixtures("threads")
def test_the_table_has_a_row_for_every_model_and_size(
    timing: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "times.json"
    timing.main(["--sizes", "2", "--turns", "1", "--seconds", "0", "--json", str(file)])
    rows = json.loads(file.read_text())["milliseconds"]
    assert [(row.pop("model"), row.pop("m")) for row in rows] == [
        (model, 2) for model in network.MODELS
    ]
    assert all(min(row.values()) > 0 and len(row) == 6 for row in rows)
    said = capsys.readouterr().out
    assert "| MHA | 2 | " in said
    assert "core-hours" not in said


def test_the_estimate_is_of_all_runs(timing: ModuleType) -> None:
    """3 seeds, 2 rates, 2 tasks, 40,000 examples an epoch and 4 validations of 5,000."""
    sizes = {size for task in TASKS for size in task.sizes}
    one = {"and fused Adam": 9.0, "validation by 16": 3.0}
    times = {(model, size): one for model in network.MODELS for size in sizes}
    milliseconds = 36 * (2 * 40_000 * 9 + (2 * 4 * 5_000 + 5_000) * 3)
    assert timing.hours(times, 2) == pytest.approx(milliseconds / 3.6e6)


def test_a_size_that_the_network_has_no_place_for_is_refused(
    timing: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        timing.main(["--sizes", "11"])
    assert "--sizes: the experiment has none beyond 10" in capsys.readouterr().err
