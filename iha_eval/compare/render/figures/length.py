"""Accuracy against length, a panel for each variant.

For: tables whose rows have a length.
Not for: accuracy by the depth of the needle (depth.py).
"""

from collections.abc import Iterator
from typing import Any

from iha_eval.compare.render.figures import axes, svg
from iha_eval.compare.render.figures.figure import ROLES, Figure, Group, Panel, Report
from iha_eval.util.numbers import levels, percent, tokens
from iha_eval.util.page_text import one_line

Cell = dict[str, Any]


def draw(report: Report) -> Figure | None:
    """The figure; None if no variant has scores at two lengths or more."""
    groups = tuple(
        Group(one_line(table["label"], 80), panels)
        for number, table in enumerate(report["tables"])
        if (panels := tuple(_panels(f"length-{number}", table)))
    )
    if not groups:
        return None
    caption = (
        "Mean score at each length, with the 95% interval of each model on its own. Whether a "
        "difference is significant does not follow from intervals that overlap: see the tables."
    )
    return Figure("length", "Accuracy against length", caption, groups, key="models")


def _panels(name: str, table: dict[str, Any]) -> Iterator[Panel]:
    by_variant: dict[Any, list[Cell]] = {}
    for row in table["rows"]:
        if row["length"] is not None:
            by_variant.setdefault(row["variant"], []).append(row)
    for number, (variant, cells) in enumerate(by_variant.items()):
        # Rows of all variants together have none.
        title = "all variants" if variant is None else one_line(variant, 40)
        if len({cell["length"] for cell in cells if axes.drawable([cell["iha"]])}) > 1:
            cells.sort(key=lambda cell: cell["length"])
            yield _panel(f"{name}-{number}", title, cells)


def _panel(name: str, title: str, cells: list[Cell]) -> Panel:
    lengths = [cell["length"] for cell in cells]
    with svg.canvas(name, _alt(title, cells)) as canvas:
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


def _alt(title: str, cells: list[Cell]) -> str:
    said = []
    for role, called in zip(("iha", "baseline"), ROLES, strict=True):
        values = ", ".join(
            f"{percent(cell[role])}% ({levels(cell[f'{role}_low'], cell[f'{role}_high'])}) "
            f"at {tokens(cell['length'])}"
            for cell in cells
        )
        said.append(f"{called}: {values}")
    return f"Accuracy against length in tokens, {title}. {'; '.join(said)}."
