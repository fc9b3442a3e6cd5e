"""The history as series: one model on one metric of one task, with the same questions each night.

For: what can be looked at over time, and `look_back`, which is what `iha-eval history` shows. Other
questions, prompts or settings make another series; a night whose run failed stands in its series
as a gap.
Its steps are the drops that `comparisons.py` finds, from which the exit code of the night came too.
Not for: reading the history (`history.py`), nor for finding drops.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from statistics import fmean
from typing import Any

import numpy as np
from scipy import stats

from iha_eval.nightly.comparisons import FoundDrop, Tonight, against_nights, measure_of
from iha_eval.nightly.config import BASELINE, Rules
from iha_eval.nightly.history import History, HistoryEntry
from iha_eval.nightly.missing import RULE_NAMES
from iha_eval.statistics import CONFIDENCE, Step, Trend, find_steps, paired_difference, threshold

# Characters of a fingerprint or commit that tell it from others.
SHORT = 12
SCALE = 8.0
"""Standard errors from the foot to the top of a sparkline, at least."""
_BARS = "▁▂▃▄▅▆▇█"
_GAP = "·"


@dataclass(frozen=True)
class Point:
    """One night of a series.

    Attributes:
        night: its id.
        line: what the history says; of a failed run, that it failed.
    """

    night: str
    line: HistoryEntry

    @property
    def failed(self) -> bool:
        """Whether there is no result, or one that counts as missing."""
        return not self.line.has_result


@dataclass
class MetricSeries:
    """One model on one metric of one task.

    Attributes:
        model: its name in the configuration.
        task: name of the task or group.
        metric: name of the metric.
        points: oldest first; the first is a result.
        version: 1 for the first questions that this metric was ever measured on, 2 for the next.
        current: whether it is what was measured last.
        drops: what watching it has found; None where the scores are gone.
    """

    model: str
    task: str
    metric: str
    version: int
    points: list[Point] = field(default_factory=list)
    current: bool = True
    drops: tuple[FoundDrop, ...] | None = None

    @property
    def results(self) -> list[Point]:
        """The nights that have one."""
        return [point for point in self.points if not point.failed]

    @property
    def watched(self) -> bool:
        """Whether the rules looked at it, the last time that it was measured."""
        return bool(self.results and self.results[-1].line.watched)

    @property
    def sign(self) -> int:
        """1 where more is better, else -1."""
        return -1 if self.results and self.results[-1].line.higher_is_better is False else 1

    def trend(self) -> Trend:
        """Its step changes; indices count all points, levels are those of `sign` times the mean.

        Where the scores are gone, only the means are left to search.
        """
        if self.drops is not None:
            return _trend(self, self.drops)
        return find_steps(
            [
                None
                if point.failed
                else (self.sign * (point.line.mean or 0.0), (point.line.se or 0.0))
                for point in self.points
            ]
        )

    def sparkline(self, width: int = 30) -> str:
        """The last nights as bars; gaps are dots.

        From foot to top it is `SCALE` standard errors at least, so that noise moves a bar by a step
        or two; more where the means reach further.
        """
        shown = self.points[-width:]
        means = [(point.line.mean or 0.0) for point in shown if not point.failed]
        errors = [(point.line.se or 0.0) for point in shown if not point.failed]
        low, high = min(means, default=0.0), max(means, default=0.0)
        reach = max(high - low, SCALE * fmean(errors or [0.0])) or 1.0
        foot = (low + high - reach) / 2
        return "".join(
            _GAP
            if point.failed
            # Rounded first, so that equal nights in the middle are equal bars.
            else _BARS[min(7, int(8 * round(((point.line.mean or 0.0) - foot) / reach, 6)))]
            for point in shown
        )


def all_series(
    nights: Mapping[str, Sequence[HistoryEntry]], history: History | None = None
) -> list[MetricSeries]:
    """All series of a history, in the order in which they began.

    Args:
        nights: the lines of each night, oldest first.
        history: for the scores, in which drops are looked for.
    """
    every = _grouped(nights)
    if history is not None:
        watched = sum(series.current and series.watched for series in every)
        for series in every:
            series.drops = _drops(series, history, max(1, watched))
    return every


def _grouped(nights: Mapping[str, Sequence[HistoryEntry]]) -> list[MetricSeries]:
    series: dict[tuple[Any, ...], MetricSeries] = {}
    current: dict[tuple[str, str, str], MetricSeries] = {}
    for night, lines in nights.items():
        measured = set()
        for line in lines:
            if line.failed:
                continue
            what = line.model, *line.key
            if line.lacking:
                # A gap in the series that it would have gone on with.
                if what in current:
                    current[what].points.append(Point(night, line))
                    measured.add(what)
                continue
            # Where a few questions were lost, the others still are those of an earlier night.
            key = *what, *line.questions
            if key not in series:
                version = 1 + sum(known[:3] == what for known in series)
                series[key] = MetricSeries(*what, version=version)
            if (old := current.get(what)) is not None:
                old.current = False
            current[what] = series[key]
            series[key].current = True
            series[key].points.append(Point(night, line))
            measured.add(what)
        for what, line in _failures(lines, current, measured):
            current[what].points.append(Point(night, line))
    return list(series.values())


def _drops(series: MetricSeries, history: History, watches: int) -> tuple[FoundDrop, ...] | None:
    """What a series shows when its last night is judged again; None where scores are gone."""
    results = [point.line for point in series.results]
    measure = measure_of(results[-1], history) if len(results) > 1 else None
    if measure is None:
        return None
    last = results[-1]
    # Nights before format 2 have none.
    alarm = last.threshold or threshold(Rules().false_alarms_per_month / watches)
    fingerprints = {series.model: last.fingerprint}
    night = Tonight(last.night, last.date, fingerprints, alarm, last.least)
    check = against_nights(measure, results[-2::-1], history, night, series.model)
    return getattr(check, "drops", None)


def _trend(series: MetricSeries, drops: Sequence[FoundDrop]) -> Trend:
    """Drops as steps between levels, which are plain means of their nights."""
    place = {point.night: number for number, point in enumerate(series.points)}
    there = [number for number, point in enumerate(series.points) if not point.failed]
    cuts: dict[int, float] = {}
    for drop in drops:
        # A drop that more nights have not borne out is no step.
        if drop.ended is None or drop.mended:
            cuts[place[drop.since]] = drop.z
            if drop.ended is not None:
                cuts[place[drop.ended]] = drop.z
    means = {n: series.sign * (series.points[n].line.mean or 0.0) for n in there}
    bounds = [0, *sorted(cuts), len(series.points)]
    levels = [
        float(np.mean([means[n] for n in there if start <= n < end]))
        for start, end in pairwise(bounds)
    ]
    steps = tuple(
        Step(
            night=cut,
            previous=max(n for n in there if n < cut),
            before=before,
            after=after,
            p=float(stats.norm.sf(cuts[cut])),
        )
        for cut, (before, after) in zip(sorted(cuts), pairwise(levels), strict=True)
    )
    standing = bool(drops) and drops[-1].ended is None
    missing = tuple(n for n, point in enumerate(series.points) if point.failed)
    return Trend("stepped" if steps else "steady", steps, steps[-1] if standing else None, missing)


def report_form(series: MetricSeries, label: str, trend: Trend | None = None) -> dict[str, Any]:
    """A series as a report has it under `trend`; its trend may have been worked out already."""
    trend = trend or series.trend()
    return {
        "label": label,
        "task": series.task,
        "model": series.model,
        "metric": series.metric,
        "nights": [
            {
                "date": point.line.date,
                "mean": None if point.failed else point.line.mean,
                "se": None if point.failed else point.line.se,
                "fingerprint": point.line.fingerprint,
                "commit": point.line.commit,
                "failed": point.failed,
                **({} if point.line.step is None else {"step": point.line.step}),
            }
            for point in series.points
        ],
        "steps": [
            {
                "night": step.night,
                "previous": step.previous,
                "before": series.sign * step.before,
                "after": series.sign * step.after,
                "p": step.p,
            }
            for step in trend.steps
        ],
        "first_bad": trend.first_bad.night if trend.first_bad else None,
    }


def _failures(
    lines: Sequence[HistoryEntry],
    current: Mapping[tuple[str, str, str], MetricSeries],
    measured: set[tuple[str, str, str]],
) -> Iterator[tuple[tuple[str, str, str], HistoryEntry]]:
    """The series that a failed run leaves a gap in: those that came from the same run before."""
    failed = {(line.model, line.task): line for line in lines if line.failed}
    for what, series in current.items():
        if what in measured:
            continue
        for entry in series.results[-1].line.entries if series.results else ():
            if (series.model, entry) in failed:
                yield what, failed[series.model, entry]
                break


@dataclass(frozen=True)
class Change:
    """The first bad night, and what lies between it and the last good one.

    Attributes:
        night: the first night of the lower level.
        date: when it began.
        last_good: the last night before it with a result.
        before: level before, in the unit of the metric.
        after: level after.
        p: p-value of the step, corrected.
        commits: range `last_good..night`; None if they are unknown or equal.
        fingerprints: of the checkpoint before and after.
    """

    night: str
    date: str
    last_good: str
    before: float
    after: float
    p: float
    commits: str | None
    fingerprints: tuple[str | None, str | None]

    @property
    def cause(self) -> str:
        """What changed with that night, in words."""
        if self.commits:
            return f"commits {self.commits}"
        old, new = (value[:SHORT] if value else "unknown" for value in self.fingerprints)
        if old == new:
            same = "checkpoint unknown" if old == "unknown" else f"same checkpoint {old}"
            return f"{same}: look at versions, data or device"
        return f"checkpoints {old} -> {new}"


@dataclass(frozen=True)
class SeriesRow:
    """A series at a glance.

    Attributes:
        series: the series.
        trend: its steps.
        first_bad: what is known of its first bad night; None without one.
    """

    series: MetricSeries
    trend: Trend
    first_bad: Change | None

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        series = self.series
        shown = report_form(series, series.task, self.trend)
        for entry, point in zip(shown["nights"], series.points, strict=True):
            entry["night"] = point.night
        return {
            "model": series.model,
            "task": series.task,
            **shown,
            "version": series.version,
            "current": series.current,
            "watched": series.watched,
            "status": self.trend.status,
            "first_bad": asdict(self.first_bad) if self.first_bad else None,
        }


@dataclass(frozen=True)
class Lookback:
    """A whole history.

    Attributes:
        rows: all series.
        nights: id, date, and sentences on failures, regressions and what was not judged, oldest
            first.
        standing: sentences on where a model is worse than the baseline.
        broken: lines of the history that cannot be read.
        pinned: the night that is pinned as a reference.
    """

    rows: tuple[SeriesRow, ...]
    nights: tuple[Mapping[str, Any], ...]
    broken: int
    standing: tuple[str, ...] = ()
    pinned: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "nights": [dict(night) for night in self.nights],
            "series": [row.as_dict() for row in self.rows],
            "standing": list(self.standing),
            "broken_lines": self.broken,
            "pinned": self.pinned,
        }


def look_back(history: History) -> Lookback:
    """Look at all nights of a history.

    Raises:
        UserError: it cannot be read.
    """
    entries = history.read()
    rows = []
    for series in all_series(entries.nights, history):
        trend = series.trend()
        rows.append(SeriesRow(series, trend, _change(series, trend)))
    nights = tuple(_night(name, lines) for name, lines in entries.nights.items())
    stands = [text for row in rows if (text := _stands(row.series))]
    return Lookback(tuple(rows), nights, entries.broken, tuple(stands), entries.pinned)


def _stands(series: MetricSeries) -> str:
    """That a model is worse than its baseline, as of the last night that was judged."""
    judged = [point.line for point in series.results if point.line.baseline is not None]
    last = judged[-1].baseline if judged and series.current else None
    if last is None or not last.worse:
        return ""
    # Format 1 does not say since when.
    start = max(
        (n for n, line in enumerate(judged) if not (line.baseline or last).worse), default=-1
    )
    since = last.since or judged[start + 1].night
    told = [line for line in judged if line.night >= since]
    accepted = ", accepted" if any(line.accepted for line in told) else ""
    points = f"{abs(last.points):.1f} points worse than the baseline"
    name = f"{series.task} {series.metric} of {series.model}"
    return f"{name} is {points} since the night {since}{accepted}"


def _change(series: MetricSeries, trend: Trend) -> Change | None:
    step = trend.first_bad
    if step is None:
        return None
    good, bad = series.points[step.previous], series.points[step.night]
    return Change(
        night=bad.night,
        date=bad.line.date,
        last_good=good.night,
        before=series.sign * step.before,
        after=series.sign * step.after,
        p=step.p,
        commits=_range(good, bad),
        fingerprints=(good.line.fingerprint, bad.line.fingerprint),
    )


def _range(good: Point, bad: Point) -> str | None:
    old, new = good.line.commit, bad.line.commit
    return f"{old[:SHORT]}..{new[:SHORT]}" if old and new and old != new else None


def _night(name: str, lines: Sequence[HistoryEntry]) -> dict[str, Any]:
    return {
        "night": name,
        "date": lines[0].date,
        "failed": [
            f"{line.model} on {line.task}: {line.reason or 'unknown'}"
            for line in lines
            if line.failed
        ]
        + [
            f"{line.model} on {line.task} {line.metric}: {line.lacking}"
            for line in lines
            if line.lacking
        ],
        "regressions": [
            f"{line.task} {line.metric} of {line.model}: {drop.points:+.1f} points against "
            f"{drop.against}"
            for line in lines
            for drop in line.regressions
        ],
        "not_judged": [
            f"{line.task} {line.metric} of {line.model} against {RULE_NAMES.get(rule, rule)}: "
            f"{reason}"
            for line in lines
            for rule, reason in line.not_judged.items()
        ],
    }


def paired_differences(
    nights: Mapping[str, Sequence[HistoryEntry]], history: History, name: str
) -> list[dict[str, Any]]:
    """What is watched as differences of a model and the baseline, in the form of report.json.

    Nights count on which both models have scores for the same questions.

    Args:
        nights: the lines of each night, oldest first.
        history: where the scores of the questions lie.
        name: of the model.
    """
    by_key: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for lines in nights.values():
        sides = {(line.model, *line.key): line for line in lines if line.watched and line.metric}
        for (model, task, metric), line in sides.items():
            other = sides.get((BASELINE, task, metric))
            if model == name and other and (night := paired_night(line, other, history)):
                by_key.setdefault((task, metric), []).append(night)
    return [
        {"task": task, "metric": metric, "nights": kept} for (task, metric), kept in by_key.items()
    ]


def paired_night(
    line: HistoryEntry, other: HistoryEntry, history: History, confidence: float = CONFIDENCE
) -> dict[str, Any] | None:
    """One night's difference in points with its interval; None without two questions."""
    if line.documents is None or line.documents != other.documents:
        return None
    ours, theirs = history.scores(line) or [], history.scores(other) or []
    if len(ours) != len(theirs):
        return None
    difference = paired_difference(ours, theirs, confidence=confidence)
    if difference.n_a < 2 or (estimate := difference.estimate) is None:
        return None
    ends = {"points": estimate.points, "low": estimate.low, "high": estimate.high}
    return {"date": line.date, **ends, "n": difference.n_a}
