"""Two models on questions that cannot be paired: the difference, its interval and its p-value.

For: `--unpaired`, where runs differ in questions or settings and the user wants numbers anyway.
Not for: runs over the same questions; pairing them shows differences several times smaller.

Results depend on the seed alone, not on the order of the questions, and exchanging the models
changes signs and nothing else.
"""

from collections.abc import Iterable
from math import hypot

import numpy as np
from scipy import stats

from iha_eval.statistics.difference import Difference, Interval, PValue, Status, estimate
from iha_eval.statistics.level import wilson
from iha_eval.statistics.scores import (
    BATCH_NUMBERS,
    CONFIDENCE,
    FEW,
    Floats,
    is_binary,
    mean,
    on_grid,
    scored,
    slack,
    varied,
)


def unpaired_difference(
    a: Iterable[float | None],
    b: Iterable[float | None],
    *,
    seed: int = 0,
    resamples: int = 9_999,
) -> Difference:
    """The difference between the mean scores of two models on separate sets of questions.

    The interval is Newcombe's hybrid score interval for 0/1 scores (method 10 of "Interval
    estimation for the difference between independent proportions", 1998), and the BCa bootstrap
    for fractional ones; where one side has fewer than 10 scores apart from its commonest, it is
    Newcombe's too, which for fractions errs on the wide side.

    Args:
        a: Scores in [0, 1], one a question; None or NaN where there is none.
        b: Scores of the baseline.
        seed: Seed of the bootstrap.
        resamples: Bootstrap resamples.

    Raises:
        ValueError: If a score is outside [0, 1].
    """
    left, left_out = scored(a)
    right, right_out = scored(b)
    missing = left_out + right_out
    if not (left.size and right.size):
        return Difference(left.size, right.size, missing, None, "empty", None)
    status = _status(left, right)
    means = mean(left), mean(right)
    if status == "ok" and not is_binary(left, right):
        interval = _bootstrap(left, right, seed, resamples)
    else:
        interval = newcombe(means[0], left.size, means[1], right.size)
    numbers = estimate(means, means[0] - means[1], interval)
    return Difference(left.size, right.size, missing, numbers, status, None)


def unpaired_p(
    a: Iterable[float | None],
    b: Iterable[float | None],
    *,
    seed: int = 0,
    resamples: int = 9_999,
) -> PValue:
    """Whether two models differ: Fisher's exact test for 0/1 scores, permutations for fractions.

    Args:
        a: Scores in [0, 1], one a question; None or NaN where there is none.
        b: Scores of the baseline.
        seed: Seed of the permutations.
        resamples: Permutations; all of them, if there are no more.

    Raises:
        ValueError: If a score is outside [0, 1].
    """
    left, right = scored(a)[0], scored(b)[0]
    if not (left.size and right.size):
        return PValue(None, "no test: one side has no scores")
    if is_binary(left, right):
        table = [[int(side.sum()), int(side.size - side.sum())] for side in (left, right)]
        return PValue(float(stats.fisher_exact(table).pvalue), "Fisher's exact test")
    if min(left.size, right.size) == 1:
        return PValue(_single_p(left, right), "permutation test")
    # Not rounded: scipy takes sums that differ in their last digits for equal.
    result = stats.permutation_test(
        (right, left) if _in_other_order(left, right) else (left, right),
        lambda x, y, axis: np.abs(np.mean(x, axis=axis) - np.mean(y, axis=axis)),
        permutation_type="independent",
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, BATCH_NUMBERS // (left.size + right.size)),
        alternative="greater",
        rng=np.random.default_rng(seed),
    )
    return PValue(float(result.pvalue), "permutation test")


def newcombe(mean_a: float, n_a: int, mean_b: float, n_b: int) -> Interval:
    """Newcombe's hybrid score interval for the difference between two independent shares."""
    low_a, high_a = wilson(mean_a, n_a)
    low_b, high_b = wilson(mean_b, n_b)
    share = mean_a - mean_b
    return Interval(
        share - hypot(mean_a - low_a, high_b - mean_b),
        share + hypot(high_a - mean_a, mean_b - low_b),
        "Newcombe's hybrid score interval",
    )


def _status(left: Floats, right: Floats) -> Status:
    if min(left.size, right.size) == 1:
        return "single"
    apart = varied(left), varied(right)
    return "constant" if max(apart) == 0 else "few" if min(apart) < FEW else "ok"


def _single_p(left: Floats, right: Floats) -> float:
    """The share of all scores that are as far from the mean of the others as the single one."""
    single, others = (left, right) if left.size == 1 else (right, left)
    scores = on_grid(np.concatenate((single, others)))
    distances = np.abs(scores - scores.mean())
    return float(np.mean(distances >= distances[0] - slack(scores.size)))


def _in_other_order(left: Floats, right: Floats) -> bool:
    """Whether b comes first where the order of the models must not matter."""
    return (left.size, left.tolist()) > (right.size, right.tolist())


def _bootstrap(left: Floats, right: Floats, seed: int, resamples: int) -> Interval:
    """The BCa interval of a difference between two independent means."""
    flip = _in_other_order(left, right)
    result = stats.bootstrap(
        tuple(on_grid(side) for side in ((right, left) if flip else (left, right))),
        lambda x, y, axis: np.mean(x, axis=axis) - np.mean(y, axis=axis),
        confidence_level=CONFIDENCE,
        n_resamples=resamples,
        batch=max(1, BATCH_NUMBERS // (left.size + right.size)),
        vectorized=True,
        axis=-1,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    method = f"BCa bootstrap over questions of each side, {resamples:,} resamples"
    interval = Interval(float(result.low), float(result.high), method)
    return interval.symmetric() if np.array_equal(left, right) else interval.mirrored(flip)
