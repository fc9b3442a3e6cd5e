"""Scores over nights or along training, both models in one chart, and their paired difference.

For: reports with a history; `draw_steps` for those of `iha-eval watch`.
Not for: finding the steps.
"""

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from iha_eval.compare.render.figures import axes, svg, theme
from iha_eval.compare.render.figures.axes import MARKS
from iha_eval.compare.render.figures.figure import ROLES, Figure, Panel, PanelGroup
from iha_eval.compare.schema import (
    DifferenceNight,
    Report,
    TrendDifference,
    TrendNight,
    TrendSeries,
    TrendStep,
    WatchReport,
)
from iha_eval.util.numbers import interval, p_value, percent, points, there
from iha_eval.util.text import one_line

_WIDTH = 532.0
_SIDES = dict(zip(("iha", "baseline"), ROLES, strict=True))


def draw(report: Report) -> Figure | None:
    """The figure; None without a series that has a result."""
    series = [s for s in report["trend"] or () if any(there(n["mean"]) for n in s["nights"])]
    if not series:
        return None
    # Series of earlier reports do not say whose they are: each has a chart of its own.
    together: dict[Any, list[TrendSeries]] = {}
    for number, curve in enumerate(series):
        key = (curve["task"], curve["metric"]) if "task" in curve and "model" in curve else number
        together.setdefault(key, []).append(curve)
    differences = {
        (curve["task"], curve["metric"]): curve for curve in report.get("trend_differences") or ()
    }
    panels: list[Panel] = []
    for number, (key, pair) in enumerate(together.items()):
        panels.append(_panel(f"trend-{number}", pair))
        if key in differences:
            panels.append(_difference_panel(f"trend-{number}-difference", differences[key]))
    caption = (
        "Mean score of each night with its 95% interval; the axes do not start at 0. A dashed line "
        "marks the first night of a new level, thin lines the levels before and after it; a cross "
        "at the foot marks a night without a result. Differences are paired by question."
    )
    group = PanelGroup("", tuple(panels))
    return Figure("trend", "Trend over nights", caption, (group,), key="models")


def draw_steps(report: WatchReport) -> list[Figure]:
    """The figures of two training runs: scores, their difference, and what IHA's tensors became."""
    curves: list[PanelGroup] = []
    for number, difference in enumerate(report["trend_differences"]):
        key = difference["task"], difference["metric"]
        pair = [s for s in report["trend"] if (s.get("task"), s["metric"]) == key]
        panels = [_panel(f"steps-{number}", pair)]
        if difference["nights"]:
            panels.append(_difference_panel(f"steps-{number}-difference", difference))
        curves.append(PanelGroup("", tuple(panels)))
    caption = (
        "Mean score at each step with its 95% interval; the axes do not start at 0; a cross at the "
        "foot marks a step without a result. Differences are paired by question: the dark band is "
        "the 95% interval of one look, the light one that which allows for looking at every step."
    )
    figures = (
        [Figure("steps", "Along training", caption, tuple(curves), "models")] if curves else []
    )
    if report["mixing"]:
        group = PanelGroup("", (_mixing_panel(report),))
        caption = (
            "Distance from the identity, relative to the identity's size, mean over the layers of "
            "the IHA run: 0 is where every head keeps to itself, as in an exact conversion."
        )
        figures.append(Figure("mixing", "Alpha and collapse", caption, (group,)))
    return figures


#: How the four tensors of a layer are told apart: without color, by line and mark.
_TENSORS = {
    "alpha_q": ("-", "o"),
    "alpha_k": ("--", "s"),
    "alpha_v": (":", "^"),
    "collapse": ("-.", "D"),
}


def _mixing_panel(report: WatchReport) -> Panel:
    first, last = report["mixing"][0], report["mixing"][-1]
    ends = ", ".join(f"{name} {first[name]:.2f} to {last[name]:.2f}" for name in _TENSORS)  # type: ignore[literal-required]
    alt = (
        f"Distance from the identity at {len(report['mixing'])} steps, from step {first['step']:,} "
        f"to step {last['step']:,}: {ends}."
    )

    def drawn(width: float, ticks: int) -> Markup:
        with svg.canvas("mixing" + ("" if width == _WIDTH else "-narrow"), alt, width) as canvas:
            steps = [night["step"] for night in report["mixing"]]
            for name, (line, marker) in _TENSORS.items():
                values = [night[name] for night in report["mixing"]]  # type: ignore[literal-required]
                color = theme.BASELINE if name == "collapse" else theme.IHA
                canvas.axes.plot(steps, values, line, marker=marker, color=color, label=name)
            canvas.axes.set_ylim(bottom=0)
            canvas.axes.grid(axis="x", visible=False)
            canvas.axes.legend(frameon=False, ncols=2, fontsize=10, handlelength=3.2)
            _step_axis(canvas.axes, steps, ticks)
        return canvas.svg

    return Panel("Distance from the identity", drawn(_WIDTH, 5), drawn(theme.WIDTH, 3))


