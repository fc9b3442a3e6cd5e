"""Two models on the same questions: the difference, its interval and its p-value.

For: `compare_paired` of `paired_difference` and `paired_p`, which take the n-th score of both sides
as one question.
Not for: runs over different questions (unpaired.py), nor for many comparisons at once
(corrected.py).

Results depend on the seed alone, not on the order of the questions, and exchanging the models
changes signs and nothing else.
"""

from collections.abc import Iterable
from dataclasses import replace
from math import sqrt

import numpy as np
from scipy import optimize, stats

from iha_eval.statistics.difference import (
    Difference,
    Interval,
    Pairs,
    PValue,
    Status,
    agreeing,
    estimate,
    fieller,
    two_sided,
)
from iha_eval.statistics.level import Z
from iha_eval.statistics.scores import (
    BATCH_NUMBERS,
    CONFIDENCE,
    FEW,
    Floats,
    is_binary,
    mean,
    on_grid,
    scored_pairs,
    slack,
    varied,
)

#: Nonzero differences up to which all sign flips are enumerated: a million of them.
EXACT_FLIPS = 20


def compare_paired(
    a: Iterable[float | None], b: Iterable[float | None], *, seed: int = 0
) -> tuple[Difference, PValue]:
    """Difference and p-value of two models, which never contradict each other (`agreeing`).

    Args:
        a: Scores in [0, 1], one a question; None or NaN where there is none.
        b: Scores of the baseline, in the same order.
        seed: Seed of the drawn signs.

    Raises:
        ValueError: If the lengths differ or a score is outside [0, 1].
    """
    left, right = list(a), list(b)
    return agreeing(paired_difference(left, right), paired_p(left, right, seed=seed))


def paired_difference(
    a: Iterable[float | None], b: Iterable[float | None], *, confidence: float = CONFIDENCE
) -> Difference:
    """The mean difference between two models over the questions that both have a score for.

    The interval of 0/1 scores is Tango's score interval, which belongs to McNemar's test; of
    fractional scores it is Student's t after adding two questions (`padded_t`). Simulations of
    both, and of the BCa bootstrap that they took the place of, are in docs/compare.md.

    Args:
        a: Scores in [0, 1], one a question; None or NaN where there is none.
        b: Scores of the baseline, in the same order.
        confidence: Level of the interval in points; that of the relative difference is 95%.

    Raises:
        ValueError: If the lengths differ or a score is outside [0, 1].
    """
    left, right, left_out = scored_pairs(a, b)
    differences = np.sort(on_grid(left - right))
    nonzero = differences[differences != 0]
    pairs = Pairs(
        higher=int((nonzero > 0).sum()),
        lower=int((nonzero < 0).sum()),
        size=float(np.sqrt(mean(nonzero**2))) if nonzero.size else 1.0,
    )
    n = int(differences.size)
    if n == 0:
        return Difference(0, 0, left_out, None, "empty", pairs)
    status = _status(differences)
    # Added questions differ by as much as any does, or by 1 where few are there to judge by.
    size = 1.0 if status != "ok" else float(np.abs(differences).max())
    relative = _relative(left, right, size)
    if is_binary(left, right):
        interval = tango(pairs.higher, pairs.lower, n, relative, confidence)
    else:
        interval = padded_t(differences, size, relative, confidence)
    numbers = estimate((mean(left), mean(right)), mean(left - right), interval)
    return Difference(n, n, left_out, numbers, status, pairs)


def paired_p(
    a: Iterable[float | None],
    b: Iterable[float | None],
    *,
    seed: int = 0,
    resamples: int = 19_999,
) -> PValue:
    """Whether two models differ: mid-p McNemar for 0/1 scores, a sign-flip test for fractions.

    McNemar's exact test is the two-sided binomial test on the questions that differ; its mid-p form
    counts the outcome at hand by half, which brings its size from about 2% close to, and not above,
    5% (Fagerland, Lydersen and Laake 2013). The sign-flip test asks how often differences with
    signs drawn by coin have a sum at least as large; up to 20 nonzero differences every outcome is
    counted, beyond that `resamples` are drawn and the data count as one more of them, so that p is
    never 0 (Phipson and Smyth 2010).

    Args:
        a: Scores in [0, 1], one a question; None or NaN where there is none.
        b: Scores of the baseline, in the same order.
        seed: Seed of the drawn signs.
        resamples: Number of draws.

    Raises:
        ValueError: If the lengths differ or a score is outside [0, 1].
    """
    left, right, _ = scored_pairs(a, b)
    if left.size == 0:
        return PValue(None, "no test: no question has both scores")
    if is_binary(left, right):
        higher, lower = int((left > right).sum()), int((left < right).sum())
        return PValue(mid_p(higher, lower), "mid-p McNemar", mid_p(higher + lower, 0))
    sizes = np.sort(np.abs(on_grid(left - right)))
    sizes = sizes[sizes > 0]
    observed = abs(float(on_grid(left - right).sum())) - slack(left.size)
    if sizes.size <= EXACT_FLIPS:
        least = min(1.0, 2.0 ** (1 - sizes.size))
        return PValue(_count_flips(sizes, observed), "sign flips, all counted", least)
    p = _draw_flips(sizes, observed, seed, resamples)
    return PValue(p, f"sign flips, {resamples:,} drawn", 1 / (resamples + 1))


