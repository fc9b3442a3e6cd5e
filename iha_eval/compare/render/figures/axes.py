"""Axes and marks that several figures share.

For: an axis of scores in percent, the two models' marks, which differ in shape and line as well as
in color. Not for: a figure of its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from iha_eval.compare.render.figures import theme
from iha_eval.util.numbers import there

Numbers = Sequence[float | None]


@dataclass(frozen=True)
class Mark:
    """How a model's series looks."""

    color: str
    line: str
    marker: str
    face: str


#: Filled circles on a full line; hollow squares on a dashed one.
MARKS = {
    "iha": Mark(theme.IHA, "-", "o", theme.IHA),
    "baseline": Mark(theme.BASELINE, "--", "s", theme.SURFACE),
}


def numbers(values: Numbers, scale: float = 1.0) -> list[float]:
    """The values times `scale`; NaN, which draws nothing, for one that does not exist."""
    return [value * scale if there(value) and value is not None else math.nan for value in values]


def percent_axis(axes: Axes, values: Sequence[float]) -> None:
    """A vertical axis in percent that fits the values and stays within 0 and 100."""
    real = [value for value in values if math.isfinite(value)]
    low, high = min(real), max(real)
    room = max(2.0, 0.08 * (high - low))
    # A narrow band of noise is not blown up to look like a finding.
    room = max(room, (10 - (high - low)) / 2)
    axes.set_ylim(max(-1.5, low - room), min(101.5, high + room))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}%"))
    axes.grid(axis="x", visible=False)


def from_zero(axes: Axes, top: float) -> None:
    """A vertical axis in percent from 0, which panels side by side share.

    Args:
        axes: Where.
        top: The largest number of all panels, in percent.
    """
    percent_axis(axes, [0.0, top])
    axes.set_ylim(-0.015 * top, min(101.5, max(10.0, 1.06 * top)))


def steps_axis(axes: Axes, values: Sequence[float], labels: Sequence[str], name: str) -> None:
    """A horizontal logarithmic axis with a tick at each of the given values."""
    if min(values) > 0:
        axes.set_xscale("log", base=2)
    room = 1.25 if min(values) > 0 else 1.0
    axes.set_xlim(min(values) / room, max(values) * room)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(values, labels)
    axes.set_xlabel(name)


def series(
    axes: Axes, role: str, x: Sequence[float], middle: Numbers, low: Numbers, high: Numbers
) -> list[float]:
    """One model's points with whiskers, in percent of scores from 0 to 1.

    Args:
        axes: Where to.
        role: `iha` or `baseline`.
        x: Places of the points.
        middle: Scores.
        low: Lower ends of their intervals.
        high: Upper ends.

    Returns:
        All numbers drawn, NaN among them.
    """
    mark = MARKS[role]
    y, below, above = (numbers(values, 100) for values in (middle, low, high))
    whiskers = [
        [a - b if math.isfinite(b) else 0.0 for a, b in zip(y, below, strict=True)],
        [b - a if math.isfinite(b) else 0.0 for a, b in zip(y, above, strict=True)],
    ]
    axes.errorbar(
        x,
        y,
        yerr=[[max(0.0, w) if math.isfinite(w) else 0.0 for w in side] for side in whiskers],
        color=mark.color,
        linestyle=mark.line,
        marker=mark.marker,
        markerfacecolor=mark.face,
        markeredgecolor=mark.color,
        markeredgewidth=1.3,
        elinewidth=1.2,
        capsize=2.5,
        clip_on=False,
        zorder=3,
    )
    return [*y, *below, *above]


def drawable(values: Sequence[Any]) -> bool:
    """Whether there is any number among them."""
    return any(there(value) for value in values)