def _step_axis(drawn: Axes, steps: Sequence[float], ticks: int) -> None:
    """A horizontal axis of training steps."""
    room = max(1.0, 0.04 * (max(steps) - min(steps)))
    drawn.set_xlim(min(steps) - room, max(steps) + room)
    drawn.xaxis.set_major_locator(MaxNLocator(nbins=ticks, integer=True))
    drawn.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    drawn.set_xlabel("training step")


def _panel(name: str, pair: list[TrendSeries]) -> Panel:
    first = pair[0]
    whose = first["label"] if len(pair) == 1 else first.get("task", first["label"])
    title = one_line(f"{whose}, {first['metric']}".replace("_", " "), 56)
    alt = " ".join(_alt(title, series) for series in pair)
    wide = _drawn(name, alt, pair, _WIDTH, 5)
    return Panel(title, wide, _drawn(f"{name}-narrow", alt, pair, theme.WIDTH, 3))


def _drawn(name: str, alt: str, pair: list[TrendSeries], width: float, ticks: int) -> Markup:
    every = [night for series in pair for night in series["nights"]]
    dates = sorted({night["date"] for night in every})
    steps = [night["step"] for night in every if "step" in night]
    with svg.canvas(name, alt, width) as canvas:
        drawn = canvas.axes
        ends: list[float] = []
        for series in pair:
            side = series.get("model", "iha")
            places = [night.get("step", dates.index(night["date"])) for night in series["nights"]]
            ends += _plot(drawn, side, places, series["nights"])
            _levels(drawn, places, series["steps"])
        axes.percent_axis(drawn, ends)
        if steps:
            _step_axis(drawn, steps, ticks)
        else:
            _dates(drawn, [_day(date) for date in dates], ticks)
        for height, series in enumerate(pair):
            for step in series["steps"]:
                place = dates.index(series["nights"][step["night"]]["date"])
                _label(drawn, series.get("model", "iha"), place, step, height)
    return canvas.svg


def _plot(drawn: Axes, side: str, places: list[int], nights: list[TrendNight]) -> list[float]:
    """One model's nights; returns all numbers drawn."""
    mark = MARKS["baseline" if side == "baseline" else "iha"]
    results = [
        (place, 100 * night["mean"], 196 * (night["se"] or 0.0))
        for place, night in zip(places, nights, strict=True)
        if there(night["mean"])
    ]
    drawn.errorbar(
        [place for place, _, _ in results],
        [mean for _, mean, _ in results],
        yerr=[reach for _, _, reach in results],
        color=mark.color,
        linestyle=mark.line,
        marker=mark.marker,
        markerfacecolor=mark.face,
        linewidth=1.2,
        elinewidth=1.0,
        markersize=4,
    )
    missing = [
        place for place, night in zip(places, nights, strict=True) if not there(night["mean"])
    ]
    foot = drawn.get_xaxis_transform()
    drawn.plot(missing, [0.04] * len(missing), "x", color=mark.color, transform=foot)
    return [mean + way * reach for _, mean, reach in results for way in (-1, 1)]


def _day(date: object) -> str:
    """The date without the time of day."""
    return one_line(str(date)[:10])


def _when(night: TrendNight | DifferenceNight) -> str:
    return f"at step {night['step']:,}" if "step" in night else f"on {_day(night['date'])}"


def _levels(drawn: Axes, places: list[int], steps: list[TrendStep]) -> None:
    """The level of each stretch between steps, and where it begins."""
    if not steps:
        return
    edges = [places[0] - 0.5, *(places[step["night"]] - 0.5 for step in steps), places[-1] + 0.5]
    heights = [step["before"] for step in steps[:1]] + [step["after"] for step in steps]
    for left, right, height in zip(edges, edges[1:], heights, strict=False):
        level = 100 * height if there(height) else math.nan
        drawn.plot([left, right], [level, level], color=theme.MUTED, linewidth=1.0)
    for edge in edges[1:-1]:
        drawn.axvline(edge, color=theme.INK, linestyle="--", linewidth=1.1)


