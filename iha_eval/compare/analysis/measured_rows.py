"""The numbers of a table: both models, their difference, its interval, test and verdict.

For: measuring the rows of a plan and correcting their p-values family by family; the levels of
both models by number of votes (curves) and by depth of the needle (maps).
Not for: which rows there are (report_rows.py), nor for the statistics (iha_eval.statistics).

Families: the rows that decide are one family across all tables, for they are what is read first;
the other rows of each table are a family of their own; several comparisons share their families. So
each row has one corrected p-value, and a smallest difference that goes with it: what a test at 5%
divided by the number of rows of the family that could show a difference would have shown.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from iha_eval.compare.analysis.paper import reference
from iha_eval.compare.analysis.report_rows import (
    PlannedBenchmark,
    PlannedRow,
    ScoreColumn,
    metric_label,
    metrics_of,
    ruler_cell,
    suite_cell,
    votes,
)
from iha_eval.compare.inputs.pairing import SIDES, ComparedTask, Pairing, Side
from iha_eval.ruler.scoring import METRICS
from iha_eval.statistics import (
    ALPHA,
    Difference,
    Level,
    PValue,
    Verdict,
    benjamini_hochberg,
    compare_paired,
    compare_unpaired,
    holm,
    level,
    smallest_difference,
    verdict,
)
from iha_eval.statistics.scores import Floats

Correction = Literal["holm", "fdr"]

#: Name on the command line -> name in a report.
CORRECTIONS: dict[Correction, str] = {"holm": "Holm", "fdr": "Benjamini-Hochberg"}

#: What sentences call the two models.
NAMES = ("IHA", "the baseline")

#: Number of depth bins from 0 to 100%.
DEPTH_BINS = 10

#: Depth bin, and length in tokens.
DepthPlace = tuple[int, int]


@dataclass(frozen=True)
class RowStatistics:
    """A row with its numbers, before anything is known of its family.

    Attributes:
        comparison: Which of several comparisons it belongs to, from 0.
        row: The row.
        difference: The difference, which agrees with `p`.
        p: The p-value, not corrected.
        levels: How well each model does.
    """

    comparison: int
    row: PlannedRow
    difference: Difference
    p: PValue
    levels: dict[Side, Level]


@dataclass(frozen=True)
class MeasuredRow:
    """A row with all its numbers.

    Attributes:
        row: The row.
        verdict: Word and sentence.
        as_dict: The same and everything else, in the form of report.json.
    """

    row: PlannedRow
    verdict: Verdict
    as_dict: dict[str, Any]


def measure_together(
    comparisons: Sequence[tuple[Pairing, Sequence[PlannedBenchmark]]],
    correction: Correction,
    margin: float,
) -> list[dict[PlannedRow, MeasuredRow]]:
    """All rows of all tables of several comparisons, whose families are joined.

    Args:
        comparisons: Two runs each, and what is to be compared of them.
        correction: How p-values are corrected.
        margin: Points that matter, see iha_eval.statistics.verdict.

    Returns:
        One mapping for each comparison.
    """
    families: dict[str, list[RowStatistics]] = {}
    kinds = {"": "deciding row of all tables"}
    for number, (pairing, benchmarks) in enumerate(comparisons):
        for table in (table for benchmark in benchmarks for table in benchmark.tables):
            whole = not any(row.decides for row in table.rows)
            kinds[table.label] = f"{'row' if whole else 'other row'} of this table"
            for row in table.rows:
                name = "" if row.decides else table.label
                families.setdefault(name, []).append(_measure(number, pairing, row))
    measured: list[dict[PlannedRow, MeasuredRow]] = [{} for _ in comparisons]
    for name, family in families.items():
        kind = kinds[name] + (f" in {len(comparisons)} comparisons" if len(comparisons) > 1 else "")
        judged = _correct(family, kind, correction, margin)
        for statistics, result in zip(family, judged, strict=True):
            measured[statistics.comparison][statistics.row] = result
    return measured


def row_paired(pairing: Pairing, row: PlannedRow) -> bool:
    """Whether the documents of all tasks of a row are paired."""
    return all(pairing.task(column.task).paired for column in row.columns)


def row_scores(pairing: Pairing, row: PlannedRow) -> dict[Side, Floats]:
    """The scores of a row's documents, NaN for none; paired, the n-th ones belong together."""
    return {
        side: np.concatenate([_scores(pairing, column, side) for column in row.columns])
        for side in SIDES
    }


