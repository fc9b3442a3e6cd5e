"""Step changes in a series of nightly results, and the night since which results are bad.

For: `find_steps` over means with standard errors.
Not for: comparing two models on one night (paired.py), nor for slow drifts, which show as one or
several steps somewhere along the way.

The method is binary segmentation: every night that could open a new level is tried; the one whose
level before and level after lie furthest apart, in pooled standard errors, opens a step if its
two-sided p-value, times the number of nights tried (Bonferroni), is at most 0.05; then both parts
are searched in the same way. Nights that share their questions vary less than their standard
errors say, so that false alarms are rarer than 5% and small steps take some nights to show.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy import stats

from iha_eval.statistics.scores import ALPHA, Floats

#: No standard error counts as less, so that rounding is no step where errors are 0.
_LEAST_ERROR = 1e-9


@dataclass(frozen=True)
class Step:
    """A change of level.

    Attributes:
        night: Index of the first night after it, in the series with its missing nights.
        previous: Index of the last night before it that has a result.
        before: Level before, in the unit of the series.
        after: Level after.
        p: P-value, corrected for the number of nights tried.
    """

    night: int
    previous: int
    before: float
    after: float
    p: float


@dataclass(frozen=True)
class Trend:
    """What a series shows.

    Attributes:
        status: `no nights`, `one night`, `steady` or `stepped`.
        steps: The steps, in order of time.
        first_bad: The earliest step down after which every level stays significantly below the
            level before it; None if there is none, or the series recovered.
        missing: Indices of nights without a result.
    """

    status: Literal["no nights", "one night", "steady", "stepped"]
    steps: tuple[Step, ...]
    first_bad: Step | None
    missing: tuple[int, ...]


def find_steps(nights: Sequence[tuple[float, float] | None], *, alpha: float = ALPHA) -> Trend:
    """Find where a series of nightly results changes its level.

    A level is the plain mean of its nights.

    Args:
        nights: Mean and standard error of each night, oldest first, in any one unit; None for a
            night without a result, and a NaN counts as that. A standard error that is never 0
            comes from `level`.
        alpha: Level of the test.

    Raises:
        ValueError: If a standard error is negative.
    """
    there = [
        index
        for index, night in enumerate(nights)
        if night is not None and not any(map(math.isnan, night))
    ]
    missing = tuple(sorted(set(range(len(nights))) - set(there)))
    results = np.array([nights[index] for index in there], dtype=np.float64).reshape(-1, 2)
    if (results[:, 1] < 0).any():
        raise ValueError("a standard error cannot be negative")
    results[:, 1] = np.maximum(results[:, 1], _LEAST_ERROR)
    if len(there) < 2:
        return Trend("one night" if there else "no nights", (), None, missing)
    tried = len(there) - 1
    cuts = [0, *_cuts(results, tried, alpha), len(there)]
    parts = [results[start:end] for start, end in pairwise(cuts)]
    steps = tuple(
        Step(
            night=there[cut],
            previous=there[cut - 1],
            before=float(before[:, 0].mean()),
            after=float(after[:, 0].mean()),
            p=_p(_z(before, after), tried),
        )
        for cut, (before, after) in zip(cuts[1:-1], pairwise(parts), strict=True)
    )
    first_bad = _first_bad(parts, steps, tried, alpha)
    return Trend("stepped" if steps else "steady", steps, first_bad, missing)


def _cuts(results: Floats, tried: int, alpha: float) -> list[int]:
    """Positions at which a new level begins, ascending; results of shape (nights, 2)."""
    if len(results) < 2:
        return []
    z = _z_of_cuts(results)
    # Of equally clear cuts the earliest is taken.
    best = int(np.argmax(np.abs(z)))
    if _p(float(z[best]), tried) > alpha:
        return []
    cut = best + 1
    later = [cut + more for more in _cuts(results[cut:], tried, alpha)]
    return [*_cuts(results[:cut], tried, alpha), cut, *later]


def _z_of_cuts(results: Floats) -> Floats:
    """Level after less level before, in pooled standard errors, for a cut after each night."""
    nights = len(results)
    before = np.arange(1, nights)
    after = nights - before
    # Columns: sum of the means, sum of the squared errors.
    sums = np.cumsum(results ** (1, 2), axis=0)
    early, late = sums[:-1], sums[-1] - sums[:-1]
    change = late[:, 0] / after - early[:, 0] / before
    z: Floats = change / np.sqrt(late[:, 1] / after**2 + early[:, 1] / before**2)
    return z


def _z(before: Floats, after: Floats) -> float:
    return float(_z_of_cuts(np.concatenate((before, after)))[len(before) - 1])


def _p(z: float, tried: int) -> float:
    return min(1.0, tried * 2 * float(stats.norm.sf(abs(z))))


def _first_bad(
    parts: Sequence[Floats], steps: Sequence[Step], tried: int, alpha: float
) -> Step | None:
    for position, step in enumerate(steps):
        good = parts[position]
        changes = [_z(good, part) for part in parts[position + 1 :]]
        if all(z < 0 and _p(z, tried) <= alpha for z in changes):
            return step
    return None
