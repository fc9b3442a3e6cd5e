"""RULER's averages and effective length, against plain loops."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from lm_eval_runs import FakeTask, line

from iha_eval.compare.render.markdown import to_markdown
from iha_eval.compare.render.page import render
from iha_eval.ruler.suite import TASKS, leaf_name

LENGTHS = (4096, 8192, 16384)

Report = Callable[..., dict[str, Any]]


def suite(
    means: Sequence[float], names: Sequence[str] = tuple(TASKS), seed: int = 0
) -> dict[str, FakeTask]:
    """Each task at each length with 20 documents, of which about such a share is right."""
    generator = np.random.default_rng(seed)
    return {
        leaf_name(name, length): FakeTask(
            [
                line(number, {"string_match": float(score), "strict_match": 0.0})
                for number, score in enumerate(generator.random(20) < mean)
            ]
        )
        for length, mean in zip(LENGTHS, means, strict=False)
        for name in names
    }


def cells(report: dict[str, Any], side: str, length: int) -> list[float]:
    table = report["tables"][0]
    return [r[side] for r in table["rows"] if r["variant"] and r["length"] == length]


def test_averages_are_those_of_plain_loops(report: Report) -> None:
    made = report(suite((0.97, 0.9, 0.5)), suite((0.95, 0.6, 0.2), seed=1))
    ruler = made["ruler"]
    assert (len(ruler["tasks"]), ruler["of"], ruler["lengths"]) == (13, 13, list(LENGTHS))
    for side in ("iha", "baseline"):
        means = [sum(cells(made, side, length)) / 13 for length in LENGTHS]
        assert ruler[side] == pytest.approx(means)
        short, middle, long = means
        by_weights = {average["weights"]: average[side] for average in ruler["averages"]}
        assert by_weights == pytest.approx(
            {
                "equal": (short + middle + long) / 3,
                "increasing": (short + 2 * middle + 3 * long) / 6,
                "decreasing": (3 * short + 2 * middle + long) / 6,
            }
        )
        reached = [
            n for n, mean in zip(LENGTHS, means, strict=True) if round(100 * mean, 2) >= 85.6
        ]
        assert ruler["effective"][side] == max(reached, default=None)
    assert ruler["effective"] == {"iha": 8192, "baseline": 4096}
    assert (ruler["paper"]["iha"], ruler["paper"]["baseline"]) == (0.44, 0.35)
    total = next(row for row in made["tables"][0]["rows"] if row["decides"])
    assert total["paper"] == ruler["paper"]


def test_the_interval_is_that_of_independent_cells(report: Report) -> None:
    made = report(suite((0.9, 0.7)), suite((0.8, 0.6), seed=1))
    equal = made["ruler"]["averages"][0]
    rows = [row for row in made["tables"][0]["rows"] if row["variant"]]
    below = sum((row["points"] - row["low"]) ** 2 for row in rows) ** 0.5 / len(rows)
    assert equal["points"] == pytest.approx(sum(row["points"] for row in rows) / len(rows))
    assert equal["points"] - equal["low"] == pytest.approx(below)
    # All cells have as many documents, so the row over all of them says nearly the same.
    total = next(row for row in made["tables"][0]["rows"] if row["decides"])
    assert equal["points"] == pytest.approx(total["points"])
    assert equal["high"] - equal["low"] == pytest.approx(total["high"] - total["low"], rel=0.25)


def test_eleven_tasks_are_called_so_and_have_no_number_of_the_paper(report: Report) -> None:
    names = [name for name in TASKS if not name.startswith("qa_")]
    tasks = suite((0.9, 0.8), names)
    made = report(tasks, tasks)
    assert len(made["ruler"]["tasks"]) == 11
    assert made["ruler"]["paper"] is None
    assert all(row["paper"] is None for row in made["tables"][0]["rows"])
    labels = [row["label"] for row in made["tables"][0]["rows"] if row["variant"] is None]
    assert labels == ["11 of 13 tasks, 4k", "11 of 13 tasks, 8k", "11 of 13 tasks, all lengths"]
    assert "RULER's averages of 11 of 13 tasks" in to_markdown(made)
    assert [made["ruler"][name] for name in ("effective", "threshold")] == [None, None]
    shown = to_markdown(made)
    assert "effective length are of all 13 tasks, so these are not comparable with them" in shown
    page = render(made)
    assert "Llama-2" not in shown + page
    assert "Accuracy against length in tokens, 11 of 13 tasks." in page


@pytest.mark.parametrize("count", [1, 2])
def test_other_lengths_have_no_number_of_the_paper(report: Report, count: int) -> None:
    tasks = suite((0.9, 0.8)[:count])
    made = report(tasks, tasks)
    assert made["ruler"]["effective"] is not None
    assert made["ruler"]["paper"] is None
    assert all(row["paper"] is None for row in made["tables"][0]["rows"])


def test_tasks_that_a_length_lacks_are_left_out_of_the_averages(report: Report) -> None:
    tasks = suite((0.9, 0.8))
    del tasks[leaf_name("vt", 8192)]
    made = report(tasks, tasks)
    assert "vt" not in made["ruler"]["tasks"]
    assert len(made["ruler"]["tasks"]) == 12


def test_one_length_has_one_average_and_other_tasks_have_no_summary(report: Report) -> None:
    tasks = suite((0.5,))
    made = report(tasks, tasks)
    assert [average["weights"] for average in made["ruler"]["averages"]] == ["equal"]
    assert made["ruler"]["effective"] == {"iha": None, "baseline": None}
    assert (
        report({"quiz": tasks[leaf_name("vt", 4096)]}, {"quiz": tasks[leaf_name("vt", 4096)]})[
            "ruler"
        ]
        is None
    )
