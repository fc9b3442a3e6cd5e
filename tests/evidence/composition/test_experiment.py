"""The sum of all cells, on cells made by hand."""

from pathlib import Path
from typing import Any

import pytest

from iha_eval.evidence.composition import experiment
from iha_eval.evidence.composition.cells import RATES
from iha_eval.evidence.composition.network import MODELS

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


def test_table_and_sentences() -> None:
    found = experiment.summarize(grid())
    assert found.rows[0] == (
        *("binary", "MHA", "12,345", "2,345", "0.001", "71.00 ± 1.00", "0.3000 ± 0.0000", "1.5"),
    )
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
    found = experiment.summarize(grid(seeds=1))
    assert found.rows[0][5] == "70.00"
    assert "(" not in found.sentences[1]


def test_a_quick_run_trains_all_and_says_that_it_shows_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    found = experiment.run(tmp_path, said.append, seed=7, quick=True)
    assert len(list((tmp_path / "composition-quick").glob("*-seed7.json"))) == 12
    assert len(found.rows) == 12
    assert found.sentences[-1].startswith("This quick form shows that everything runs")
    assert not (tmp_path / "composition").exists()
