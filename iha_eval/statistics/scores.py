"""Per-question scores as arrays: checked, paired, and free of everything that varies by machine.

For: what every statistic here does with its input first.
Not for: finding out which question of one run belongs to which of another; that is done by the
caller, and the n-th score of both sides is one question here.
"""

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Two-sided level of every test.
ALPHA = 0.05

#: Power at which a difference counts as one that a test could have shown.
POWER = 0.8

#: Level of every interval.
CONFIDENCE = 0.95

#: Fewer questions than this apart from the commonest value say little about how the others vary.
FEW = 10

#: Numbers that each permutation holds in memory at once.
BATCH_NUMBERS = 2_000_000

#: Sums of up to 2^17 multiples of this, each within [-1, 1], are exact in any order.
_GRID = 2.0**-36


def as_scores(values: Iterable[float | None]) -> Floats:
    """Scores as an array of shape (questions,); None becomes NaN, which stands for "no score".

    Raises:
        ValueError: If a score is outside [0, 1].
    """
    scores = np.asarray(list(values), dtype=np.float64)
    outside = scores[(scores < 0) | (scores > 1)]
    if outside.size:
        raise ValueError(f"scores must lie between 0 and 1, and one is {outside[0]}")
    return scores


def scored(values: Iterable[float | None]) -> tuple[Floats, int]:
    """The scores that are there, sorted, and the number of those that are not."""
    scores = as_scores(values)
    there = np.sort(scores[~np.isnan(scores)])
    return there, scores.size - there.size


def scored_pairs(
    a: Iterable[float | None], b: Iterable[float | None]
) -> tuple[Floats, Floats, int]:
    """Both scores of every question that has both, and the number of questions that have not.

    Raises:
        ValueError: If the lengths differ or a score is outside [0, 1].
    """
    left, right = as_scores(a), as_scores(b)
    if left.size != right.size:
        raise ValueError(f"paired scores must be equally many, not {left.size} and {right.size}")
    there = ~(np.isnan(left) | np.isnan(right))
    return left[there], right[there], int(left.size - there.sum())


def is_binary(*scores: Floats) -> bool:
    """Whether every score is 0 or 1."""
    return all(bool(np.isin(values, (0.0, 1.0)).all()) for values in scores)


def on_grid(values: Floats) -> Floats:
    """The values rounded by less than 1e-11, so that sums do not depend on order or machine."""
    return np.asarray(np.round(values / _GRID) * _GRID, dtype=np.float64)


def slack(count: int) -> float:
    """How far apart two sums of `count` rounded values may be and still stand for equal ones."""
    return count * _GRID


def mean(values: Floats) -> float:
    """The mean, correctly rounded whatever the order; of one value at least."""
    return math.fsum(values) / values.size


def varied(values: Floats) -> int:
    """How many values differ from the commonest one."""
    _, counts = np.unique(values, return_counts=True)
    return int(values.size - counts.max())
