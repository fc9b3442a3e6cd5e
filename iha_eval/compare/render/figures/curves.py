"""Maj@k and pass@k against k, a panel for each task.

For: tasks with several answers to a question.
Not for: other curves.
"""

from typing import Any

from iha_eval.compare.render.figures import axes, svg
from iha_eval.compare.render.figures.figure import ROLES, Figure, Group, Panel, Report
from iha_eval.util.numbers import percent
from iha_eval.util.page_text import one_line


def draw_majority(report: Report) -> Figure | None:
    """The figure of Maj@k; None without such a curve."""
    caption = (
        "Share of questions whose most frequent answer among k is right, in expectation over all "
        "choices of k of the answers, with 95% intervals."
    )
    return _draw(report, "maj", "Maj@k", caption)


def draw_pass(report: Report) -> Figure | None:
    """The figure of pass@k; None without such a curve."""
    caption = (
        "Share of questions with a right answer among k, in expectation over all choices of k of "
        "the answers, with 95% intervals."
    )
    return _draw(report, "pass", "pass@k", caption)


def _draw(report: Report, metric: str, called: str, caption: str) -> Figure | None:
    panels = tuple(
        _panel(f"{metric}-{number}", called, curve)
        for number, curve in enumerate(report["curves"])
        if curve["metric"] == metric and len(curve["k"]) > 1 and axes.drawable(_all(curve))
    )
    return Figure(metric, called, caption, (Group("", panels),), key="models") if panels else None


def _all(curve: dict[str, Any]) -> list[Any]:
    return [*curve["iha"], *curve["baseline"]]


def _panel(name: str, called: str, curve: dict[str, Any]) -> Panel:
    title = one_line(curve["label"], 48).removesuffix(f": {called}")
    with svg.canvas(name, _alt(called, title, curve)) as canvas:
        drawn: list[float] = []
        for role, nudge in (("iha", 1.02), ("baseline", 1 / 1.02)):
            drawn += axes.series(
                canvas.axes,
                role,
                [k * nudge for k in curve["k"]],
                *(curve[role + end] for end in ("", "_low", "_high")),
            )
        axes.percent_axis(canvas.axes, drawn)
        axes.steps_axis(canvas.axes, curve["k"], [f"{k:g}" for k in curve["k"]], "answers k")
    return Panel(title, canvas.svg)


def _alt(called: str, title: str, curve: dict[str, Any]) -> str:
    said = []
    for role, name in zip(("iha", "baseline"), ROLES, strict=True):
        pairs = zip(curve["k"], curve[role], strict=True)
        said.append(f"{name}: " + ", ".join(f"{percent(y)}% at k = {k:g}" for k, y in pairs))
    return f"{called} against k, {title}. {'; '.join(said)}."
