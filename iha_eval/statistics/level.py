"""How well one model does: mean score with its interval and standard error.

For: points of curves with error bars, and nights of a trend.
Not for: comparing two models; overlapping intervals say little about a difference.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

from scipy import stats

from iha_eval.statistics.scores import CONFIDENCE, mean, scored

#: Standard errors from the middle to either end of a 95% interval.
Z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))


@dataclass(frozen=True)
class Level:
    """The mean score of one model.

    Attributes:
        n: Questions with a score.
        left_out: Questions without one.
        mean: Mean score, 0 to 1; None without questions.
        error: Its standard error, never 0; None without questions.
        low: Lower end of the 95% interval, 0 to 1.
        high: Upper end of the 95% interval, 0 to 1.
    """

    n: int
    left_out: int
    mean: float | None
    error: float | None
    low: float | None
    high: float | None


def level(values: Iterable[float | None]) -> Level:
    """Mean, standard error and Wilson's interval of scores in [0, 1].

    Wilson's interval is made for 0/1 scores; fractional scores vary less than 0/1 scores of the
    same mean, so for them it is on the wide side.

    Args:
        values: One a question; None or NaN where there is none.

    Raises:
        ValueError: If a score is outside [0, 1].
    """
    scores, left_out = scored(values)
    if scores.size == 0:
        return Level(0, left_out, None, None, None, None)
    center = mean(scores)
    low, high = wilson(center, scores.size)
    return Level(scores.size, left_out, center, standard_error(center, scores.size), low, high)


def wilson(center: float, n: int, z: float = Z) -> tuple[float, float]:
    """Wilson's interval for a share `center` of `n` questions; it contains the share.

    Args:
        center: The share.
        n: Questions.
        z: Standard errors from the middle to either end; those of a 95% interval if not given.
    """
    middle = (center + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z * sqrt(center * (1 - center) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return max(0.0, min(middle - reach, center)), min(1.0, max(middle + reach, center))


def standard_error(center: float, n: int) -> float:
    """Standard error of a mean score after adding two right and two wrong answers.

    Thus it is not 0 where all answers are right, or all wrong (Agresti and Coull 1998).
    """
    share = (center * n + 2) / (n + 4)
    return sqrt(share * (1 - share) / (n + 4))