def mid_p(higher: int, lower: int) -> float:
    """The two-sided mid-p value of McNemar's test.

    Args:
        higher: Questions that only a answers right.
        lower: Questions that only b answers right.
    """
    count, few = higher + lower, min(higher, lower)
    below = stats.binom.cdf(few, count, 0.5) + stats.binom.cdf(few - 1, count, 0.5)
    return min(1.0, float(below))


def tango(
    higher: int,
    lower: int,
    n: int,
    relative: tuple[float, float] | None = None,
    confidence: float = CONFIDENCE,
) -> Interval:
    """The score interval of a difference between paired shares (Tango 1998).

    It holds the differences that a score test does not reject; at 0 that test is McNemar's.

    Args:
        higher: Questions that only a answers right.
        lower: Questions that only b answers right.
        n: Questions.
        relative: The relative interval that goes with it.
        confidence: Its level.
    """
    if lower > higher:
        mirrored = tango(lower, higher, n, confidence=confidence)
        return replace(mirrored, low=-mirrored.high, high=-mirrored.low, relative=relative)
    share = (higher - lower) / n
    reach = Z if confidence == CONFIDENCE else float(stats.norm.ppf((1 + confidence) / 2))

    def score(difference: float) -> float:
        # The share of `lower` that is likeliest if this is the difference.
        b = (2 * n - higher + lower) * difference - higher - lower
        c = -lower * difference * (1 - difference)
        likeliest = (sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = n * (2 * likeliest + difference * (1 - difference))
        return n * (share - difference) / sqrt(max(variance, 1e-300))

    near, far = -1 + 1e-12, 1 - 1e-12
    low = optimize.brentq(lambda d: score(d) - reach, near, share) if score(near) > reach else -1.0
    high = optimize.brentq(lambda d: score(d) + reach, share, far) if score(far) < -reach else 1.0
    low = -high if higher == lower else low
    unequal = higher + lower
    p = two_sided((higher - lower) / sqrt(unequal)) if unequal else 1.0
    return Interval(float(low), float(high), "Tango's score interval", p, relative)


def padded_t(
    differences: Floats,
    size: float,
    relative: tuple[float, float] | None = None,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Student's t interval of a mean of differences after adding two questions, +size and -size.

    For 0/1 scores and a size of 1 this is the interval of Bonett and Price, "Adjusted Wald
    confidence interval for a difference of binomial proportions based on paired data", 2012, with
    t in place of z. The added questions keep it honest where hardly any question differs.

    Args:
        differences: One a question.
        size: How much the added questions differ.
        relative: The relative interval that goes with it.
        confidence: Its level.
    """
    padded = np.append(differences, (size, -size))
    center, freedom = mean(padded), padded.size - 1
    error = sqrt((mean(padded**2) - center**2) / freedom)
    reach = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    method = "Student's t after adding two questions"
    p = two_sided(center / error, freedom)
    return Interval(center - reach, center + reach, method, p, relative)


def _relative(left: Floats, right: Floats, size: float) -> tuple[float, float] | None:
    """Fieller's interval of the relative difference after adding two questions as `padded_t`."""
    order = np.lexsort((left, right))
    a, b = np.append(left[order], (size, 0.0)), np.append(right[order], (0.0, size))
    freedom = a.size - 1
    (var_a, covariance), (_, var_b) = np.cov(a, b) / a.size
    critical = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
    means = float(a.mean()), float(b.mean())
    return fieller(means, (float(var_a), float(var_b)), float(covariance), critical)


def _status(differences: Floats) -> Status:
    if differences.size == 1:
        return "single"
    apart = varied(differences)
    return "constant" if apart == 0 else "few" if apart < FEW else "ok"


def _count_flips(sizes: Floats, observed: float) -> float:
    """The share of all sign patterns whose sum is as far from 0 as the observed one."""
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate((sums + size, sums - size))
    return float(np.mean(np.abs(sums) >= observed))


def _draw_flips(sizes: Floats, observed: float, seed: int, resamples: int) -> float:
    """The same share among `resamples` drawn patterns and the observed one."""
    generator = np.random.default_rng(seed)
    batch = max(1, BATCH_NUMBERS // sizes.size)
    total = float(sizes.sum())
    extreme = 0
    for start in range(0, resamples, batch):
        rows = min(batch, resamples - start)
        octets = generator.integers(0, 256, (rows, -(-sizes.size // 8)), dtype=np.uint8)
        heads = np.unpackbits(octets, axis=1, count=sizes.size).astype(np.float64)
        extreme += int((np.abs(2 * (heads @ sizes) - total) >= observed).sum())
    return (extreme + 1) / (resamples + 1)
