"""One sentence for each benchmark, from the row that decides, or why there is none.

For: the top of a report. Not for: judging (iha_eval.statistics.verdict), nor for choosing the row,
which the plan does before any number is known.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from iha_eval.compare.analysis.benchmarks import (
    PlannedBenchmark,
    PlannedRow,
    benchmark_of,
    metric_label,
)
from iha_eval.compare.analysis.measured_rows import MeasuredRow
from iha_eval.compare.inputs.pairing import Pairing, listed

NOT_COMPARED = "not compared"
"""What stands in place of a verdict."""


def headlines(
    benchmarks: Sequence[PlannedBenchmark],
    cells: Mapping[PlannedRow, MeasuredRow],
    pairing: Pairing,
) -> list[dict[str, Any]]:
    """A headline for each benchmark of either run; those that are not compared come last.

    Args:
        benchmarks: The plan.
        cells: Its rows with their numbers.
        pairing: The runs.
    """
    left_out = _left_out(pairing)
    found = [
        _headline(benchmark, cells[row], list(left_out.pop((benchmark.name, benchmark.label), ())))
        for benchmark in benchmarks
        for table in benchmark.tables
        for row in table.rows
        if row.decides
    ]
    for benchmark in benchmarks:
        if not benchmark.tables:
            left_out.pop((benchmark.name, benchmark.label), None)
            found.append(_absent(benchmark.name, benchmark.label, " ".join(benchmark.warnings)))
    for (name, label), tasks in left_out.items():
        why = next(iter(tasks.values()))
        same = [task for task in tasks if tasks[task] == why]
        more = len(tasks) - len(same)
        also = f"; {more} more for other reasons" if more else ""
        what = f"{listed(same)}: {why.rstrip('.')}{also}."
        found.append(_absent(name, label, what))
    return found


def _left_out(pairing: Pairing) -> dict[tuple[str, str], dict[str, str]]:
    """Name and label of a benchmark -> its tasks that are not compared -> why."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for task, why in pairing.not_compared.items():
        run = next(run for run in pairing.runs.values() if task in run.tasks)
        found.setdefault(benchmark_of(run, task), {})[task] = why
    return found


def _absent(name: str, label: str, what: str) -> dict[str, Any]:
    return {
        "benchmark": name,
        "label": label,
        "metric": None,
        "decided_by": None,
        "word": NOT_COMPARED,
        "sentence": f"{label}: {NOT_COMPARED}, {what}",
    }


def _headline(
    benchmark: PlannedBenchmark, cell: MeasuredRow, left_out: list[str]
) -> dict[str, Any]:
    row = cell.row
    if row.k is not None or row.label == metric_label(row.metric):
        what = f"{metric_label(row.metric)}, {row.task}"
    else:
        what = f"{metric_label(row.metric)}, {row.label}"
    more = f" Not compared: {listed(left_out)}." if left_out else ""
    return {
        "benchmark": benchmark.name,
        "label": benchmark.label,
        "metric": row.metric,
        "decided_by": what,
        "word": cell.verdict.word,
        "sentence": f"{benchmark.label} ({what}): {cell.verdict.sentence}{more}",
    }
