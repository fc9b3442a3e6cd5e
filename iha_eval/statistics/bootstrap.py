"""The BCa bootstrap interval of a mean.

For: paired differences, of which there are thousands that take a handful of values.
Not for: two independent means (unpaired.py), nor for whether a bootstrap can be trusted with so few
questions; the caller asks that first.

Efron, "Better Bootstrap Confidence Intervals", 1987; as scipy.stats.bootstrap has it, but where
values repeat it draws how often each of them comes up, which has the same distribution as drawing
questions and costs as much as there are values instead of questions.
"""

import numpy as np
from scipy import special

from iha_eval.statistics.difference import Interval
from iha_eval.statistics.scores import BATCH_NUMBERS, CONFIDENCE, Floats

#: Questions there must be for each value, or drawing counts takes longer than drawing questions.
REPEATED = 20


def bca(values: Floats, seed: int, resamples: int) -> Interval:
    """The BCa interval of the mean of some values.

    Args:
        values: Shape (questions,), sorted and on the grid; at least two of them differ.
        seed: Seed of the resamples.
        resamples: How many.
    """
    distinct, counts = np.unique(values, return_counts=True)
    generator = np.random.default_rng(seed)
    if distinct.size * REPEATED <= values.size:
        means = _by_counts(distinct, counts / values.size, values.size, generator, resamples)
    else:
        means = _by_questions(values, generator, resamples)
    low, high = np.quantile(means, _levels(values, means))
    return Interval(
        float(low), float(high), f"BCa bootstrap over questions, {resamples:,} resamples"
    )


def _by_counts(
    distinct: Floats, shares: Floats, size: int, generator: np.random.Generator, resamples: int
) -> Floats:
    drawn = generator.multinomial(size, shares, size=resamples)
    return np.asarray(drawn @ distinct / size, dtype=np.float64)


def _by_questions(values: Floats, generator: np.random.Generator, resamples: int) -> Floats:
    batch = max(1, BATCH_NUMBERS // values.size)
    parts = []
    for start in range(0, resamples, batch):
        rows = min(batch, resamples - start)
        chosen = generator.integers(0, values.size, (rows, values.size))
        parts.append(values[chosen].mean(axis=-1))
    return np.concatenate(parts)


def _levels(values: Floats, means: Floats) -> Floats:
    """The two quantiles that BCa takes, corrected for bias and acceleration."""
    center = values.mean()
    below = ((means < center).mean() + (means <= center).mean()) / 2
    bias = special.ndtri(below)
    apart = values - center
    # Of a mean, the jackknife's acceleration is that of the values themselves.
    acceleration = (apart**3).sum() / (6 * (apart**2).sum() ** 1.5)
    tail = (1 - CONFIDENCE) / 2
    ends = bias + special.ndtri(np.array([tail, 1 - tail]))
    return np.asarray(special.ndtr(bias + ends / (1 - acceleration * ends)), dtype=np.float64)
