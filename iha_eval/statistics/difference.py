"""What is known about the difference between two models on one set of questions.

For: the record that paired and unpaired comparisons both fill in, and later steps read.
Not for: p-values, which belong to a test (`PValue`), nor for judging the difference (verdict.py).
"""

from dataclasses import dataclass, replace
from math import sqrt
from typing import Literal

from scipy import stats

from iha_eval.statistics.scores import ALPHA

Status = Literal["ok", "few", "constant", "single", "empty"]


@dataclass(frozen=True)
class Pairs:
    """What only paired scores can tell.

    Attributes:
        higher: Questions on which a scores higher than b.
        lower: Questions on which a scores lower than b.
        size: Root mean square of the nonzero differences: 1.0 for 0/1 scores, and where no
            question differs.
    """

    higher: int
    lower: int
    size: float

    @property
    def discordant(self) -> int:
        """Questions whose two scores differ."""
        return self.higher + self.lower


@dataclass(frozen=True)
class Estimate:
    """The difference in numbers.

    Attributes:
        mean_a: Mean score of a, 0 to 1.
        mean_b: Mean score of b, 0 to 1.
        points: 100 times the mean of a less that of b.
        relative: The difference as a share of b's mean; None where that is 0.
        low: Lower end of the 95% interval, in points.
        high: Upper end of the 95% interval, in points; the interval contains `points`.
        method: How the interval was made, in words.
        p: The level at which the interval would just end at 0: at most 0.05 if and only if the
            95% interval leaves 0 out.
        relative_low: Lower end of the 95% interval of `relative`; None where b's mean is too close
            to 0 for there to be one.
        relative_high: Its upper end.
    """

    mean_a: float
    mean_b: float
    points: float
    relative: float | None
    low: float
    high: float
    method: str
    p: float = 1.0
    relative_low: float | None = None
    relative_high: float | None = None


@dataclass(frozen=True)
class Difference:
    """Model a against model b, the baseline.

    Attributes:
        n_a: Questions scored for a; paired, the number of pairs.
        n_b: Questions scored for b; paired, the same number.
        left_out: Questions left out because a score is missing or NaN.
        estimate: The numbers; None without questions to compare.
        status: `ok`; `few` if fewer than 10 questions stand apart from the rest, so that the
            the interval of fractional scores assumes the worst; `constant` if none does;
            `single` for one question (unpaired, on either side); `empty` for none.
        pairs: What the pairs tell; None if the comparison is unpaired.
    """

    n_a: int
    n_b: int
    left_out: int
    estimate: Estimate | None
    status: Status
    pairs: Pairs | None

    @property
    def paired(self) -> bool:
        """Whether the scores of both models were paired by question."""
        return self.pairs is not None


@dataclass(frozen=True)
class PValue:
    """A two-sided p-value.

    Attributes:
        value: The p-value, above 0 and at most 1; None if there is nothing to test.
        method: The test, in words.
        least: The smallest p-value that the test could have given with as many discordant
            questions; 0 where that is not known. A cell whose `least` is large cannot show a
            difference, whatever the truth.
    """

    value: float | None
    method: str
    least: float = 0.0


@dataclass(frozen=True)
class Interval:
    """A 95% interval of a difference between means.

    Attributes:
        low: Lower end, a share in [-1, 1].
        high: Upper end.
        method: How it was made, in words.
        p: The level at which it would just end at 0.
        relative: The interval of the difference as a share of b's mean; None where there is none.
    """

    low: float
    high: float
    method: str
    p: float
    relative: tuple[float, float] | None = None


def estimate(means: tuple[float, float], share: float, interval: Interval) -> Estimate:
    """The numbers in points, from the two means, their difference and its interval.

    Args:
        means: Mean score of a and of b.
        share: Their difference, -1 to 1.
        interval: Its interval; widened, where need be, to contain the difference, and cut at -1
            and 1.
    """
    relative = share / means[1] if means[1] else None
    low, high = interval.relative or (None, None)
    if relative is not None and low is not None and high is not None:
        low, high = max(-1.0, min(low, relative)), max(high, relative)
    return Estimate(
        mean_a=means[0],
        mean_b=means[1],
        points=100 * share,
        relative=relative,
        low=100 * max(-1.0, min(interval.low, share)),
        high=100 * min(1.0, max(interval.high, share)),
        method=interval.method,
        p=interval.p,
        relative_low=low if relative is not None else None,
        relative_high=high if relative is not None else None,
    )


def agreeing(difference: Difference, p: PValue) -> tuple[Difference, PValue]:
    """The same difference and p-value, made never to contradict each other.

    Test and interval are two methods, and near 0.05 they may disagree. Then the more careful of
    both counts: p is that of the interval where only the test is clear, and an interval that leaves
    0 out against the test is extended to 0. So p is at most 0.05 if and only if the 95% interval,
    of the points and of the relative difference, leaves 0 out.
    """
    numbers = difference.estimate
    if numbers is None or p.value is None:
        return difference, p
    value = max(p.value, numbers.p)
    if value <= ALPHA:
        value = p.value
    low, high = _on_the_side(value, (numbers.low, numbers.high), numbers.points)
    relative = numbers.relative_low, numbers.relative_high
    if relative[0] is not None and relative[1] is not None:
        relative = _on_the_side(value, (relative[0], relative[1]), numbers.points)
    numbers = replace(
        numbers, low=low, high=high, p=value, relative_low=relative[0], relative_high=relative[1]
    )
    return replace(difference, estimate=numbers), replace(p, value=value)


def _on_the_side(p: float, ends: tuple[float, float], points: float) -> tuple[float, float]:
    """An interval extended to 0 if p is above 0.05, else cut there."""
    low, high = ends
    if p > ALPHA:
        return min(low, 0.0), max(high, 0.0)
    return (max(low, 0.0), high) if points > 0 else (low, min(high, 0.0))


def fieller(
    means: tuple[float, float], variances: tuple[float, float], covariance: float, critical: float
) -> tuple[float, float] | None:
    """Fieller's interval of mean_a / mean_b - 1 (1954); None where it is unbounded.

    Args:
        means: Mean of a and of b, at least 0.
        variances: Squared standard errors of both means.
        covariance: Covariance of the means; 0 of independent ones.
        critical: Standard errors from the middle to either end.
    """
    a, b = means
    square = critical**2
    leading = b * b - square * variances[1]
    if leading <= 0:
        return None
    half = a * b - square * covariance
    root = half * half - leading * (a * a - square * variances[0])
    reach = sqrt(max(root, 0.0))
    return (half - reach) / leading - 1, (half + reach) / leading - 1


def two_sided(z: float, freedom: float | None = None) -> float:
    """The two-sided p of a standardised difference: normal, or Student's t with `freedom`."""
    tail = stats.norm.sf(abs(z)) if freedom is None else stats.t.sf(abs(z), freedom)
    return float(2 * tail)
