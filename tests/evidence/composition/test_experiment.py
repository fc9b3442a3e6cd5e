"""The sum of all cells, on cells made by hand."""

from pathlib import Path
from typing import Any

import pytest

from iha_eval.errors import UserError
from iha_eval.evidence.composition import experiment
from iha_eval.evidence.composition.cells import RATES, cell_name
from iha_eval.evidence.composition.network import MODELS
from iha_eval.evidence.composition.plan import Plan

ACCURACY = {"MHA": 0.70, "simplicial": 0.80, "IHA": 0.83}


def cell(task: str, model: str, rate: float, seed: int, **changes: Any) -> dict[str, Any]:
    """The lower rate is worse; later seeds are better by a point."""
    worse = rate == 1e-4
    accuracy = ACCURACY[model] + seed / 100 - worse / 10
    return {
        "task": task,
        "model": model,
        "learning_rate": rate,
        "seed": seed,
        "test": {"loss": 0.3 + worse, "accuracy": accuracy, "whole": 0.1},
        "constant_guess": 0.6,
        "parameters": 12345,
        "attention_parameters": 2345,
        "stopped_early": worse,
        "seconds": 90.0,
        "history": [{"loss": 0.9}, {"loss": 0.4 + worse}, {"loss": 0.5 + worse}],
    } | changes


def grid(seeds: int = 3) -> list[dict[str, Any]]:
    return [
        cell(task, model, rate, seed)
        for seed in range(seeds)
        for task in ("binary", "ternary")
        for model in MODELS
        for rate in RATES
    ]


def names(cells: list[dict[str, Any]]) -> list[str]:
    return [
        cell_name(cell["task"], cell["model"], cell["learning_rate"], cell["seed"])
        for cell in cells
    ]


def test_table_and_sentences() -> None:
    found = experiment.summarize(grid(), names(grid()))
    assert found.rows[0] == (
        *("binary", "MHA", "12,345", "2,345", "0.001", "3"),
        *("71.00 ± 1.00", "0.3000 ± 0.0000", "1.5"),
    )
    assert found.data["missing"] == []
    assert len(found.rows) == 12
    assert found.sentences[:3] == [
        "binary: the better constant guess has 60.00% of the entries right.",
        "binary: IHA minus simplicial attention is +3.00 points (+3.00 to +3.00 by seed), each at "
        "its better learning rate; the paper has up to +4.7.",
        "binary: IHA minus MHA is +13.00 points (+13.00 to +13.00 by seed), each at its better "
        "learning rate.",
    ]
    assert found.sentences[-1] == (
        "18 of these 18 runs were ended by the limit on epochs, not by early stopping."
    )
    assert found.data["accuracy"]["binary"]["IHA"] == pytest.approx([83, 84, 85])
    assert len(found.data["cells"]) == 36


def test_the_rate_is_chosen_in_validation_not_by_the_test() -> None:
    better_test = {"loss": 0.1, "accuracy": 0.99, "whole": 0.9}
    cells = [
        cell("binary", "IHA", 1e-3, 0),
        cell("binary", "IHA", 1e-4, 0, test=better_test),
        cell("binary", "IHA", 1e-3, 1, history=[{"loss": 3.0}]),
        cell("binary", "IHA", 1e-4, 1),
    ]
    chosen = experiment.best(cells, "binary", "IHA")
    assert [(one["seed"], one["learning_rate"]) for one in chosen] == [(0, 1e-3), (1, 1e-4)]


def test_one_seed_has_no_spread() -> None:
    found = experiment.summarize(grid(seeds=1), names(grid(seeds=1)))
    assert found.rows[0][5:7] == ("1", "70.00")
    assert "(" not in found.sentences[1]


def test_a_partial_summary_names_what_is_missing_and_compares_only_what_all_have() -> None:
    """Seed 1 lacks IHA's higher rate, in binary; there is no ternary simplicial attention."""
    everything = grid(seeds=2)
    gone = [
        one
        for one in everything
        if (one["task"], one["model"]) == ("ternary", "simplicial")
        or (one["task"], one["model"], one["learning_rate"], one["seed"])
        == ("binary", "IHA", 1e-3, 1)
    ]
    found = experiment.summarize([one for one in everything if one not in gone], names(everything))
    assert found.data["missing"] == names(gone)
    assert found.sentences[0] == (
        f"Partial: 5 of 24 runs are missing, from {names(gone)[0]} on (all of them: missing, in "
        "the JSON file); comparisons are of those seeds and rates that all models have."
    )
    # Seed 1 is compared at the lower rate, ten points below.
    assert list(found.data["accuracy"]) == ["binary"]
    assert found.data["accuracy"]["binary"]["MHA"] == pytest.approx([70, 61])
    assert found.data["accuracy"]["binary"]["IHA"] == pytest.approx([83, 74])
    assert "each at the better of the learning rates compared" in found.sentences[2]
    rows = {row[:2] + row[4:5]: row for row in found.rows}
    assert rows["ternary", "simplicial", "0.001"][2:] == (*("-", "-", "0.001", "0", "-", "-", "-"),)
    assert rows["binary", "IHA", "0.001"][5] == "1"


def test_a_quick_run_trains_all_and_says_that_it_shows_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    found = experiment.run(tmp_path, said.append, Plan(seed=7, quick=True))
    assert len(list((tmp_path / "composition-quick").glob("*-seed7.json"))) == 12
    assert len(found.rows) == 12
    assert found.sentences[0].startswith("This quick form shows that everything runs")
    assert not (tmp_path / "composition").exists()
    said.clear()
    place = tmp_path / "composition-quick"
    for path in place.glob("ternary-*"):
        path.unlink()
    partial = experiment.run(tmp_path, said.append, Plan(seed=7, quick=True, summary=True))
    assert said == []
    assert partial.sentences[1].startswith("Partial: 6 of 12 runs are missing, from ternary-mha-")
    assert partial.data["accuracy"] == {"binary": found.data["accuracy"]["binary"]}
    for path in place.glob("*-iha-*"):
        path.unlink()
    with pytest.raises(UserError, match="that MHA, simplicial, IHA all have: let more of it run"):
        experiment.run(tmp_path, said.append, Plan(seed=7, quick=True, summary=True))
