"""The whole experiment: its cells, and what they say about the paper's claim.

For: table, sentences and figure. Not for: training (see `cells.py` and `training.py`).

A model's score on a task and seed is that of its better learning rate, chosen by the loss in
validation; differences are between models of the same seed, which saw the same examples.
"""

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from iha_eval.compare.render.figures import Panel
from iha_eval.errors import UserError
from iha_eval.evidence.composition.cells import RATES, cell_name, finished, run_all
from iha_eval.evidence.composition.network import MODELS
from iha_eval.evidence.composition.plan import Plan
from iha_eval.evidence.composition.relations import TASKS
from iha_eval.evidence.composition.training import Say
from iha_eval.evidence.figures import dots
from iha_eval.evidence.result import Evidence, prepare

#: Points by which the paper's IHA is ahead of simplicial attention, at most.
PAPER_POINTS = {"binary": 4.7, "ternary": 3.3}

Cells = Sequence[Mapping[str, Any]]


def run(folder: Path, say: Say, plan: Plan) -> Evidence:
    """Run what is missing and sum up.

    Args:
        folder: The cells' files are kept below it, in the plan's folder.
        say: Is told how far it is.
        plan: How much is done.

    Raises:
        UserError: A file of a cell is not one, or is of other settings; or there is nothing to
            sum up.
    """
    place, cells = prepare(folder / plan.folder), plan.cells
    if plan.summary:
        contents = finished(cells, plan.settings, place)
    else:
        contents = run_all(cells, plan.settings, place, plan.jobs, say)
    if not comparable(contents):
        raise UserError(
            f"{place} has no seed and learning rate yet that {', '.join(MODELS)} all have: let "
            "more of it run, without --summary."
        )
    evidence = summarize(contents, [cell.name for cell in cells])
    return replace(evidence, sentences=[*plan.reductions, *evidence.sentences])


def summarize(cells: Cells, names: Sequence[str]) -> Evidence:
    """Table, sentences and figure of finished cells.

    Comparisons are of those tasks, seeds and rates that all models have.

    Args:
        cells: As their files hold them; all models have at least one in common.
        names: Of all that there should be.
    """
    whole = comparable(cells)
    chosen = {task.name: {name: best(whole, task.name, name) for name in MODELS} for task in TASKS}
    chosen = {task: by for task, by in chosen.items() if by["IHA"]}
    accuracy = {
        task: {name: [100 * cell["test"]["accuracy"] for cell in some] for name, some in by.items()}
        for task, by in chosen.items()
    }
    there = {_name(cell) for cell in cells}
    missing = [name for name in names if name not in there]
    return Evidence(
        "composition",
        "Composition of relations, one layer, 8 heads",
        (
            *("task", "model", "weights", "in attention", "rate", "seeds"),
            *("entries right %", "loss", "min a run"),
        ),
        [
            _row(_some(cells, task.name, model, rate), task.name, model, rate)
            for task in TASKS
            for model in MODELS
            for rate in RATES
        ],
        [*_missing(missing, len(names)), *_sentences(chosen, accuracy, bool(missing))],
        {
            "missing": missing,
            "better_rate": {
                task: {name: [cell["learning_rate"] for cell in some] for name, some in by.items()}
                for task, by in chosen.items()
            },
            "accuracy": accuracy,
            "cells": [dict(cell) for cell in cells],
        },
        [_panel(accuracy)],
    )


def comparable(cells: Cells) -> Cells:
    """Those whose task, seed and rate all models have."""
    counts = Counter(_place(cell) for cell in cells)
    return [cell for cell in cells if counts[_place(cell)] == len(MODELS)]


def _place(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    return cell["task"], cell["seed"], cell["learning_rate"]


def _name(cell: Mapping[str, Any]) -> str:
    return cell_name(cell["task"], cell["model"], cell["learning_rate"], cell["seed"])


def _missing(names: Sequence[str], count: int) -> Iterator[str]:
    if names:
        yield (
            f"Partial: {len(names)} of {count} runs are missing, from {names[0]} on (all of them: "
            "missing, in the JSON file); comparisons are of those seeds and rates that all models "
            "have."
        )


def best(cells: Cells, task: str, model: str) -> list[Mapping[str, Any]]:
    """For each seed, in order, the cell of the learning rate with the lowest loss in validation."""
    best_of_seed: dict[int, Mapping[str, Any]] = {}
    for cell in sorted(_some(cells, task, model), key=lambda cell: cell["seed"]):
        rival = best_of_seed.get(cell["seed"])
        if rival is None or _validation(cell) < _validation(rival):
            best_of_seed[cell["seed"]] = cell
    return list(best_of_seed.values())


def _some(cells: Cells, task: str, model: str, rate: float | None = None) -> Cells:
    return [
        cell
        for cell in cells
        if (cell["task"], cell["model"]) == (task, model) and rate in (None, cell["learning_rate"])
    ]


def _validation(cell: Mapping[str, Any]) -> float:
    return min(float(entry["loss"]) for entry in cell["history"])


def _row(some: Cells, task: str, model: str, rate: float) -> tuple[str, ...]:
    if not some:
        return (task, model, "-", "-", f"{rate:g}", "0", "-", "-", "-")
    tests = [cell["test"] for cell in some]
    return (
        task,
        model,
        f"{some[0]['parameters']:,}",
        f"{some[0]['attention_parameters']:,}",
        f"{rate:g}",
        f"{len(some)}",
        _spread([100 * test["accuracy"] for test in tests], 2),
        _spread([test["loss"] for test in tests], 4),
        f"{statistics.mean(cell['seconds'] for cell in some) / 60:.1f}",
    )


def _spread(values: list[float], digits: int) -> str:
    """The mean and, of several values, their standard deviation."""
    middle = f"{statistics.mean(values):.{digits}f}"
    return middle if len(values) < 2 else f"{middle} ± {statistics.stdev(values):.{digits}f}"


def _sentences(
    chosen: Mapping[str, Mapping[str, Cells]],
    accuracy: Mapping[str, Mapping[str, list[float]]],
    partial: bool,
) -> Iterator[str]:
    rate = "the better of the learning rates compared" if partial else "its better learning rate"
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
                f"at {rate}{end}"
            )
    runs = [cell for by in chosen.values() for some in by.values() for cell in some]
    limited = sum(not cell["stopped_early"] for cell in runs)
    yield (
        f"{limited} of these {len(runs)} runs were ended by the limit on epochs, not by early "
        "stopping."
    )


def _panel(accuracy: Mapping[str, Mapping[str, list[float]]]) -> Panel:
    return dots("composition", "Each seed at its better rate", accuracy, "entries right, %")
