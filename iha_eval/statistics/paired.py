"""Two models on the same questions: the difference, its interval and its p-value.

For: `paired_difference` and `paired_p`, which take the n-th score of both sides as one question.
Not for: runs over different questions (unpaired.py), nor for many comparisons at once
(corrected.py).

Results depend on the seed alone, not on the order of the questions, and exchanging the models
changes signs and nothing else.
"""

from collections.abc import Iterable

import numpy as np
from scipy import stats

from iha_eval.statistics.bootstrap import bca
from iha_eval.statistics.difference import Difference, Interval, Pairs, PValue, Status, estimate
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


def paired_difference(
    a: Iterable[float | None],
    b: Iterable[float | None],
    *,
    seed: int = 0,
    resamples: int = 9_999,
) -> Difference:
    """The mean difference between two models over the questions that both have a score for.

    The interval is the BCa bootstrap over questions; where fewer than 10 questions stand apart
    from the rest, a bootstrap repeats what little it was given, and Bonett and Price's interval
    takes its place, which also speaks where all differences are equal.

    Args:
        a: Scores in [0, 1], one a question; None or NaN where there is none.
        b: Scores of the baseline, in the same order.
        seed: Seed of the bootstrap.
        resamples: Bootstrap resamples.

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
    interval = (
        _bootstrap(differences, seed, resamples) if status == "ok" else adjusted_wald(differences)
    )
    numbers = estimate((mean(left), mean(right)), mean(left - right), interval)
    return Difference(n, n, left_out, numbers, status, pairs)


def paired_p(
    a: Iterable[float | None],
    b: Iterable[float | None],
    *,
    seed: int = 0,
    resamples: int = 19_999,
) -> PValue:
    """Whether two models differ: exact McNemar for 0/1 scores, a sign-flip test for fractions.

    McNemar's exact test is the two-sided binomial test on the questions that differ. The sign-flip
    test asks how often differences with signs drawn by coin have a sum at least as large; up to 20
    nonzero differences every outcome is counted, beyond that `resamples` are drawn and the data
    count as one more of them, so that p is never 0 (Phipson and Smyth 2010).

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
        if higher + lower == 0:
            return PValue(1.0, "exact McNemar")
        return PValue(float(stats.binomtest(higher, higher + lower).pvalue), "exact McNemar")
    sizes = np.sort(np.abs(on_grid(left - right)))
    sizes = sizes[sizes > 0]
    observed = abs(float(on_grid(left - right).sum())) - slack(left.size)
    if sizes.size <= EXACT_FLIPS:
        return PValue(_count_flips(sizes, observed), "sign flips, all counted")
    return PValue(_draw_flips(sizes, observed, seed, resamples), f"sign flips, {resamples:,} drawn")


def adjusted_wald(differences: Floats) -> Interval:
    """The interval of a mean of differences after adding two questions, one of +1 and one of -1.

    For 0/1 scores this is the interval of Bonett and Price, "Adjusted Wald confidence interval for
    a difference of binomial proportions based on paired data", 2012. For fractional scores the
    added questions differ by as much as questions can, which errs on the wide side.
    """
    padded = np.append(differences, (1.0, -1.0))
    center = mean(padded)
    error = np.sqrt((mean(padded**2) - center**2) / padded.size)
    reach = float(stats.norm.ppf((1 + CONFIDENCE) / 2) * error)
    return Interval(center - reach, center + reach, "adjusted Wald (Bonett-Price)")


def _status(differences: Floats) -> Status:
    if differences.size == 1:
        return "single"
    apart = varied(differences)
    return "constant" if apart == 0 else "few" if apart < FEW else "ok"


def _bootstrap(differences: Floats, seed: int, resamples: int) -> Interval:
    """The BCa interval of the mean of sorted differences; mirrored data, mirrored interval."""
    mirror = -differences[::-1]
    unequal = differences != mirror
    symmetric = not unequal.any()
    flip = not symmetric and bool((differences < mirror)[unequal][0])
    interval = bca(mirror if flip else differences, seed, resamples)
    return interval.symmetric() if symmetric else interval.mirrored(flip)


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
