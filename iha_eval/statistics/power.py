"""How small a difference a comparison could have shown, and how many questions one would need.

For: telling "there is no difference" from "one could not have seen it".
Not for: the power of a test to show the very difference it found; that repeats the p-value.

Power is that of McNemar's mid-p test, two-sided at level 0.05 if nothing else is said, summed
over the numbers of discordant questions that may come up. Assumed is:

- Another run has the same share of discordant questions as this one, or, if that is less than the
  difference in question, just the discordant questions it takes, all in one direction. The second
  rule decides where no question is discordant: then at most 3/n of all questions are so (the rule
  of three), and showing a difference takes about 7/n.
- Fractional scores differ on the discordant questions by one and the same amount, the root mean
  square of the amounts seen; by 1 if fewer than 10 questions are there to judge it by.
"""

from functools import lru_cache
from math import ceil, hypot, log10

import numpy as np
from scipy import optimize, stats

from iha_eval.statistics.difference import Difference, Estimate, Pairs
from iha_eval.statistics.level import standard_error
from iha_eval.statistics.scores import ALPHA, FEW, POWER, Floats

#: Most questions `required_questions` looks at.
MOST_QUESTIONS = 2**24


def smallest_difference(
    difference: Difference, *, alpha: float = ALPHA, power: float = POWER
) -> float | None:
    """The smallest true difference that so many questions show with a chance of `power`.

    An unpaired comparison has the power of two independent means, each with the largest variance
    that scores in [0, 1] of that mean can have, less what the discreteness of an exact test costs.

    Args:
        difference: What was seen.
        alpha: Two-sided level of the test.
        power: Wanted chance.

    Returns:
        Points; None if no difference can be shown, as with fewer than five pairs.
    """
    if difference.estimate is None:
        return None
    if difference.pairs is None:
        spread = _spread(difference.estimate, difference.n_a, difference.n_b)
        return _smallest_unpaired(spread, difference.n_a, difference.n_b, alpha, power)
    n, share = difference.n_a, difference.pairs.discordant / difference.n_a

    def lacking(lean: float) -> float:
        return mcnemar_power(n, share, lean, alpha=alpha) - power

    if lacking(1.0) < 0:
        return None
    return 100 * _size(difference.pairs) * float(optimize.brentq(lacking, 0.0, 1.0, xtol=1e-6))


def required_questions(
    points: float,
    discordant: float,
    *,
    size: float = 1.0,
    alpha: float = ALPHA,
    power: float = POWER,
) -> int | None:
    """How many questions show a true difference with a chance of `power`.

    Args:
        points: The difference, in points, in either direction.
        discordant: Share of the questions whose scores differ, 0 to 1.
        size: How much they differ by; see `Pairs`.
        alpha: Two-sided level of the test.
        power: Wanted chance.

    Returns:
        The number; None above 16 million.

    Raises:
        ValueError: If the difference is 0, or more than `size` allows.
    """
    lean = abs(points) / 100 / size
    if not 0 < lean <= 1:
        raise ValueError(f"a difference of {points} points is not between 0 and {100 * size}")

    def enough(n: int) -> bool:
        return mcnemar_power(n, discordant, lean, alpha=alpha) >= power

    if not enough(MOST_QUESTIONS):
        return None
    above = 1
    while not enough(above):
        above *= 2
    below = above // 2
    while above - below > 1:
        middle = (above + below) // 2
        below, above = (below, middle) if enough(middle) else (middle, above)
    return above


def enough_questions(
    difference: Difference, margin: float, *, alpha: float = ALPHA, power: float = POWER
) -> int:
    """About how many questions would end in a verdict where those at hand do not.

    If 0 lies in the interval: so many that the interval is as long as the margin, for then it
    either leaves 0 out or lies within the margin. If not, so that only the correction for many
    comparisons stands against a verdict: so many that a true difference of the size seen is shown
    at `alpha` with a chance of `power`.

    Args:
        difference: What was seen, not without questions.
        margin: Points that matter.
        alpha: Two-sided level of the test, with the number of comparisons counted in.
        power: Wanted chance.

    Returns:
        Questions (of each model), two figures, rounded up.
    """
    if difference.estimate is None:
        raise ValueError("no questions were compared")
    numbers = difference.estimate
    if numbers.low <= 0 <= numbers.high:
        factor = ((numbers.high - numbers.low) / margin) ** 2
    else:
        seen = stats.norm.isf(numbers.p / 2)
        factor = ((stats.norm.isf(alpha / 2) + stats.norm.ppf(power)) / seen) ** 2
    wanted = max(factor, 1.0) * max(difference.n_a, difference.n_b) + 1
    step = 10 ** max(int(log10(wanted)) - 1, 0)
    return int(ceil(wanted / step) * step)


def mcnemar_power(n: int, discordant: float, lean: float, *, alpha: float = ALPHA) -> float:
    """Chance that McNemar's mid-p test on `n` questions has p of at most `alpha`.

    Args:
        n: Questions.
        discordant: Share of them that is discordant; raised to `lean` where it is less.
        lean: Share discordant in one direction less the share in the other, 0 to 1.
        alpha: Two-sided level.
    """
    share = max(discordant, lean)
    if share == 0:
        return 0.0
    first, last = stats.binom.ppf((1e-9, 1 - 1e-9), n, share)
    counts, most = _rejections(int(first), int(last), alpha)
    up = (1 + lean / share) / 2
    rejects = stats.binom.cdf(most, counts, up) + stats.binom.sf(counts - most - 1, counts, up)
    return float(stats.binom.pmf(counts, n, share) @ rejects)


# The search for a difference asks for the same numbers again and again.
@lru_cache(maxsize=64)
def _rejections(first: int, last: int, alpha: float) -> tuple[Floats, Floats]:
    """Numbers of discordant questions, and the largest minority that is still rejected.

    That is -1 where none is.
    """
    counts = np.arange(first, last + 1, dtype=np.float64)
    most = stats.binom.ppf(alpha / 2, counts, 0.5)
    below = stats.binom.cdf(most, counts, 0.5) + stats.binom.cdf(most - 1, counts, 0.5)
    most -= below > alpha
    return counts, most


def _size(pairs: Pairs) -> float:
    return pairs.size if pairs.discordant >= FEW else 1.0


def _spread(estimate: Estimate, n_a: int, n_b: int) -> float:
    """Standard error of the difference between two independent means."""
    return hypot(standard_error(estimate.mean_a, n_a), standard_error(estimate.mean_b, n_b))


def _smallest_unpaired(
    spread: float, n_a: int, n_b: int, alpha: float, power: float
) -> float | None:
    reach = float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
    smallest = reach * spread + (1 / n_a + 1 / n_b) / 2
    return 100 * smallest if smallest <= 1 else None
