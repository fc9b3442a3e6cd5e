"""All nights at a glance, as plain data: what `iha-eval history` shows.

For: each series with its steps, its first bad night and what changed there; nights with failures.
Not for: laying it out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from iha_eval.nightly.history import Entries, Line
from iha_eval.nightly.missing import AGAINST
from iha_eval.nightly.standing import standing
from iha_eval.nightly.trends import Point, Series, all_series, report_form
from iha_eval.statistics import Trend

# Characters of a fingerprint or commit that tell it from others.
SHORT = 12


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
class Row:
    """A series at a glance.

    Attributes:
        series: the series.
        trend: its steps.
        first_bad: what is known of its first bad night; None without one.
    """

    series: Series
    trend: Trend
    first_bad: Change | None

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        one = self.series
        shown = report_form(one, one.task)
        for entry, point in zip(shown["nights"], one.points, strict=True):
            entry["night"] = point.night
        return {
            "model": one.model,
            "task": one.task,
            **shown,
            "version": one.version,
            "current": one.current,
            "watched": one.watched,
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
        standing: sentences on where the IHA model is worse than the baseline.
        broken: lines of the history that cannot be read.
    """

    rows: tuple[Row, ...]
    nights: tuple[Mapping[str, Any], ...]
    broken: int
    standing: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "nights": [dict(night) for night in self.nights],
            "series": [row.as_dict() for row in self.rows],
            "standing": list(self.standing),
            "broken_lines": self.broken,
        }


def look_back(entries: Entries) -> Lookback:
    """Look at all nights of a history."""
    rows = []
    for series in all_series(entries.nights):
        trend = series.trend()
        rows.append(Row(series, trend, _change(series, trend)))
    nights = tuple(_night(name, lines) for name, lines in entries.nights.items())
    stands = (f"{' '.join(key)} is {one.sentence}" for key, one in standing(entries.nights).items())
    return Lookback(tuple(rows), nights, entries.broken, tuple(stands))


def _change(series: Series, trend: Trend) -> Change | None:
    step = trend.first_bad
    if step is None:
        return None
    good, bad = series.points[step.previous], series.points[step.night]
    return Change(
        night=bad.night,
        date=bad.line["date"],
        last_good=good.night,
        before=series.sign * step.before,
        after=series.sign * step.after,
        p=step.p,
        commits=_range(good, bad),
        fingerprints=(good.line.get("fingerprint"), bad.line.get("fingerprint")),
    )


def _range(good: Point, bad: Point) -> str | None:
    old, new = good.line.get("commit"), bad.line.get("commit")
    return f"{old[:SHORT]}..{new[:SHORT]}" if old and new and old != new else None


def _night(name: str, lines: Sequence[Line]) -> dict[str, Any]:
    return {
        "night": name,
        "date": lines[0]["date"],
        "failed": [
            f"{line['model']} on {line['task']}: {line.get('reason') or 'unknown'}"
            for line in lines
            if line.get("failed")
        ]
        + [
            f"{line['model']} on {line['task']} {line['metric']}: {line['lacking']}"
            for line in lines
            if line.get("lacking")
        ],
        "regressions": [
            f"{line['task']} {line['metric']}: {one['points']:+.1f} points against {one['against']}"
            for line in lines
            for one in line.get("regressions", ())
        ],
        "not_judged": [
            f"{line['task']} {line['metric']} against {AGAINST[rule]}: {reason}"
            for line in lines
            for rule, reason in line.get("not_judged", {}).items()
        ],
    }
