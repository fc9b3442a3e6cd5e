"""Accuracy by depth of the needle and length: both models and their difference.

For: tasks that hide a needle at a known depth.
Not for: drawing the grids (heat.py).
"""

from typing import Any

from iha_eval.compare.render.figures import theme
from iha_eval.compare.render.figures.axes import drawable
from iha_eval.compare.render.figures.figure import ROLES, Figure, Group, Panel, Report
from iha_eval.compare.render.figures.heat import Grid, heat_map
from iha_eval.util.numbers import count, percent, points, there, tokens
from iha_eval.util.page_text import one_line

#: Points that are at least the strongest color of a difference, so that noise stays faint.
_LEAST_REACH = 20.0


def draw(report: Report) -> Figure | None:
    """The figure; None without grids that have numbers in them."""
    grids = [
        grid for grid in report["depth"] if drawable(_flat(grid["iha"]) + _flat(grid["baseline"]))
    ]
    if not grids:
        return None
    groups = tuple(
        Group(one_line(grid["metric"], 40).replace("_", " "), _panels(number, grid))
        for number, grid in enumerate(grids)
    )
    sentences = (
        "Mean score in percent by depth of the needle in the prompt (0% is its start) and length, "
        "and the difference in points.",
        _documents(grids),
        "Single cells rest on few questions and are not tested one by one.",
    )
    caption = " ".join(sentence for sentence in sentences if sentence)
    return Figure("depth", "Accuracy by needle depth and length", caption, groups)


def _documents(grids: list[dict[str, Any]]) -> str:
    sizes = sorted({n for grid in grids for n in _flat(grid["n"]) if there(n) and n})
    if not sizes:
        return ""
    if sizes[0] == sizes[-1]:
        return f"Documents in each cell: {count(sizes[0])}."
    return f"Documents in a cell: {count(sizes[0])} to {count(sizes[-1])}."


def _panels(number: int, grid: dict[str, Any]) -> tuple[Panel, ...]:
    first, second = ROLES
    rows = [f"{depth:g}%" for depth in grid["depths"]]
    columns = [tokens(length) for length in grid["lengths"]]
    gap = _gap(grid["iha"], grid["baseline"])
    reach = max([_LEAST_REACH, *(abs(v) for v in _flat(gap) if v is not None)])
    metric = one_line(grid["metric"], 40)
    titles = (first, second, f"{first} less {second}, points")
    alts = [
        f"Heat map of accuracy by needle depth and length, {metric}, {title}. "
        + _words(cells, rows, columns, difference=cells is gap)
        for title, cells in zip(titles, (grid["iha"], grid["baseline"], gap), strict=True)
    ]
    svgs = [
        heat_map(f"depth-{number}-iha", alts[0], grid["iha"], rows, columns),
        heat_map(
            f"depth-{number}-baseline",
            alts[1],
            grid["baseline"],
            rows,
            columns,
            color=theme.BASELINE,
        ),
        heat_map(f"depth-{number}-gap", alts[2], gap, rows, columns, difference=reach),
    ]
    return tuple(Panel(title, made) for title, made in zip(titles, svgs, strict=True))


def _gap(first: Grid, second: Grid) -> list[list[float | None]]:
    return [
        [None if a is None or b is None else 100 * (a - b) for a, b in zip(x, y, strict=True)]
        for x, y in zip(first, second, strict=True)
    ]


def _words(grid: Grid, rows: list[str], columns: list[str], difference: bool = False) -> str:
    """The grid in words, a sentence for each length."""
    shown = points if difference else percent
    said = []
    for x, column in enumerate(columns):
        cells = ", ".join(
            f"{shown(row[x], 0)} at {depth}" for row, depth in zip(grid, rows, strict=True)
        )
        said.append(f"{column}: {cells}.")
    return " ".join(said)


def _flat(grid: Any) -> list[Any]:
    return [value for row in grid for value in row]
