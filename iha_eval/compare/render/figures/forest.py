"""The difference of every cell with its interval, one below the other.

For: seeing all comparisons at once.
Not for: the numbers, which the tables have in full.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from iha_eval.compare.render.figures import svg, theme
from iha_eval.compare.render.figures.figure import ROLES, Figure, Panel, PanelGroup
from iha_eval.compare.schema import Report, ReportRow
from iha_eval.util.numbers import interval, points, there
from iha_eval.util.text import one_line

_ROW = 19.0
_WIDTH = 760.0


@dataclass(frozen=True)
class ForestRow:
    """A line of the plot: a heading, or a cell."""

    label: str
    cell: ReportRow | None

    def shortened(self) -> "ForestRow":
        """The row for a narrow drawing; a heading may run over the plot."""
        return ForestRow(one_line(self.label, 48 if self.cell is None else 22), self.cell)


def draw(report: Report) -> Figure | None:
    """The figure; None if no cell has a difference."""
    rows = list(_rows(report))
    cells = [row.cell for row in rows if row.cell is not None]
    if not any(there(cell["points"]) for cell in cells):
        return None
    first, second = ROLES
    alt = f"Forest plot of the differences in points, {first} less {second}, with 95% intervals. "
    alt += " ".join(f"{row.label}: {_said(row.cell)}." if row.cell else row.label for row in rows)
    panel = Panel(
        "",
        _drawn("forest", alt, rows, _WIDTH),
        _drawn("forest-narrow", alt, [row.shortened() for row in rows], theme.WIDTH),
    )
    caption = (
        "Difference in points with its 95% interval, for all cells. Filled marks are significant "
        "after correction (▲ better, ▼ worse); hollow ones are not."
    )
    return Figure("forest", "All differences", caption, (PanelGroup("", (panel,)),))


def _rows(report: Report) -> Iterator[ForestRow]:
    for table in report["tables"]:
        if table["rows"]:
            yield ForestRow(one_line(table["label"], 60), None)
        for cell in table["rows"]:
            yield ForestRow(one_line(cell["label"], 38), cell)


def _said(cell: ReportRow) -> str:
    if not there(cell["points"]):
        return f"no scores, {cell['word']}"
    return f"{points(cell['points'])} ({interval(cell['low'], cell['high'])}), {cell['word']}"


def _drawn(name: str, alt: str, rows: list[ForestRow], width: float) -> Markup:
    with svg.canvas(name, alt, width, 46 + _ROW * len(rows)) as canvas:
        _plot(canvas.axes, rows, narrow=width < _WIDTH)
        canvas.axes.set_xlabel(f"points; right of 0: {ROLES[0]} is ahead")
    return canvas.svg


def _plot(axes: Axes, rows: list[ForestRow], narrow: bool) -> None:
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(*_reach(rows))
    axes.axvline(0, color=theme.MUTED, linewidth=1.0)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_yticks(range(len(rows)), ["" if row.cell is None else row.label for row in rows])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5 if narrow else 8, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: points(value, 0 if value % 1 == 0 else 1))
    )
    for label in axes.get_yticklabels():
        label.set_color(theme.INK)
    for y, row in enumerate(rows):
        if row.cell is None:
            _heading(axes, y, row.label)
        else:
            _line(axes, y, row.cell)
            if not narrow:
                _numbers(axes, y, row.cell)


def _reach(rows: list[ForestRow]) -> tuple[float, float]:
    cells = [row.cell for row in rows if row.cell is not None]
    numbers = [number for cell in cells for number in (cell["points"], cell["low"], cell["high"])]
    ends = [number for number in numbers if there(number)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    room = max(1.0, 0.06 * (high - low))
    return low - room, high + room


def _heading(axes: Axes, y: int, label: str) -> None:
    text = axes.annotate(
        label,
        (0.003, y),
        xycoords=("figure fraction", "data"),
        va="center",
        color=theme.INK,
        fontweight="bold",
        # Hides the grid behind a heading that reaches the plot.
        bbox={"facecolor": theme.SURFACE, "edgecolor": "none", "pad": 1},
    )
    # Labels of rows alone decide where the plot begins.
    text.set_in_layout(False)


def _line(axes: Axes, y: int, cell: ReportRow) -> None:
    numbers = (cell["points"], cell["low"], cell["high"])
    middle, low, high = (number if there(number) else math.nan for number in numbers)
    color, marker, face = _mark(cell["word"])
    axes.plot([low, high], [y, y], color=color, linewidth=1.4, solid_capstyle="butt")
    axes.plot([middle], [y], marker, color=color, markerfacecolor=face, markersize=6)


def _numbers(axes: Axes, y: int, cell: ReportRow) -> None:
    # Beside the plot, as forest plots have it.
    text = points(cell["points"])
    if there(cell["low"]):
        text += f"  [{points(cell['low'])}, {points(cell['high'])}]"
    axes.annotate(
        text,
        (1.01, y),
        xycoords=("axes fraction", "data"),
        va="center",
        color=theme.INK if cell["word"] in ("better", "worse") else theme.MUTED,
    )


def _mark(word: str) -> tuple[str, str, str]:
    """Color, marker and face."""
    if word == "better":
        return theme.IHA, "^", theme.IHA
    if word == "worse":
        return theme.BASELINE, "v", theme.BASELINE
    return theme.MUTED, "o", theme.SURFACE
