"""Scores against the number of votes, for the curves of Maj@k and pass@k.

For: points with their intervals. Not for: comparing the two curves (cells.py), nor for drawing.
"""

from collections.abc import Iterator
from typing import Any

from iha_eval.compare.analysis.benchmarks import Part, Row, metric_label, metrics_of, votes
from iha_eval.compare.analysis.measured_rows import row_levels, row_scores
from iha_eval.compare.inputs.pairing import SIDES, Pairing, Task


def curves(pairing: Pairing) -> list[dict[str, Any]]:
    """A curve for each task and filter that has scores at two numbers of votes or more."""
    return [
        curve
        for task in pairing.tasks
        for filter_name in task.filters
        for curve in _curves(pairing, task, filter_name)
    ]


def _curves(pairing: Pairing, task: Task, filter_name: str) -> Iterator[dict[str, Any]]:
    metrics = metrics_of(task, filter_name)
    for kind in ("maj", "pass"):
        numbers = votes(metrics, kind)
        if len(numbers) < 2:
            continue
        points = [_levels(pairing, Part(task.name, filter_name, f"{kind}@{k}")) for k in numbers]
        yield {
            "task": task.name,
            "label": f"{task.name}: {metric_label(f'{kind}@k')}",
            "metric": kind,
            "k": numbers,
            **{name: [point[name] for point in points] for name in points[0]},
        }


def _levels(pairing: Pairing, part: Part) -> dict[str, float | None]:
    row = Row(part.task, "", part.metric, (part,))
    levels = row_levels(pairing, row, row_scores(pairing, row))
    found: dict[str, float | None] = {}
    for side in SIDES:
        one = levels[side]
        found |= {side: one.mean, f"{side}_low": one.low, f"{side}_high": one.high}
    return found
