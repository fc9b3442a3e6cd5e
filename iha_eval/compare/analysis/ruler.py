"""How the cells of `ruler_mk` are laid out: by length and variant, and taken together.

For: tasks named `ruler_mk_VARIANT_LENGTH`. Not for: their documents or scores (iha_eval.ruler).
"""

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from iha_eval.compare.analysis.benchmarks import Benchmark, Part, Row, Table, metric_label
from iha_eval.compare.inputs.pairing import Task
from iha_eval.ruler.definition import length_label
from iha_eval.ruler.scoring import METRICS

NAME = "ruler_mk"
LABEL = "RULER multi-key retrieval"

DECIDES = METRICS[0]
"""RULER's own score, over all documents."""

_CELL = re.compile(r"^ruler_mk_(multikey_[123])_(\d+)(k?)$")


def cell(task: str) -> tuple[int, str] | None:
    """Length in tokens and variant of a task; None if it is no cell of ruler_mk."""
    found = _CELL.match(task)
    return (int(found[2]) * (1024 if found[3] else 1), found[1]) if found else None


def lay_out(tasks: Sequence[Task], left_out: Iterable[str] = ()) -> Benchmark:
    """The benchmark of the cells among some tasks; there is at least one.

    Args:
        tasks: What is compared.
        left_out: Names of tasks that a run has and that are not compared.
    """
    cells = sorted((place, task.name) for task in tasks if (place := cell(task.name)))
    lengths = [place[0] for name in left_out if (place := cell(name))]
    label = f"{LABEL}: {{}}"
    return Benchmark(
        NAME,
        LABEL,
        [
            Table(label.format(metric_label(metric)), metric, metric_label(metric), rows)
            for metric in METRICS
            for rows in [_rows(cells, metric, lengths)]
        ],
    )


def _rows(
    cells: Sequence[tuple[tuple[int, str], str]], metric: str, left_out: Sequence[int]
) -> list[Row]:
    """Each length with its variants and their mean, then everything.

    Rows of several cells say so where some are left out, whose lengths are given.
    """
    rows: list[Row] = []
    for length, group in groupby(cells, key=lambda item: item[0][0]):
        members = list(group)
        short = length_label(length)
        rows += [
            Row(name, f"{variant}, {short}", metric, (Part(name, "none", metric),), variant, length)
            for (_, variant), name in members
        ]
        if len(members) > 1:
            parts = tuple(Part(name, "none", metric) for _, name in members)
            lost = left_out.count(length)
            some = f"all that were compared, {short} ({_of(members, lost)} variants)"
            together = some if lost else f"all variants, {short}"
            row = Row(f"{NAME}_{short}", together, metric, parts, None, length, partial=lost > 0)
            rows.append(row)
    parts = tuple(Part(name, "none", metric) for _, name in cells)
    total = "all lengths and variants"
    if left_out:
        total = f"all that were compared ({_of(cells, len(left_out))} cells)"
    decides = metric == DECIDES
    rows.append(Row(NAME, total, metric, parts, decides=decides, partial=bool(left_out)))
    return rows


def _of(there: Sequence[object], left_out: int) -> str:
    return f"{len(there)} of {len(there) + left_out}"
