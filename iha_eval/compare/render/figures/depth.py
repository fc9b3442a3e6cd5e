"""Accuracy by depth of the needle, or by task, and length: both models and their difference.

For: tasks that hide a needle at a known depth, and RULER's tasks side by side.
Not for: matrices of weights, which have too many cells for numbers (maps.py).

A cell is as opaque as its value is large, over the page's own background, so that one drawing is
right in light and dark.
"""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.patches import Rectangle

from iha_eval.compare.analysis.report_rows import SUITE_NAME
from iha_eval.compare.inputs.pairing import SIDES, Side
from iha_eval.compare.render.figures import svg, theme
from iha_eval.compare.render.figures.axes import drawable
from iha_eval.compare.render.figures.figure import ROLES, Figure, Panel, PanelGroup
from iha_eval.compare.schema import DepthMap, Report, ReportRow
from iha_eval.util.numbers import MISSING, count, percent, points, there, tokens
from iha_eval.util.text import one_line

Grid = Sequence[Sequence[float | None]]

_CELL = (54.0, 21.0)
_LEFT, _BELOW = 66.0, 38.0
_LETTER = 6.5

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
        PanelGroup(one_line(grid["metric"], 40).replace("_", " "), _depth_panels(number, grid))
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


def draw_tasks(report: Report) -> Figure | None:
    """RULER's tasks by length; None where there are not two of them."""
    groups: list[PanelGroup] = []
    for table in report["tables"]:
        cells = {
            (row["variant"], row["length"]): row
            for row in table["rows"]
            if table["benchmark"] == SUITE_NAME and row["variant"] and row["length"]
        }
        names = list(dict.fromkeys(name for name, _ in cells))
        lengths = sorted({length for _, length in cells if length})
        grids = [
            [[_score(cells.get((name, length)), side) for length in lengths] for name in names]
            for side in SIDES
        ]
        if len(names) > 1 and drawable(_flat(grids[0]) + _flat(grids[1])):
            panels = _panels(
                f"tasks-{len(groups)}",
                "task",
                str(table["metric"]),
                (grids[0], grids[1]),
                [str(name) for name in names],
                [tokens(length) for length in lengths],
            )
            groups.append(PanelGroup(one_line(str(table["metric_label"]), 40), panels))
    if not groups:
        return None
    caption = (
        "Mean score in percent by task and length, and the difference in points; the tables have "
        "the intervals."
    )
    return Figure("tasks", "RULER's tasks by length", caption, tuple(groups))


def _score(row: ReportRow | None, side: Side) -> float | None:
    return row[side] if row is not None else None


def _documents(grids: list[DepthMap]) -> str:
    sizes = sorted({n for grid in grids for n in _flat(grid["n"]) if there(n) and n})
    if not sizes:
        return ""
    if sizes[0] == sizes[-1]:
        return f"Documents in each cell: {count(sizes[0])}."
    return f"Documents in a cell: {count(sizes[0])} to {count(sizes[-1])}."


def _depth_panels(number: int, grid: DepthMap) -> tuple[Panel, ...]:
    return _panels(
        f"depth-{number}",
        "depth",
        grid["metric"],
        (grid["iha"], grid["baseline"]),
        [f"{depth:g}%" for depth in grid["depths"]],
        [tokens(length) for length in grid["lengths"]],
    )


def _panels(
    name: str,
    what: str,
    metric: str,
    grids: tuple[Grid, Grid],
    rows: list[str],
    columns: list[str],
) -> tuple[Panel, ...]:
    """Both models' maps and their difference.

    Args:
        name: Begins the names of the drawings.
        what: What rows are: `depth` or `task`.
        metric: The metric's name.
        grids: Scores of both models, a row for each of `rows`.
        rows: Labels, top to bottom.
        columns: Labels, left to right.
    """
    first, second = ROLES
    gap = _gap(*grids)
    reach = max([_LEAST_REACH, *(abs(v) for v in _flat(gap) if v is not None)])
    titles = (first, second, f"{first} less {second}, points")
    by = "needle depth" if what == "depth" else what
    alts = [
        f"Heat map of accuracy by {by} and length, {one_line(metric, 40)}, {title}. "
        + _words(cells, rows, columns, difference=cells is gap)
        for title, cells in zip(titles, (*grids, gap), strict=True)
    ]
    svgs = [
        _heat_map(f"{name}-iha", alts[0], grids[0], rows, columns, what),
        _heat_map(f"{name}-baseline", alts[1], grids[1], rows, columns, what, color=theme.BASELINE),
        _heat_map(f"{name}-gap", alts[2], gap, rows, columns, what, difference=reach),
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
    sentences = []
    for x, column in enumerate(columns):
        cells = ", ".join(
            f"{shown(row[x], 0)} at {depth}" for row, depth in zip(grid, rows, strict=True)
        )
        sentences.append(f"{column}: {cells}.")
    return " ".join(sentences)


def _flat(grid: Any) -> list[Any]:
    return [value for row in grid for value in row]


def _heat_map(
    name: str,
    alt: str,
    grid: Grid,
    rows: Sequence[str],
    columns: Sequence[str],
    what: str,
    *,
    difference: float | None = None,
    color: str = theme.IHA,
) -> Markup:
    """Draw a heat map with its numbers written in the cells.

    Args:
        name: As `svg.canvas` has it.
        alt: As `svg.canvas` has it.
        grid: Scores from 0 to 1, a row for each of `rows`; None leaves a cell empty. With
            `difference`, points.
        rows: Labels, top to bottom.
        columns: Labels, left to right.
        what: What rows are.
        difference: For a map of differences: the size, in points, of the strongest color; above 0
            in the first model's color, below 0 in the second's.
        color: For a map of scores: the color.
    """
    left = max(_LEFT, _LETTER * max(map(len, rows)) + 24.0)
    width = left + _CELL[0] * max(2, len(columns))
    with svg.canvas(name, alt, width, _BELOW + _CELL[1] * len(rows)) as canvas:
        axes = canvas.axes
        axes.grid(visible=False)
        axes.spines[:].set(visible=True, color=theme.GRID)
        axes.tick_params(length=0)
        axes.set_xlim(0, len(columns))
        axes.set_ylim(len(rows), 0)
        axes.set_xticks([x + 0.5 for x in range(len(columns))], columns)
        axes.set_yticks([y + 0.5 for y in range(len(rows))], rows)
        axes.set_xlabel("tokens")
        axes.set_ylabel(what)
        for y, row in enumerate(grid):
            for x, value in enumerate(row):
                text, fill, opacity = _look(value, difference, color)
                patch = Rectangle((x, y), 1, 1, facecolor=fill, alpha=opacity, linewidth=0)
                axes.add_patch(patch)
                ink = theme.on(opacity) if there(value) else theme.MUTED
                written = axes.text(x + 0.5, y + 0.53, text, color=ink, ha="center", va="center")
                # They lie within the axes: measuring each of them costs more than drawing it.
                for artist in (patch, written):
                    artist.set_in_layout(False)
    return canvas.svg


def _look(value: float | None, difference: float | None, color: str) -> tuple[str, str, float]:
    """Text, fill and opacity of a cell."""
    if value is None or not there(value):
        return MISSING, theme.GRID, 0.35
    if difference is None:
        return percent(value, 0), color, round(min(1.0, max(0.0, value)), 2)
    fill = theme.IHA if value >= 0 else theme.BASELINE
    return points(value, 0), fill, round(min(1.0, abs(value) / difference), 2)