def row_levels(pairing: Pairing, row: PlannedRow, scores: dict[Side, Floats]) -> dict[Side, Level]:
    """How well each model does; paired, on the documents that both have a score for.

    Args:
        pairing: Two runs.
        row: The row.
        scores: See `row_scores`.
    """
    if row_paired(pairing, row):
        both = ~(np.isnan(scores["iha"]) | np.isnan(scores["baseline"]))
        scores = {side: scores[side][both] for side in SIDES}
    return {side: level(scores[side]) for side in SIDES}


def _correct(
    family: Sequence[RowStatistics], kind: str, correction: Correction, margin: float
) -> list[MeasuredRow]:
    """The rows of one family, with p-values corrected for one another."""
    p_values = [statistics.p.value for statistics in family]
    if correction == "holm":
        corrected = holm(p_values, [statistics.p.least for statistics in family])
    else:
        corrected = benjamini_hochberg(p_values)
    size = sum(p is not None for p in p_values)
    able = sum(s.p.value is not None and s.p.least <= ALPHA for s in family)
    rows = kind if size == 1 else kind.replace("row", "rows")
    label = f"{CORRECTIONS[correction]} over {size} {rows}"
    if able < size and correction == "holm":
        label += f", {able} of which could show a difference"
    shared = able if correction == "holm" else size
    return [
        _measured_row(statistics, p, (max(shared, 1), size), label, margin)
        for statistics, p in zip(family, corrected, strict=True)
    ]


def _measure(comparison: int, pairing: Pairing, row: PlannedRow) -> RowStatistics:
    scores = row_scores(pairing, row)
    compare = compare_paired if row_paired(pairing, row) else compare_unpaired
    difference, p = compare(*(scores[side] for side in SIDES))
    return RowStatistics(comparison, row, difference, p, row_levels(pairing, row, scores))


def _measured_row(
    measured: RowStatistics,
    p: float | None,
    sizes: tuple[int, int],
    correction: str,
    margin: float,
) -> MeasuredRow:
    """A row judged; sizes are those of its family: rows that could show a difference, and all."""
    row, difference, estimate = measured.row, measured.difference, measured.difference.estimate
    smallest = smallest_difference(difference, alpha=ALPHA / sizes[0])
    judged = verdict(difference, p, smallest, names=NAMES, margin=margin, comparisons=sizes[1])
    pairs, levels = difference.pairs, measured.levels
    numbers: dict[str, Any] = {
        "task": row.task,
        "label": row.label,
        "variant": row.variant,
        "length": row.length,
        "k": row.k,
        "metric": row.metric,
        "n": difference.n_a,
        "n_baseline": difference.n_b,
        "left_out": difference.left_out,
        **{side: levels[side].mean for side in SIDES},
        **{f"{side}_low": levels[side].low for side in SIDES},
        **{f"{side}_high": levels[side].high for side in SIDES},
        "points": estimate.points if estimate else None,
        "relative": estimate.relative if estimate else None,
        "relative_low": estimate.relative_low if estimate else None,
        "relative_high": estimate.relative_high if estimate else None,
        "low": estimate.low if estimate else None,
        "high": estimate.high if estimate else None,
        "method": estimate.method if estimate else None,
        "p": measured.p.value,
        "p_method": measured.p.method,
        "p_corrected": p,
        "correction": correction,
        "higher": pairs.higher if pairs else None,
        "lower": pairs.lower if pairs else None,
        "status": difference.status,
        "smallest": smallest,
        "word": judged.word,
        "clear_alone": judged.clear_alone,
        "enough": judged.enough,
        "sentence": judged.sentence,
        "decides": row.decides,
        "paired": difference.paired,
        "paper": None if row.partial else reference(row.task, row.metric),
    }
    return MeasuredRow(row, judged, numbers)


