"""What is known about the difference between two models on one set of questions.

For: the record that paired and unpaired comparisons both fill in, and later steps read.
Not for: p-values, which belong to a test (`PValue`), nor for judging the difference (verdict.py).
"""

from dataclasses import dataclass
from typing import Literal

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
    """

    mean_a: float
    mean_b: float
    points: float
    relative: float | None
    low: float
    high: float
    method: str


@dataclass(frozen=True)
class Difference:
    """Model a against model b, the baseline.

    Attributes:
        n_a: Questions scored for a; paired, the number of pairs.
        n_b: Questions scored for b; paired, the same number.
        left_out: Questions left out because a score is missing or NaN.
        estimate: The numbers; None without questions to compare.
        status: `ok`; `few` if fewer than 10 questions stand apart from the rest, so that the
            interval comes from a formula in place of a bootstrap; `constant` if none does;
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
    """

    value: float | None
    method: str


@dataclass(frozen=True)
class Interval:
    """A 95% interval of a difference between means, as shares in [-1, 1], and how it was made."""

    low: float
    high: float
    method: str

    def mirrored(self, flip: bool) -> "Interval":
        """The interval for the models exchanged if `flip`, else this one."""
        return Interval(-self.high, -self.low, self.method) if flip else self

    def symmetric(self) -> "Interval":
        """The interval of the same length around 0."""
        reach = (self.high - self.low) / 2
        return Interval(-reach, reach, self.method)


def estimate(means: tuple[float, float], share: float, interval: Interval) -> Estimate:
    """The numbers in points, from the two means, their difference and its interval.

    Args:
        means: Mean score of a and of b.
        share: Their difference, -1 to 1.
        interval: Its interval; widened, where need be, to contain the difference, and cut at -1
            and 1.
    """
    return Estimate(
        mean_a=means[0],
        mean_b=means[1],
        points=100 * share,
        relative=share / means[1] if means[1] else None,
        low=100 * max(-1.0, min(interval.low, share)),
        high=100 * min(1.0, max(interval.high, share)),
        method=interval.method,
    )
