"""Scores over the nights, with steps and missing nights marked.

For: reports with a history.
Not for: finding the steps.
"""

import math

from markupsafe import Markup
from matplotlib.axes import Axes

from iha_eval.compare.render.figures import axes, svg, theme
from iha_eval.compare.render.figures.axes import numbers
from iha_eval.compare.render.figures.figure import Figure, Panel, PanelGroup
from iha_eval.compare.schema import Report, TrendNight, TrendSeries, TrendStep
from iha_eval.util.numbers import p_value, percent, there
from iha_eval.util.text import one_line

_WIDTH = 532.0


def draw(report: Report) -> Figure | None:
    """The figure; None without a series that has a result."""
    series = [s for s in report["trend"] or () if any(there(n["mean"]) for n in s["nights"])]
    if not series:
        return None
    caption = (
        "Mean score of each night with its 95% interval. A dashed line marks the first night of a "
        "new level, thin lines the levels before and after it; a cross at the foot marks a night "
        "without a result."
    )
    panels = tuple(_panel(f"trend-{number}", one) for number, one in enumerate(series))
    return Figure("trend", "Trend over nights", caption, (PanelGroup("", panels),))


def _panel(name: str, one: TrendSeries) -> Panel:
    title = one_line(f"{one['label']}, {one['metric']}".replace("_", " "), 56)
    alt = _alt(title, one)
    wide = _drawn(name, alt, one, _WIDTH, 5)
    return Panel(title, wide, _drawn(f"{name}-narrow", alt, one, theme.WIDTH, 3))


def _drawn(name: str, alt: str, one: TrendSeries, width: float, ticks: int) -> Markup:
    nights, steps = one["nights"], one["steps"]
    with svg.canvas(name, alt, width) as canvas:
        drawn = canvas.axes
        _plot(drawn, nights)
        for step in steps:
            drawn.axvline(step["night"] - 0.5, color=theme.INK, linestyle="--", linewidth=1.1)
        _levels(drawn, steps, len(nights))
        _dates(drawn, [_day(night) for night in nights], ticks)
        for step in steps:
            _label(drawn, step)
    return canvas.svg


def _plot(drawn: Axes, nights: list[TrendNight]) -> None:
    there_are = [number for number, night in enumerate(nights) if there(night["mean"])]
    means = numbers([nights[number]["mean"] for number in there_are])
    errors = [_error(nights[number]) for number in there_are]
    drawn.errorbar(
        there_are,
        [100 * mean for mean in means],
        yerr=[196 * error for error in errors],
        color=theme.IHA,
        marker="o",
        linewidth=1.2,
        elinewidth=1.0,
        markersize=4,
    )
    ends = [
        100 * mean + side * 196 * error
        for mean, error in zip(means, errors, strict=True)
        for side in (-1, 1)
    ]
    axes.percent_axis(drawn, ends)
    missing = [number for number, night in enumerate(nights) if not there(night["mean"])]
    foot = drawn.get_xaxis_transform()
    drawn.plot(missing, [0.04] * len(missing), "x", color=theme.BASELINE, transform=foot)


def _day(night: TrendNight) -> str:
    """The date without the time of day."""
    return one_line(str(night["date"])[:10])


def _error(night: TrendNight) -> float:
    return float(night["se"]) if there(night["se"]) else 0.0


def _levels(drawn: Axes, steps: list[TrendStep], nights: int) -> None:
    """The level of each stretch between steps."""
    edges = [-0.5, *(step["night"] - 0.5 for step in steps), nights - 0.5]
    heights = [step["before"] for step in steps[:1]] + [step["after"] for step in steps]
    for left, right, height in zip(edges, edges[1:], heights, strict=False):
        level = 100 * height if there(height) else math.nan
        drawn.plot([left, right], [level, level], color=theme.MUTED, linewidth=1.0)


def _label(drawn: Axes, step: TrendStep) -> None:
    text = f"{percent(step['before'])} → {percent(step['after'])}"
    left = step["night"] > sum(drawn.get_xlim()) / 2
    drawn.annotate(
        text,
        (step["night"] - 0.5, 1.0),
        xycoords=drawn.get_xaxis_transform(),
        xytext=(-4 if left else 4, -4),
        textcoords="offset points",
        ha="right" if left else "left",
        va="top",
        color=theme.INK,
    )


def _dates(drawn: Axes, dates: list[str], ticks: int) -> None:
    drawn.set_xlim(-0.6, len(dates) - 0.4)
    last = len(dates) - 1
    places = sorted({round(last * part / (ticks - 1)) for part in range(ticks)})
    drawn.set_xticks(places, [dates[place] for place in places])


def _alt(title: str, one: TrendSeries) -> str:
    nights = one["nights"]
    missing = sum(not there(night["mean"]) for night in nights)
    shown = [night for night in nights if there(night["mean"])]
    said = [
        f"Score over {len(nights)} nights, {title}",
        f"first {percent(shown[0]['mean'])}% on {_day(shown[0])}",
        f"last {percent(shown[-1]['mean'])}% on {_day(shown[-1])}",
        f"{missing} without a result",
    ]
    said += [
        f"step on {_day(nights[step['night']])} from {percent(step['before'])}% "
        f"to {percent(step['after'])}%, p {p_value(step['p'])}"
        for step in one["steps"]
    ]
    return "; ".join(said) + "."
