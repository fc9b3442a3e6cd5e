"""The history as series: one model on one metric of one task, with the same questions each night.

For: what can be looked at over time. Other questions, prompts or settings make another series;
a night whose run failed stands in its series as a gap.
Not for: reading the history (`history.py`), nor for finding step changes (iha_eval.statistics).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from iha_eval.nightly.history import Line
from iha_eval.statistics import Trend, find_steps

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
    line: Line

    @property
    def failed(self) -> bool:
        """Whether there is no result, or one that counts as missing."""
        gone = self.line.get("failed") or self.line.get("lacking")
        return bool(gone) or self.line.get("mean") is None


@dataclass
class Series:
    """One model on one metric of one task.

    Attributes:
        model: `iha` or `baseline`.
        task: name of the task or group.
        metric: name of the metric.
        points: oldest first; the first is a result.
        version: 1 for the first questions that this metric was ever measured on, 2 for the next.
        current: whether it is what was measured last.
    """

    model: str
    task: str
    metric: str
    version: int
    points: list[Point] = field(default_factory=list)
    current: bool = True

    @property
    def results(self) -> list[Point]:
        """The nights that have one."""
        return [point for point in self.points if not point.failed]

    @property
    def watched(self) -> bool:
        """Whether the rules looked at it, the last time that it was measured."""
        return bool(self.results and self.results[-1].line.get("watched"))

    @property
    def sign(self) -> int:
        """1 where more is better, else -1."""
        return -1 if self.results and self.results[-1].line.get("higher_is_better") is False else 1

    def trend(self) -> Trend:
        """Its step changes; indices count all points, levels are those of `sign` times the mean."""
        return find_steps(
            [
                None
                if point.failed
                else (self.sign * float(point.line["mean"]), float(point.line["se"]))
                for point in self.points
            ]
        )

    def sparkline(self, width: int = 30) -> str:
        """The last nights as bars between the least and the greatest mean; gaps are dots."""
        shown = self.points[-width:]
        means = [float(point.line["mean"]) for point in shown if not point.failed]
        low, high = min(means, default=0.0), max(means, default=0.0)
        reach = high - low
        return "".join(
            _GAP
            if point.failed
            else _BARS[round((float(point.line["mean"]) - low) / reach * 7) if reach else 3]
            for point in shown
        )


def all_series(nights: Mapping[str, Sequence[Line]]) -> list[Series]:
    """All series of a history, in the order in which they began.

    Args:
        nights: the lines of each night, oldest first.
    """
    found: dict[tuple[Any, ...], Series] = {}
    current: dict[tuple[str, str, str], Series] = {}
    for night, lines in nights.items():
        measured = set()
        for line in lines:
            if line.get("failed"):
                continue
            what = line["model"], line["task"], line["metric"]
            if line.get("lacking"):
                # A gap in the series that it would have gone on with.
                if what in current:
                    current[what].points.append(Point(night, line))
                    measured.add(what)
                continue
            # Where a few questions were lost, the others still are those of an earlier night.
            documents = line.get("part_of") or line.get("documents")
            key = *what, documents, line.get("settings")
            if key not in found:
                version = 1 + sum(known[:3] == what for known in found)
                found[key] = Series(*what, version=version)
            if (old := current.get(what)) is not None:
                old.current = False
            current[what] = found[key]
            found[key].current = True
            found[key].points.append(Point(night, line))
            measured.add(what)
        for what, line in _failures(lines, current, measured):
            current[what].points.append(Point(night, line))
    return list(found.values())


def report_form(series: Series, label: str) -> dict[str, Any]:
    """A series as a report has it under `trend`."""
    trend = series.trend()
    return {
        "label": label,
        "metric": series.metric,
        "nights": [
            {
                "date": point.line["date"],
                "mean": None if point.failed else point.line["mean"],
                "se": None if point.failed else point.line["se"],
                "fingerprint": point.line.get("fingerprint"),
                "commit": point.line.get("commit"),
                "failed": point.failed,
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
    lines: Sequence[Line],
    current: Mapping[tuple[str, str, str], Series],
    measured: set[tuple[str, str, str]],
) -> Iterator[tuple[tuple[str, str, str], Line]]:
    """The series that a failed run leaves a gap in: those that came from the same run before."""
    failed = {(line["model"], line["task"]): line for line in lines if line.get("failed")}
    for what, series in current.items():
        if what in measured:
            continue
        for entry in series.results[-1].line.get("entries", ()) if series.results else ():
            if (series.model, entry) in failed:
                yield what, failed[series.model, entry]
                break
