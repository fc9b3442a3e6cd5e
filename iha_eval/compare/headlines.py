"""One sentence for each benchmark, from the row that decides.

For: the top of a report. Not for: judging (iha_eval.statistics.verdict), nor for choosing the row,
which the plan does before any number is known.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from iha_eval.compare.cells import Cell
from iha_eval.compare.layout import Benchmark, Row, metric_label


def headlines(benchmarks: Sequence[Benchmark], cells: Mapping[Row, Cell]) -> list[dict[str, Any]]:
    """A headline for each benchmark with tables, in their order.

    Args:
        benchmarks: The plan.
        cells: Its rows with their numbers.
    """
    return [
        _headline(benchmark, cells[row])
        for benchmark in benchmarks
        for table in benchmark.tables
        for row in table.rows
        if row.decides
    ]


def _headline(benchmark: Benchmark, cell: Cell) -> dict[str, Any]:
    row = cell.row
    if row.k is not None or row.label == metric_label(row.metric):
        what = f"{metric_label(row.metric)}, {row.task}"
    else:
        what = f"{metric_label(row.metric)}, {row.label}"
    return {
        "benchmark": benchmark.name,
        "label": benchmark.label,
        "metric": row.metric,
        "decided_by": what,
        "word": cell.verdict.word,
        "sentence": f"{benchmark.label} ({what}): {cell.verdict.sentence}",
    }
