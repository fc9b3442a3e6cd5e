"""The whole experiment: its cells, and what they say about the paper's claim.

For: table, sentences and figure. Not for: training (see `cells.py` and `training.py`).

A model's score on a task and seed is that of its better learning rate, chosen by the loss in
validation; differences are between models of the same seed, which saw the same examples.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from iha_eval.compare.figures import Panel
from iha_eval.evidence.composition.cells import RATES, grid, run_all
from iha_eval.evidence.composition.network import MODELS
from iha_eval.evidence.composition.relations import QUICK_TASKS, TASKS
from iha_eval.evidence.composition.training import QUICK, Say, Settings
from iha_eval.evidence.figures import dots
from iha_eval.evidence.result import Evidence, prepare

SEEDS = 3
#: Points by which the paper's IHA is ahead of simplicial attention, at most.
PAPER_POINTS = {"binary": 4.7, "ternary": 3.3}

Cells = Sequence[Mapping[str, Any]]

_SMALL = "This quick form shows that everything runs; its numbers say nothing about the claim."


def run(folder: Path, say: Say, seed: int = 0, quick: bool = False, jobs: int = 1) -> Evidence:
    """Run what is missing and sum up.

    Args:
        folder: The cells' files are kept below it, in `composition/` or `composition-quick/`.
        say: Is told how far it is.
        seed: The first of three, or the only one of a quick run.
        quick: A few small examples instead of the experiment.
        jobs: Processes at a time.

    Raises:
        UserError: A file of a cell is not one, or is of other settings.
    """
    place = prepare(folder / ("composition-quick" if quick else "composition"))
    settings, tasks, count = (QUICK, QUICK_TASKS, 1) if quick else (Settings(), TASKS, SEEDS)
    cells = grid(tasks, range(seed, seed + count))
    found = summarize(run_all(cells, settings, place, jobs, say))
    return replace(found, sentences=[*found.sentences, _SMALL]) if quick else found


def summarize(cells: Cells) -> Evidence:
    """Table, sentences and figure of finished cells, as their files hold them."""
    chosen = {task.name: {name: best(cells, task.name, name) for name in MODELS} for task in TASKS}
    accuracy = {
        task: {name: [100 * cell["test"]["accuracy"] for cell in some] for name, some in by.items()}
        for task, by in chosen.items()
    }
    return Evidence(
        "composition",
        "Composition of relations, one layer, 8 heads",
        (
            *("task", "model", "weights", "in attention", "rate", "entries right %", "loss"),
            "min a run",
        ),
        [
            _row(cells, task.name, model, rate)
            for task in TASKS
            for model in MODELS
            for rate in RATES
        ],
        list(_sentences(chosen, accuracy)),
        {
            "better_rate": {
                task: {name: [cell["learning_rate"] for cell in some] for name, some in by.items()}
                for task, by in chosen.items()
            },
            "accuracy": accuracy,
            "cells": [dict(cell) for cell in cells],
        },
        [_panel(accuracy)],
    )


def best(cells: Cells, task: str, model: str) -> list[Mapping[str, Any]]:
    """For each seed, in order, the cell of the learning rate with the lowest loss in validation."""
    found: dict[int, Mapping[str, Any]] = {}
    for cell in sorted(_some(cells, task, model), key=lambda cell: cell["seed"]):
        rival = found.get(cell["seed"])
        if rival is None or _validation(cell) < _validation(rival):
            found[cell["seed"]] = cell
    return list(found.values())


def _some(cells: Cells, task: str, model: str, rate: float | None = None) -> Cells:
    return [
        cell
        for cell in cells
        if (cell["task"], cell["model"]) == (task, model) and rate in (None, cell["learning_rate"])
    ]


def _validation(cell: Mapping[str, Any]) -> float:
    return min(float(entry["loss"]) for entry in cell["history"])


def _row(cells: Cells, task: str, model: str, rate: float) -> tuple[str, ...]:
    some = _some(cells, task, model, rate)
    tests = [cell["test"] for cell in some]
    return (
        task,
        model,
        f"{some[0]['parameters']:,}",
        f"{some[0]['attention_parameters']:,}",
        f"{rate:g}",
        _spread([100 * test["accuracy"] for test in tests], 2),
        _spread([test["loss"] for test in tests], 4),
        f"{statistics.mean(cell['seconds'] for cell in some) / 60:.1f}",
    )


def _spread(values: list[float], digits: int) -> str:
    """The mean and, of several values, their standard deviation."""
    middle = f"{statistics.mean(values):.{digits}f}"
    return middle if len(values) < 2 else f"{middle} ± {statistics.stdev(values):.{digits}f}"


def _sentences(
    chosen: Mapping[str, Mapping[str, Cells]], accuracy: Mapping[str, Mapping[str, list[float]]]
) -> Iterator[str]:
    for task, by in accuracy.items():
        guess = statistics.mean(cell["constant_guess"] for cell in chosen[task]["IHA"])
        yield f"{task}: the better constant guess has {100 * guess:.2f}% of the entries right."
        simplicial = f"; the paper has up to +{PAPER_POINTS[task]}."
        for rival, called, end in (
            ("simplicial", "simplicial attention", simplicial),
            ("MHA", "MHA", "."),
        ):
            ahead = [a - b for a, b in zip(by["IHA"], by[rival], strict=True)]
            seeds = "" if len(ahead) == 1 else f" ({min(ahead):+.2f} to {max(ahead):+.2f} by seed)"
            yield (
                f"{task}: IHA minus {called} is {statistics.mean(ahead):+.2f} points{seeds}, each "
                f"at its better learning rate{end}"
            )
    runs = [cell for by in chosen.values() for some in by.values() for cell in some]
    limited = sum(not cell["stopped_early"] for cell in runs)
    yield (
        f"{limited} of these {len(runs)} runs were ended by the limit on epochs, not by early "
        "stopping."
    )


def _panel(accuracy: Mapping[str, Mapping[str, list[float]]]) -> Panel:
    return dots("composition", "Each seed at its better rate", accuracy, "entries right, %")
