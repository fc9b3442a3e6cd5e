"""A heat map with its numbers written in the cells.

For: small grids of percentages or of differences in points.
Not for: matrices of weights, which have too many cells for numbers (maps.py).

A cell is as opaque as its value is large, over the page's own background, so that one drawing is
right in light and dark.
"""

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.patches import Rectangle

from iha_eval.compare.render.figures import svg, theme
from iha_eval.util.numbers import MISSING, percent, points, there

Grid = Sequence[Sequence[float | None]]

_CELL = (54.0, 21.0)
_LEFT, _BELOW = 66.0, 38.0


def heat_map(
    name: str,
    alt: str,
    grid: Grid,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    difference: float | None = None,
    color: str = theme.IHA,
) -> Markup:
    """Draw a heat map.

    Args:
        name: As `svg.canvas` has it.
        alt: As `svg.canvas` has it.
        grid: Scores from 0 to 1, a row for each of `rows`; None leaves a cell empty. With
            `difference`, points.
        rows: Labels, top to bottom.
        columns: Labels, left to right.
        difference: For a map of differences: the size, in points, of the strongest color; above 0
            in the first model's color, below 0 in the second's.
        color: For a map of scores: the color.
    """
    width = _LEFT + _CELL[0] * max(2, len(columns))
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
        axes.set_ylabel("depth")
        for y, row in enumerate(grid):
            for x, value in enumerate(row):
                text, fill, opacity = _look(value, difference, color)
                patch = Rectangle((x, y), 1, 1, facecolor=fill, alpha=opacity, linewidth=0)
                axes.add_patch(patch)
                ink = theme.on(opacity) if there(value) else theme.MUTED
                written = axes.text(x + 0.5, y + 0.53, text, color=ink, ha="center", va="center")
                # They lie within the axes: measuring each of them costs more than drawing it.
                for one in (patch, written):
                    one.set_in_layout(False)
    return canvas.svg


def _look(value: float | None, difference: float | None, color: str) -> tuple[str, str, float]:
    """Text, fill and opacity of a cell."""
    if value is None or not there(value):
        return MISSING, theme.GRID, 0.35
    if difference is None:
        return percent(value, 0), color, round(min(1.0, max(0.0, value)), 2)
    fill = theme.IHA if value >= 0 else theme.BASELINE
    return points(value, 0), fill, round(min(1.0, abs(value) / difference), 2)
