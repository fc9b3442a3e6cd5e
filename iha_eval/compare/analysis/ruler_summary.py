"""RULER's own summary: weighted averages over lengths, and the effective length.

For: the part `ruler` of a report, of the rows of RULER's thirteen tasks.
Not for: tests and verdicts, which go by rows (measured_rows.py).

RULER (arXiv:2404.06654, section 4) takes the plain mean of its tasks at each length, averages the
lengths with weights that rise or fall linearly, and calls the longest length with a mean of at
least 85.6 the effective one.
"""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from iha_eval.compare.analysis.paper import reference
from iha_eval.compare.analysis.report_rows import SUITE_NAME
from iha_eval.compare.inputs.pairing import SIDES
from iha_eval.ruler.definition import LENGTHS
from iha_eval.ruler.scoring import COMMON_METRICS
from iha_eval.ruler.suite import TASKS

THRESHOLD = 0.856
THRESHOLD_SOURCE = "the mean of Llama-2-7B at 4k in RULER's paper, arXiv:2404.06654"

_Rows = Mapping[tuple[str, int], Mapping[str, Any]]


def ruler_summary(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The summary of the tasks that every length has; None without any.

    Args:
        tables: As report.json has them.
    """
    rows = {
        (row["variant"], row["length"]): row
        for table in tables
        if (table["benchmark"], table["metric"]) == (SUITE_NAME, COMMON_METRICS[0])
        for row in table["rows"]
        if row["variant"] and row["points"] is not None
    }
    lengths = sorted({length for _, length in rows})
    names = [name for name in TASKS if all((name, length) in rows for length in lengths)]
    if not lengths or not names:
        return None
    means: dict[str, list[float]] = {
        side: [_mean(rows, names, length, side) for length in lengths] for side in SIDES
    }
    whole, paper = len(names) == len(TASKS), reference(SUITE_NAME, COMMON_METRICS[0])
    return {
        "metric": COMMON_METRICS[0],
        "tasks": names,
        "of": len(TASKS),
        "lengths": lengths,
        **means,
        "averages": [
            _average(weights, shares, rows, names, lengths)
            for weights, shares in _weights(len(lengths)).items()
        ],
        # The threshold is a mean of all tasks.
        "effective": {side: _effective(lengths, means[side]) for side in SIDES} if whole else None,
        "threshold": THRESHOLD if whole else None,
        "threshold_source": THRESHOLD_SOURCE if whole else None,
        "paper": paper if whole and tuple(lengths) == LENGTHS else None,
    }


def _effective(lengths: Sequence[int], means: Sequence[float]) -> int | None:
    """The longest length with a mean at the threshold or above, if any has one."""
    # Means are told with two decimals of a percent, as RULER does.
    holds = [
        n for n, mean in zip(lengths, means, strict=True) if round(100 * mean, 2) >= 100 * THRESHOLD
    ]
    return max(holds, default=None)


def _mean(rows: _Rows, names: Sequence[str], length: int, side: str) -> float:
    """The plain mean of the tasks at a length: each counts the same."""
    return float(sum(rows[name, length][side] for name in names) / len(names))


def _weights(count: int) -> dict[str, list[float]]:
    """The weights of lengths, short to long; each kind adds up to 1."""
    rising = [2 * (place + 1) / (count * (count + 1)) for place in range(count)]
    kinds = {"equal": [1 / count] * count, "increasing": rising, "decreasing": rising[::-1]}
    # With one length, all are the same.
    return kinds if count > 1 else {"equal": [1.0]}


def _average(
    kind: str,
    shares: Sequence[float],
    rows: _Rows,
    names: Sequence[str],
    lengths: Sequence[int],
) -> dict[str, Any]:
    """One average, with the interval of the difference.

    The intervals of the cells are combined by MOVER (Zou and Donner 2008,
    doi:10.1002/sim.3095): the documents of different cells are independent.
    """
    parts = [
        (share / len(names), rows[name, length])
        for share, length in zip(shares, lengths, strict=True)
        for name in names
    ]
    points = sum(weight * row["points"] for weight, row in parts)
    below = sqrt(sum((weight * (row["points"] - row["low"])) ** 2 for weight, row in parts))
    above = sqrt(sum((weight * (row["high"] - row["points"])) ** 2 for weight, row in parts))
    scores: dict[str, float] = {
        side: sum(weight * row[side] for weight, row in parts) for side in SIDES
    }
    ends = {"low": points - below, "high": points + above}
    return {"weights": kind, **scores, "points": points, **ends}