def _scores(pairing: Pairing, column: ScoreColumn, side: Side) -> Floats:
    task = pairing.task(column.task)
    return np.array(task.scores(side, column.filter, column.metric), dtype=np.float64)


def curves(pairing: Pairing) -> list[dict[str, Any]]:
    """A curve for each task and filter that has scores at two numbers of votes or more."""
    return [
        curve
        for task in pairing.tasks
        for filter_name in task.filters
        for curve in _task_curves(pairing, task, filter_name)
    ]


def _task_curves(
    pairing: Pairing, task: ComparedTask, filter_name: str
) -> Iterator[dict[str, Any]]:
    metrics = metrics_of(task, filter_name)
    for kind in ("maj", "pass"):
        numbers = votes(metrics, kind)
        if len(numbers) < 2:
            continue
        points = [
            _point(pairing, ScoreColumn(task.name, filter_name, f"{kind}@{k}")) for k in numbers
        ]
        yield {
            "task": task.name,
            "label": f"{task.name}: {metric_label(f'{kind}@k')}",
            "metric": kind,
            "k": numbers,
            **{name: [point[name] for point in points] for name in points[0]},
        }


def _point(pairing: Pairing, column: ScoreColumn) -> dict[str, float | None]:
    row = PlannedRow(column.task, "", column.metric, (column,))
    levels = row_levels(pairing, row, row_scores(pairing, row))
    point: dict[str, float | None] = {}
    for side in SIDES:
        level_of_side = levels[side]
        point |= {
            side: level_of_side.mean,
            f"{side}_low": level_of_side.low,
            f"{side}_high": level_of_side.high,
        }
    return point


def depth_maps(pairing: Pairing) -> list[dict[str, Any]]:
    """A map for each metric, over all variants; none without documents that have a depth.

    Rows are depth bins, columns are lengths; a place without documents is None.
    """
    return [made for metric in METRICS if (made := _depth_map(pairing, metric))]


def _depth_map(pairing: Pairing, metric: str) -> dict[str, Any] | None:
    places: dict[Side, dict[DepthPlace, list[float | None]]] = {
        side: _depth_places(pairing, metric, side) for side in SIDES
    }
    lengths = sorted({length for side in SIDES for _, length in places[side]})
    if not lengths:
        return None
    grid = [[(row, length) for length in lengths] for row in range(DEPTH_BINS)]
    return {
        "metric": metric,
        "lengths": lengths,
        "depths": [100 * (row + 0.5) / DEPTH_BINS for row in range(DEPTH_BINS)],
        "n": [[len(places["iha"].get(place, ())) for place in row] for row in grid],
        **{
            side: [[_mean(places[side].get(place, ())) for place in row] for row in grid]
            for side in SIDES
        },
    }


def _depth_places(
    pairing: Pairing, metric: str, side: Side
) -> dict[DepthPlace, list[float | None]]:
    places: dict[DepthPlace, list[float | None]] = {}
    for task in pairing.tasks:
        cell = ruler_cell(task.name) or suite_cell(task.name)
        keys = task.common if task.paired else list(task.side(side))
        for key in keys if cell else ():
            sample = task.side(side)[key]
            if cell and sample.depth is not None:
                place = min(int(sample.depth * DEPTH_BINS / 100), DEPTH_BINS - 1), cell[0]
                places.setdefault(place, []).append(sample.scores.get(metric))
    return places


def _mean(scores: Sequence[float | None]) -> float | None:
    return level(scores).mean
