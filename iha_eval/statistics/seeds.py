"""Two methods by several training runs each: the difference, with seed and question variance apart.

For: saying of a method what one checkpoint cannot tell, "IHA beats full attention".
Not for: two checkpoints (paired.py); their difference may be the luck of one training run.

Every run answers the same questions. A score is the sum of what the method is worth, what its
training run (seed) adds, how the method suits the question, and what is left; seeds and questions
are both samples of many. The variance of the difference is that of the means of the seeds, plus
that of the questions' mean differences, less the rest that both of them hold (a crossed design with
two random factors, as in Clark 1973). The interval is Student's t with Satterthwaite's degrees of
freedom.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy import stats

from iha_eval.statistics.scores import ALPHA, CONFIDENCE, POWER, as_scores

#: Most training runs of each method that are asked for.
MOST_SEEDS = 200


@dataclass(frozen=True)
class SeedDifference:
    """Method a against method b, the baseline.

    Attributes:
        seeds_a: Training runs of a.
        seeds_b: Training runs of b.
        n: Questions that every run has a score for.
        left_out: Questions left out because a run has none.
        means_a: Mean score of each run of a, 0 to 1.
        means_b: Mean score of each run of b.
        points: 100 times the mean of a less that of b.
        seed_error: Standard error that comes from the training runs, in points.
        question_error: Standard error that comes from the questions, in points.
        low: Lower end of the 95% interval, in points.
        high: Upper end.
        p: Two-sided p-value, that of the same t.
        enough_seeds: Training runs of each method with which a difference of this size would be
            shown at 80% power; None if no number of them would do, for there are too few questions.
    """

    seeds_a: int
    seeds_b: int
    n: int
    left_out: int
    means_a: tuple[float, ...]
    means_b: tuple[float, ...]
    points: float
    seed_error: float
    question_error: float
    low: float
    high: float
    p: float
    enough_seeds: int | None


@dataclass(frozen=True)
class _Group:
    """The runs of one method: scores of shape (runs, questions), and their parts of variance."""

    scores: npt.NDArray[np.float64]

    @property
    def runs(self) -> int:
        return int(self.scores.shape[0])

    @property
    def seed_variance(self) -> float:
        """Of the runs' mean scores, with their share of the rest."""
        return float(self.scores.mean(axis=1).var(ddof=1))

    @property
    def rest(self) -> float:
        """Variance of what neither run nor question explains."""
        scores = self.scores
        left = scores - scores.mean(axis=1, keepdims=True) - scores.mean(axis=0) + scores.mean()
        return float((left**2).sum() / ((scores.shape[0] - 1) * (scores.shape[1] - 1)))


def seed_difference(
    a: Sequence[Sequence[float | None]], b: Sequence[Sequence[float | None]]
) -> SeedDifference | None:
    """The difference between two methods, by several training runs of at least one of them.

    A method with a single run is taken to vary from run to run as the other one does.

    Args:
        a: Scores in [0, 1] of each run of method a, in the same order of questions everywhere.
        b: Those of the baseline.

    Returns:
        The difference; None with fewer than two questions that all runs have.

    Raises:
        ValueError: If each side has one run only, the lengths differ or a score is outside [0, 1].
    """
    if max(len(a), len(b)) < 2:
        raise ValueError("one training run each says nothing about how training runs vary")
    left, right = (np.stack([as_scores(run) for run in runs]) for runs in (a, b))
    there = ~(np.isnan(left).any(axis=0) | np.isnan(right).any(axis=0))
    n = int(there.sum())
    if n < 2:
        return None
    groups = _Group(left[:, there]), _Group(right[:, there])
    return _difference(groups, int(there.size) - n)


def _difference(groups: tuple[_Group, _Group], left_out: int) -> SeedDifference:
    ours, theirs = groups
    n = int(ours.scores.shape[1])
    by_question = ours.scores.mean(axis=0) - theirs.scores.mean(axis=0)
    questions = float(by_question.var(ddof=1)) / n
    known = [group for group in groups if group.runs > 1]
    # Of each method: variance between runs, variance of the rest, and degrees of freedom.
    spread = [
        (group.seed_variance, group.rest, group.runs - 1)
        if group.runs > 1
        else (known[0].seed_variance, known[0].rest, known[0].runs - 1)
        for group in groups
    ]
    seeds = sum(part[0] / group.runs for part, group in zip(spread, groups, strict=True))
    rest = sum(part[1] / group.runs for part, group in zip(spread, groups, strict=True)) / n
    variance = max(seeds, questions, seeds + questions - rest)
    freedom = _freedom(groups, spread, questions, variance)
    share, error = float(by_question.mean()), sqrt(variance)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    p = float(2 * stats.t.sf(abs(share) / error, freedom)) if error else float(share == 0)
    between = float(np.mean([max(0.0, part[0] - part[1] / n) for part in spread]))
    left = float(np.mean([part[1] for part in spread]))
    return SeedDifference(
        seeds_a=ours.runs,
        seeds_b=theirs.runs,
        n=n,
        left_out=left_out,
        means_a=tuple(map(float, ours.scores.mean(axis=1))),
        means_b=tuple(map(float, theirs.scores.mean(axis=1))),
        points=100 * share,
        seed_error=100 * sqrt(seeds),
        question_error=100 * sqrt(questions),
        low=100 * max(-1.0, share - reach),
        high=100 * min(1.0, share + reach),
        p=p,
        enough_seeds=_enough(share, between, left / n, max(0.0, questions - rest)),
    )


def _freedom(
    groups: tuple[_Group, _Group],
    spread: Sequence[tuple[float, float, int]],
    questions: float,
    variance: float,
) -> float:
    """Satterthwaite's degrees of freedom; those of the runs where nothing varies."""
    parts = [part[0] / group.runs for part, group in zip(spread, groups, strict=True)]
    if 1 in (group.runs for group in groups):
        # Both sides stand on the same runs, so that their errors add up.
        terms = [sum(parts) ** 2 / spread[0][2]]
    else:
        terms = [value**2 / part[2] for value, part in zip(parts, spread, strict=True)]
    total = sum(terms) + questions**2 / (groups[0].scores.shape[1] - 1)
    return variance**2 / total if total else float(sum(group.runs - 1 for group in groups))


def _enough(share: float, between: float, rest: float, questions: float) -> int | None:
    """Runs of each method that show `share`; variances of runs, of the rest and of questions."""
    for runs in range(2, MOST_SEEDS + 1):
        error = sqrt(2 * (between + rest) / runs + questions)
        freedom = 2 * (runs - 1)
        reach = stats.t.ppf(1 - ALPHA / 2, freedom) + stats.t.ppf(POWER, freedom)
        if abs(share) >= reach * error:
            return runs
    return None
