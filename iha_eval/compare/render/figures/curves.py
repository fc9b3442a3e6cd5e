"""Curves of both models: accuracy against length, Maj@k and pass@k against k.

For: tables whose rows have a length, and tasks with several answers to a question.
Not for: accuracy by the depth of the needle (depth.py), nor for nights (trend.py).
"""

from collections.abc import Iterator
from typing import Any

from iha_eval.compare.render.figures import axes, svg
from iha_eval.compare.render.figures.figure import ROLES, Figure, Panel, PanelGroup, Report
from iha_eval.util.numbers import levels, percent, tokens
from iha_eval.util.text import one_line


def draw_length(report: Report) -> Figure | None:
    """The figure; None if no variant has scores at two lengths or more."""
    groups = tuple(
        PanelGroup(one_line(table["label"], 80), panels)
        for number, table in enumerate(report["tables"])
        if (panels := tuple(_length_panels(f"length-{number}", table)))
    )
    if not groups:
        return None
    caption = (
        "Mean score at each length, with the 95% interval of each model on its own. Whether a "
        "difference is significant does not follow from intervals that overlap: see the tables."
    )
    return Figure("length", "Accuracy against length", caption, groups, key="models")


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
    return (
        Figure(metric, called, caption, (PanelGroup("", panels),), key="models") if panels else None
    )


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


def _length_panels(name: str, table: dict[str, Any]) -> Iterator[Panel]:
    by_variant: dict[Any, list[dict[str, Any]]] = {}
    for row in table["rows"]:
        if row["length"] is not None:
            by_variant.setdefault(row["variant"], []).append(row)
    for number, (variant, cells) in enumerate(by_variant.items()):
        # Rows of all variants together have none.
        title = "all variants" if variant is None else one_line(variant, 40)
        if len({cell["length"] for cell in cells if axes.drawable([cell["iha"]])}) > 1:
            cells.sort(key=lambda cell: cell["length"])
            yield _length_panel(f"{name}-{number}", title, cells)


def _length_panel(name: str, title: str, cells: list[dict[str, Any]]) -> Panel:
    lengths = [cell["length"] for cell in cells]
    with svg.canvas(name, _length_alt(title, cells)) as canvas:
        drawn: list[float] = []
        # A little apart, so that whiskers do not hide each other.
        for role, nudge in (("iha", 1.025), ("baseline", 1 / 1.025)):
            drawn += axes.series(
                canvas.axes,
                role,
                [length * nudge for length in lengths],
                *([cell[role + end] for cell in cells] for end in ("", "_low", "_high")),
            )
        axes.percent_axis(canvas.axes, drawn)
        axes.steps_axis(canvas.axes, lengths, [tokens(length) for length in lengths], "tokens")
    return Panel(title, canvas.svg)


def _length_alt(title: str, cells: list[dict[str, Any]]) -> str:
    said = []
    for role, called in zip(("iha", "baseline"), ROLES, strict=True):
        values = ", ".join(
            f"{percent(cell[role])}% ({levels(cell[f'{role}_low'], cell[f'{role}_high'])}) "
            f"at {tokens(cell['length'])}"
            for cell in cells
        )
        said.append(f"{called}: {values}")
    return f"Accuracy against length in tokens, {title}. {'; '.join(said)}."