def _label(drawn: Axes, side: str, place: int, step: TrendStep, height: int) -> None:
    text = f"{percent(step['before'])} → {percent(step['after'])}"
    left = place > sum(drawn.get_xlim()) / 2
    drawn.annotate(
        text,
        (place - 0.5, 1.0),
        xycoords=drawn.get_xaxis_transform(),
        xytext=(-4 if left else 4, -4 - 13 * height),
        textcoords="offset points",
        ha="right" if left else "left",
        va="top",
        color=MARKS["baseline" if side == "baseline" else "iha"].color,
    )


def _dates(drawn: Axes, dates: Sequence[str], ticks: int) -> None:
    drawn.set_xlim(-0.6, len(dates) - 0.4)
    last = len(dates) - 1
    places = sorted({round(last * part / (ticks - 1)) for part in range(ticks)})
    drawn.set_xticks(places, [dates[place] for place in places])


def _alt(title: str, series: TrendSeries) -> str:
    nights = series["nights"]
    missing = sum(not there(night["mean"]) for night in nights)
    shown = [night for night in nights if there(night["mean"])]
    model = f"{_SIDES.get(series['model'], series['model'])}, " if "model" in series else ""
    parts = [
        f"Score over {len(nights)} {_points(nights)}, {model}{title}",
        f"first {percent(shown[0]['mean'])}% {_when(shown[0])}",
        f"last {percent(shown[-1]['mean'])}% {_when(shown[-1])}",
        f"{missing} without a result",
    ]
    parts += [
        f"step on {_day(nights[step['night']]['date'])} from {percent(step['before'])}% "
        f"to {percent(step['after'])}%, p {p_value(step['p'])}"
        for step in series["steps"]
    ]
    return "; ".join(parts) + "."


def _points(nights: Sequence[TrendNight | DifferenceNight]) -> str:
    return "steps" if "step" in nights[0] else "nights"


def _difference_panel(name: str, difference: TrendDifference) -> Panel:
    first, second = ROLES
    title = f"{first} less {second}, points"
    nights = difference["nights"]
    last = nights[-1]
    alt = (
        f"Paired difference over {len(nights)} {_points(nights)}, "
        f"{one_line(difference['task'], 56)}, "
        f"{one_line(difference['metric'], 40)}; last {points(last['points'])} "
        f"({interval(last['low'], last['high'])}) {_when(last)}."
    )
    wide = _difference(name, alt, difference, _WIDTH, 5)
    return Panel(title, wide, _difference(f"{name}-narrow", alt, difference, theme.WIDTH, 3))


def _difference(
    name: str, alt: str, difference: TrendDifference, width: float, ticks: int
) -> Markup:
    nights = difference["nights"]
    last = nights[-1]
    with svg.canvas(name, alt, width) as canvas:
        drawn = canvas.axes
        places = [night.get("step", number) for number, night in enumerate(nights)]
        drawn.axhline(0, color=theme.MUTED, linewidth=1.0)
        bands = [([night["low"] for night in nights], [night["high"] for night in nights])]
        if "looks_low" in last:
            bands.append(
                (
                    [n.get("looks_low", math.nan) for n in nights],
                    [n.get("looks_high", math.nan) for n in nights],
                )
            )
        for low, high in bands:
            drawn.fill_between(places, low, high, color=theme.IHA, alpha=0.18, linewidth=0)
            if len(nights) == 1:
                # A band of one place has no width.
                drawn.vlines(places, low, high, color=theme.IHA, alpha=0.3, linewidth=5)
        drawn.plot(places, [night["points"] for night in nights], "o-", color=theme.IHA)
        drawn.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
        drawn.yaxis.set_major_formatter(
            FuncFormatter(lambda value, _: points(value, 0 if value % 1 == 0 else 1))
        )
        drawn.grid(axis="x", visible=False)
        if "step" in last:
            _step_axis(drawn, places, ticks)
        else:
            _dates(drawn, [_day(night["date"]) for night in nights], ticks)
    return canvas.svg
