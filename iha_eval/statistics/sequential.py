"""Watching the same questions night after night: when did they become worse, and is it still so?

For: `watch`, which finds drops with a stated number of false alarms a month, and `threshold`; and
`look_confidence`, for a difference of two models that is looked at along training.
Not for: comparing two models on one night (paired.py), nor for results of which only means are
left (trend.py).

The statistic of a window of the last nights against a reference is that of McNemar, carried over to
many nights. For each question, D is its mean score in the window less that in the reference;
z = -sum(D) / sqrt(V). V is the larger of two estimates of the variance of the sum:

- sum(D^2), as in McNemar's test: right where a change of software flips some verdicts for good,
  in both directions;
- the night-to-night noise, sum(s^2 (1/m + 1/k)), with the variance s^2 of the question's scores
  over all m nights of the reference and k of the window: right where verdicts flip every night.

The reference is all good nights before the window, so that it cannot follow a decline down; or
scores that are given. Windows of 1 to 512 nights are tried on every night (a CUSUM over starts
that are not known, with an estimated level; Lai 1995). An alarm is raised at the threshold. A
window that is long beside its reference pays for it, since nights to come could not correct a lucky
reference.

A drop that was found stands until one of two things is shown: the nights after its alarm are nearer
to the reference than to half the drop (a likelihood ratio, summed as a CUSUM, of 50); or, with all
nights since it began, its z has sunk clearly below the threshold. Its nights are no part of the
reference, then or later.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import optimize, stats

from iha_eval.statistics.scores import ALPHA, Floats

#: No watch raises an alarm below this, whatever the budget.
LEAST_THRESHOLD = 2.7

#: Lengths of the windows, in nights.
LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)

#: False alarms of a watch in 30 nights, divided by h times the normal density at the threshold h:
#: above what simulation shows (docs/nightly.md).
_RATE = 10.0

#: By how much z must sink below the threshold before a drop counts as not shown any more.
_CLEARLY = 0.5

#: What a window pays for its length beside the reference, in squared standard errors, and from
#: which share of all nights on.
_PRICE, _FREE = 10.0, 0.3

#: Looks over which the error of `look_confidence` is spread nearly evenly.
_EVEN = 10

#: Likelihood ratios at which a drop counts as mended: against earlier nights, and against scores
#: that are given, where an alarm is told once and false ones do not stay red.
_MENDED, _MENDED_FIXED = 50.0, 10_000.0


@dataclass
class Drop:
    """A drop, as all nights so far show it.

    Attributes:
        since: index of its first night.
        alarm: index of the night that found it.
        z: statistic of the alarm.
        points: mean score in the reference less that since then, 0 to 1, over the questions that
            both have.
        nights: number of nights with scores since it began.
        reference: number of nights that it is held against.
        ended: index of the night on which it counted as mended or not shown any more; None while
            it stands.
        mended: whether that was shown by a rise.
    """

    since: int
    alarm: int
    z: float
    points: float
    nights: int
    reference: int
    ended: int | None = None
    mended: bool = False


@dataclass(frozen=True)
class Watch:
    """What watching some nights has found.

    Attributes:
        drops: all drops, the earliest alarm first.
        z: statistic of the last night, while no drop stands.
        points: mean difference of the last night from the reference, 0 to 1; below 0 is worse.
        reference: number of nights that the last one was held against; 0 if none.
    """

    drops: tuple[Drop, ...]
    z: float
    points: float
    reference: int

    @property
    def standing(self) -> Drop | None:
        """The drop that stands after the last night."""
        return self.drops[-1] if self.drops and self.drops[-1].ended is None else None


@lru_cache
def threshold(false_alarms: float) -> float:
    """The least z that raises an alarm.

    Args:
        false_alarms: alarms that one watch may raise in 30 nights on which nothing changes; a
            budget for several is divided among them.
    """
    if _rate(LEAST_THRESHOLD) <= false_alarms:
        return LEAST_THRESHOLD
    return float(optimize.brentq(lambda h: _rate(h) - false_alarms, LEAST_THRESHOLD, 40.0))


def _rate(h: float) -> float:
    return _RATE * h * float(stats.norm.pdf(h))


def watch(
    nights: Any, alarm: float, *, reference: Any = None, exact: bool = False, least: float = 0.0
) -> Watch:
    """Watch the same questions over nights.

    Args:
        nights: scores of shape (nights, questions), oldest first, more is better; NaN where a
            question has no score on a night.
        alarm: the threshold, see `threshold`.
        reference: scores of shape (questions,) that each night is held against; None for the good
            nights before it.
        exact: whether the reference is without noise, as the 0 is that differences are held
            against; otherwise it counts as one night.
        least: smallest drop that counts, 0 to 1.
    """
    scores = np.asarray(nights, dtype=np.float64)
    given = None if reference is None else np.asarray(reference, dtype=np.float64)
    state = _State(scores, alarm, given, exact, least)
    for night in range(len(scores)):
        state.add(night)
    return Watch(tuple(state.drops), state.z, state.points, state.reference)


def look_confidence(look: int, curves: int = 1) -> float:
    """The level of the interval of a look at a difference that is looked at again and again.

    Look k spends the part c / ((k + c - 1) (k + c)), c = 10, of the error of 5%: the parts of all
    looks add up to 1 however many there will be, hardly less than alike over the first ten. So the
    chance that any look at any curve is clear where nothing differs is 5% at most (union bound,
    with whatever correlation between looks); no interval changes when another look comes.

    Args:
        look: 1 for the first.
        curves: Differences that are looked at side by side, which share the error.
    """
    part = _EVEN / ((look + _EVEN - 1) * (look + _EVEN))
    return 1 - ALPHA * part / curves


def clear_since(ends: Sequence[tuple[float, float]]) -> int | None:
    """From which look on all intervals lie on the same side of 0; None if the last one holds it."""
    sides = [(low > 0) - (high < 0) for low, high in ends]
    if not sides or sides[-1] == 0:
        return None
    return max((n + 1 for n, side in enumerate(sides) if side != sides[-1]), default=0)


@dataclass
class _Sums:
    """Sums over nights, by question: scores, their squares, and how many there are."""

    total: Floats
    squares: Floats
    count: Floats

    @classmethod
    def of(cls, rows: Floats) -> "_Sums":
        rows = rows.reshape(-1, rows.shape[-1])
        known = ~np.isnan(rows)
        filled = np.where(known, rows, 0.0)
        return cls(filled.sum(0), (filled**2).sum(0), known.sum(0).astype(np.float64))

    def __add__(self, other: "_Sums") -> "_Sums":
        return _Sums(
            self.total + other.total, self.squares + other.squares, self.count + other.count
        )

    def __sub__(self, other: "_Sums") -> "_Sums":
        return _Sums(
            self.total - other.total, self.squares - other.squares, self.count - other.count
        )


def drop_z(window: _Sums, before: _Sums, *, exact: bool = False) -> tuple[float, float]:
    """The statistic of a window against a reference, and the mean drop over the common questions.

    Args:
        window: sums over the nights of the window.
        before: sums over those of the reference.
        exact: whether the reference is without noise.

    Returns:
        z and drop; 0 and 0 without a common question. Above 0 is worse.
    """
    common = (window.count > 0) & (before.count > 0)
    if not common.any():
        return 0.0, 0.0
    m, k = before.count[common], window.count[common]
    difference = window.total[common] / k - before.total[common] / m
    # Over reference and window together, as if nothing had changed.
    nights = k if exact else k + m
    total = window.total[common] + (0.0 if exact else before.total[common])
    squares = window.squares[common] + (0.0 if exact else before.squares[common])
    variance = np.maximum(squares - total**2 / nights, 0.0) / np.maximum(nights - 1, 1)
    noise = float((variance * (1 / k + (0.0 if exact else 1 / m))).sum())
    spread = max(float((difference**2).sum()), noise)
    drop = -float(difference.mean())
    return (drop * difference.size / math.sqrt(spread) if spread > 1e-12 else 0.0), drop


@dataclass
class _State:
    """What the nights so far have shown."""

    scores: Floats
    alarm: float
    given: Floats | None
    exact: bool
    least: float
    drops: list[Drop] = field(default_factory=list)
    z: float = 0.0
    points: float = 0.0
    reference: int = 0

    def __post_init__(self) -> None:
        self._good: list[int] = []
        # Sums over the first nights of `_good`.
        self._sums = [_Sums.of(self.scores[:0])]
        self._fixed = None if self.given is None else _Sums.of(self.given)
        self._evidence = 0.0

    def add(self, night: int) -> None:
        """Go on by a night."""
        if np.isnan(self.scores[night]).all():
            return
        if self.drops and self.drops[-1].ended is None:
            self._follow(self.drops[-1], night)
            return
        self._take(night)
        self.reference = len(self._good) - 1 if self._fixed is None else 1
        self.z, drop, self.points = self._best()
        if self.z >= self.alarm and drop >= self.least:
            self._raise(night)

    def _take(self, night: int) -> None:
        self._good.append(night)
        self._sums.append(self._sums[-1] + _Sums.of(self.scores[night]))

    def _best(self) -> tuple[float, float, float]:
        """The clearest z of all windows with its drop, and the difference of tonight alone."""
        nights, best, tonight = len(self._good), (0.0, 0.0), 0.0
        for length in LENGTHS:
            if length > (nights if self._fixed else nights - 1):
                break
            window = self._sums[-1] - self._sums[-1 - length]
            z, drop = drop_z(window, self._fixed or self._sums[-1 - length], exact=self.exact)
            if length == 1:
                tonight = -drop
            if self._fixed is None:
                z = math.copysign(
                    math.sqrt(max(0.0, z * z - _PRICE * max(0.0, length / nights - _FREE))), z
                )
            best = max(best, (z, drop))
        return *best, tonight

    def _raise(self, night: int) -> None:
        """Begin a drop: where it began, what is good, and what it takes to end it."""
        start = self._locate(self._good, len(self._good) - 1)
        before = self._fixed or self._sums[start]
        _, drop = drop_z(self._sums[-1] - self._sums[start], before, exact=self.exact)
        self.drops.append(
            Drop(self._good[start], night, self.z, drop, len(self._good) - start, self.reference)
        )
        self._bad = self._good[start:]
        self._half = drop / 2
        self._evidence = 0.0
        del self._good[start:], self._sums[start + 1 :]

    def _follow(self, drop: Drop, night: int) -> None:
        """Go on while a drop stands, and end it on evidence."""
        before = self._fixed or self._sums[-1]
        _, below = drop_z(_Sums.of(self.scores[night]), before, exact=self.exact)
        self.points = -below
        self._bad.append(night)
        gain = ((self._half - below) ** 2 - below**2) / (2 * self._noise())
        self._evidence = max(0.0, self._evidence + gain)
        since = self._bad
        z, points = drop_z(_Sums.of(self.scores[since]), before, exact=self.exact)
        if self._ends(z):
            drop.ended, drop.mended = night, self._evidence >= math.log(_MENDED)
            self._take(night)
            self.z, self.reference = z, len(self._good) - 1 if self._fixed is None else 1
            return
        everything = [*self._good, *self._bad]
        start = self._locate(everything, everything.index(drop.alarm))
        drop.since = everything[start]
        drop.points, drop.nights = points, len(everything) - start

    def _noise(self) -> float:
        """Variance of the difference of a night from the reference, as long as nothing changes."""
        # Without tonight, which would be a jump if all is well again; with it if there is no other.
        for nights in (self._bad[:-1], self._bad):
            groups = [self._sums[-1], _Sums.of(self.scores[nights])]
            freedom = sum(float(np.maximum(g.count - 1, 0.0).sum()) for g in groups)
            if freedom:
                break
        spread = sum(
            float(np.maximum(g.squares - g.total**2 / np.maximum(g.count, 1), 0.0).sum())
            for g in groups
        )
        questions = max(1, int((groups[0].count + groups[1].count > 0).sum()))
        own = spread / freedom / questions if freedom else 0.0
        share = 0.0 if self.exact else 1.0 if self._fixed else 1 / max(1, len(self._good))
        # Half a question is the least that one night differs from another.
        return max(own * (1 + share), (0.5 / questions) ** 2)

    def _ends(self, z: float) -> bool:
        if self._fixed is None:
            return self._evidence >= math.log(_MENDED) or z < self.alarm - _CLEARLY
        return self._evidence >= math.log(_MENDED_FIXED)

    def _locate(self, nights: Sequence[int], last: int) -> int:
        """Position, up to `last`, of the night that most likely opens the lower level."""
        rows = self.scores[list(nights)]
        sums = _Sums.of(rows)
        centre = sums.total / np.maximum(sums.count, 1) if self.given is None else self.given
        # Each night's own level: without the questions that it lacks.
        part = (sums.count > 0) & ~np.isnan(centre) & ~np.isnan(rows)
        levels = np.where(part, rows - centre, 0.0).sum(1) / np.maximum(part.sum(1), 1)
        total = np.cumsum(levels[::-1])[::-1]
        after = np.arange(len(levels), 0, -1)
        if self._fixed:
            return int(np.argmax((-total / np.sqrt(after))[: last + 1]))
        position = np.arange(1, len(levels))
        earlier = (total[0] - total[1:]) / position
        later = total[1:] / after[1:]
        weight = np.sqrt(position * after[1:] / len(levels))
        return 1 + int(np.argmax(((earlier - later) * weight)[:last]))
