"""Reduced experiments: what they run, where, and that they say so."""

import pytest

from iha_eval.evidence.composition.plan import Plan
from iha_eval.evidence.composition.training import QUICK, TrainingSettings


@pytest.mark.parametrize(
    ("plan", "cells", "folder", "reductions"),
    [
        (Plan(), 36, "composition", []),
        (Plan(seeds=3, seed=5), 36, "composition", []),
        (
            *(Plan(epochs=1), 36, "composition-epochs1"),
            ["Not the full experiment: epochs 1 (in full 4)."],
        ),
        (
            *(Plan(epochs=6, seeds=2), 24, "composition-epochs6"),
            ["Not the full experiment: epochs 6 (in full 4), seeds 2 (in full 3)."],
        ),
    ],
    ids=["full", "seeds-stated", "one-epoch", "both"],
)
def test_the_extent(plan: Plan, cells: int, folder: str, reductions: list[str]) -> None:
    assert len(plan.cells) == cells
    assert plan.folder == folder
    assert plan.reductions == reductions
    assert {cell.seed for cell in plan.cells} == set(range(plan.seed, plan.seed + cells // 12))
    assert plan.settings.epochs == (plan.epochs or TrainingSettings().epochs)


def test_a_quick_one_can_be_longer() -> None:
    plan = Plan(quick=True, epochs=2, seeds=2)
    assert (plan.settings.epochs, plan.settings.examples) == (2, QUICK.examples)
    assert (len(plan.cells), plan.folder) == (24, "composition-quick-epochs2")
    assert plan.reductions[0].startswith("This quick form shows that everything runs")
    assert max(plan.cells[0].task.sizes) == 3
