"""Two models on questions that cannot be paired: the difference, its interval and its p-value.

For: `compare_unpaired`, where runs differ in questions or settings and the user wants numbers
anyway.
Not for: runs over the same questions; pairing them shows differences several times smaller.

Results depend on the seed alone, not on the order of the questions, and exchanging the models
changes signs and nothing else.
"""

from collections.abc import Iterable
from math import hypot, sqrt

import numpy as np
from scipy import optimize, stats

from iha_eval.statistics.difference import (
    Difference,
    Interval,
    PValue,
    Status,
    agreeing,
    estimate,
    fieller,
    two_sided,
)
from iha_eval.statistics.level import Z, wilson
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


def compare_unpaired(
    a: Iterable[float | None], b: Iterable[float | None], *, seed: int = 0
) -> tuple[Difference, PValue]:
    """Difference and p-value of two models, which never contradict each other (`agreeing`).

    Args:
        a: Scores in [0, 1], one a question; None or NaN where there is none.
        b: Scores of the baseline.
        seed: Seed of the permutations.

    Raises:
        ValueError: If a score is outside [0, 1].
    """
    left, right = list(a), list(b)
    return agreeing(unpaired_difference(left, right), unpaired_p(left, right, seed=seed))


def unpaired_difference(a: Iterable[float | None], b: Iterable[float | None]) -> Difference:
    """The difference between the mean scores of two models on separate sets of questions.

    The interval is Newcombe's hybrid score interval for 0/1 scores (method 10 of "Interval
    estimation for the difference between independent proportions", 1998), and Welch's t for
    fractional ones, after adding a right and a wrong answer to each side (as Agresti and Caffo 2000
    do for shares); where one side has fewer than 10 scores apart from its commonest, it is
    Newcombe's too, which for fractions errs on the wide side.

    Args:
        a: Scores in [0, 1], one a question; None or NaN where there is none.
        b: Scores of the baseline.

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
    relative = _relative(left, right)
    if status == "ok" and not is_binary(left, right):
        interval = _welch(left, right, relative)
    else:
        interval = newcombe(means[0], left.size, means[1], right.size, relative)
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
        p = float(stats.fisher_exact(table).pvalue)
        return PValue(p, "Fisher's exact test", _least_fisher(table))
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


def _least_fisher(table: list[list[int]]) -> float:
    """The smallest p that a table with the same margins can have."""
    (right_a, wrong_a), (right_b, wrong_b) = table
    n_a, n_b, right = right_a + wrong_a, right_b + wrong_b, right_a + right_b
    most, fewest = min(n_a, right), max(0, right - n_b)
    chances = stats.hypergeom.pmf((fewest, most), n_a + n_b, right, n_a)
    return float(min(chances)) if most > fewest else 1.0


def newcombe(
    mean_a: float,
    n_a: int,
    mean_b: float,
    n_b: int,
    relative: tuple[float, float] | None = None,
) -> Interval:
    """Newcombe's hybrid score interval for the difference between two independent shares."""
    share = mean_a - mean_b

    def ends(z: float) -> tuple[float, float]:
        low_a, high_a = wilson(mean_a, n_a, z)
        low_b, high_b = wilson(mean_b, n_b, z)
        below = hypot(mean_a - low_a, high_b - mean_b)
        return share - below, share + hypot(high_a - mean_a, mean_b - low_b)

    def nearer_end(z: float) -> float:
        low, high = ends(z)
        return low if share > 0 else -high

    # An interval that leaves 0 out at 38 standard errors has a p that no float can hold.
    far = 38.0 if nearer_end(38.0) > 0 else optimize.brentq(nearer_end, 0.0, 38.0) if share else 0.0
    return Interval(*ends(Z), "Newcombe's hybrid score interval", two_sided(float(far)), relative)


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


def _padded(scores: Floats) -> tuple[float, float, int]:
    """Mean, its squared standard error and the size, after adding a right and a wrong answer."""
    padded = np.append(scores, (0.0, 1.0))
    return mean(padded), float(padded.var(ddof=1)) / padded.size, padded.size


def _welch(left: Floats, right: Floats, relative: tuple[float, float] | None) -> Interval:
    (mean_a, var_a, n_a), (mean_b, var_b, n_b) = _padded(left), _padded(right)
    center, error = mean_a - mean_b, sqrt(var_a + var_b)
    freedom = (var_a + var_b) ** 2 / (var_a**2 / (n_a - 1) + var_b**2 / (n_b - 1))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    method = "Welch's t after adding a right and a wrong answer to each side"
    p = two_sided(center / error, freedom)
    return Interval(center - reach, center + reach, method, p, relative)


def _relative(left: Floats, right: Floats) -> tuple[float, float] | None:
    """Fieller's interval of the relative difference, from the same padded scores."""
    (mean_a, var_a, _), (mean_b, var_b, _) = _padded(left), _padded(right)
    return fieller((mean_a, mean_b), (var_a, var_b), 0.0, Z)
