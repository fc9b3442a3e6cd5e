"""The numbers of a table: both models, their difference, its interval, test and verdict.

For: measuring the rows of a plan, and correcting their p-values family by family.
Not for: which rows there are (layout.py), nor for the statistics (iha_eval.statistics).

Families: the rows that decide, one a benchmark, are one family across all tables, for they are what
is read first; the other rows of each table are a family of their own. So each row has one corrected
p-value, and a smallest difference that goes with it: what a test at 5% divided by the size of the
family would have shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from iha_eval.compare.analysis.benchmarks import Benchmark, Part, Row
from iha_eval.compare.analysis.paper import reference
from iha_eval.compare.inputs.pairing import SIDES, Pairing, Side
from iha_eval.statistics import (
    ALPHA,
    Difference,
    Level,
    PValue,
    Verdict,
    benjamini_hochberg,
    holm,
    level,
    paired_difference,
    paired_p,
    smallest_difference,
    unpaired_difference,
    unpaired_p,
    verdict,
)
from iha_eval.statistics.scores import Floats

Correction = Literal["holm", "fdr"]

CORRECTIONS: dict[Correction, str] = {"holm": "Holm", "fdr": "Benjamini-Hochberg"}
"""Name on the command line -> name in a report."""

NAMES = ("IHA", "the baseline")
"""What sentences call the two models."""


@dataclass(frozen=True)
class Measured:
    """A row with its numbers, before anything is known of its family."""

    row: Row
    difference: Difference
    p: PValue
    levels: dict[Side, Level]


@dataclass(frozen=True)
class Cell:
    """A row with all its numbers.

    Attributes:
        row: The row.
        verdict: Word and sentence.
        as_dict: The same and everything else, in the form of report.json.
    """

    row: Row
    verdict: Verdict
    as_dict: dict[str, Any]


def measure_all(
    pairing: Pairing, benchmarks: Sequence[Benchmark], correction: Correction, margin: float
) -> dict[Row, Cell]:
    """All rows of all tables with their numbers.

    Args:
        pairing: Two runs.
        benchmarks: What is to be compared.
        correction: How p-values are corrected.
        margin: Points that matter, see iha_eval.statistics.verdict.
    """
    tables = [table for benchmark in benchmarks for table in benchmark.tables]
    found: dict[Row, Cell] = {}
    for table in tables:
        others = [row for row in table.rows if not row.decides]
        kind = "row" if len(others) == len(table.rows) else "other row"
        found |= _family(pairing, others, f"{kind} of this table", correction, margin)
    deciding = [row for table in tables for row in table.rows if row.decides]
    found |= _family(pairing, deciding, "deciding row of all tables", correction, margin)
    return found


def row_paired(pairing: Pairing, row: Row) -> bool:
    """Whether the documents of all tasks of a row are paired."""
    return all(pairing.task(part.task).paired for part in row.parts)


def row_scores(pairing: Pairing, row: Row) -> dict[Side, Floats]:
    """The scores of a row's documents, NaN for none; paired, the n-th ones belong together."""
    return {
        side: np.concatenate([_scores(pairing, part, side) for part in row.parts]) for side in SIDES
    }


def row_levels(pairing: Pairing, row: Row, scores: dict[Side, Floats]) -> dict[Side, Level]:
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


def _family(
    pairing: Pairing, rows: Sequence[Row], kind: str, correction: Correction, margin: float
) -> dict[Row, Cell]:
    measured = [_measure(pairing, row) for row in rows]
    p_values = [one.p.value for one in measured]
    correct = holm if correction == "holm" else benjamini_hochberg
    size = sum(p is not None for p in p_values)
    counted = f"{size} {kind if size == 1 else kind.replace('row', 'rows')}"
    label = f"{CORRECTIONS[correction]} over {counted}"
    return {
        one.row: _cell(one, p, ALPHA / max(size, 1), label, margin)
        for one, p in zip(measured, correct(p_values), strict=True)
    }


def _measure(pairing: Pairing, row: Row) -> Measured:
    scores = row_scores(pairing, row)
    a, b = (scores[side] for side in SIDES)
    if row_paired(pairing, row):
        difference, p = paired_difference(a, b), paired_p(a, b)
    else:
        difference, p = unpaired_difference(a, b), unpaired_p(a, b)
    return Measured(row, difference, p, row_levels(pairing, row, scores))


def _cell(
    measured: Measured, p: float | None, alpha: float, correction: str, margin: float
) -> Cell:
    row, difference, found = measured.row, measured.difference, measured.difference.estimate
    smallest = smallest_difference(difference, alpha=alpha)
    judged = verdict(difference, p, smallest, names=NAMES, margin=margin)
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
        "points": found.points if found else None,
        "relative": found.relative if found else None,
        "low": found.low if found else None,
        "high": found.high if found else None,
        "method": found.method if found else None,
        "p": measured.p.value,
        "p_method": measured.p.method,
        "p_corrected": p,
        "correction": correction,
        "higher": pairs.higher if pairs else None,
        "lower": pairs.lower if pairs else None,
        "status": difference.status,
        "smallest": smallest,
        "word": judged.word,
        "sentence": judged.sentence,
        "decides": row.decides,
        "paired": difference.paired,
        "paper": None if row.partial else reference(row.task, row.metric),
    }
    return Cell(row, judged, numbers)


def _scores(pairing: Pairing, part: Part, side: Side) -> Floats:
    task = pairing.task(part.task)
    return np.array(task.scores(side, part.filter, part.metric), dtype=np.float64)
