"""Mixing weights and collapse of an IHA checkpoint, a panel for each layer.

For: magnitudes of the matrices, read as pictures.
Not for: reading numbers off; the checkpoint has them.

A matrix is an image of one color, as opaque in each place as the number is large, which reads the
same on a light and a dark page and takes a few hundred bytes.
"""

from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np

from iha_eval.compare.render.figures import svg, theme
from iha_eval.compare.render.figures.figure import Figure, Panel, PanelGroup
from iha_eval.compare.schema import AlphaMaps, LayerMaps
from iha_eval.util.text import one_line


class HasMaps(TypedDict):
    """The part of a report that is drawn here."""

    maps: AlphaMaps | None


Matrix = np.ndarray[Any, np.dtype[np.float64]]

#: The images' color, 0 to 1: seen well on light and on dark. Negative numbers have the other.
_POSITIVE, _NEGATIVE = (0.16, 0.46, 0.80), (0.80, 0.45, 0.10)

#: Between two matrices, as a share of their height.
_GAP = 0.12

#: Most layers drawn of a checkpoint, spread evenly.
_LAYERS = 24

_NAMES = {
    "alpha_q": "alpha, query",
    "alpha_k": "alpha, key",
    "alpha_v": "alpha, value",
    "collapse": "collapse",
}


def draw_alpha(report: HasMaps) -> Figure | None:
    """The figure of the mixing weights; None without them."""
    caption = (
        "Magnitudes of the weights that mix heads, root mean square over pseudo-heads: a row for "
        "each source head, a column for each head it goes to. "
    )
    return _draw(
        report, "alpha", "Mixing weights alpha", caption, ("alpha_q", "alpha_k", "alpha_v")
    )


def draw_collapse(report: HasMaps) -> Figure | None:
    """The figure of the collapse; None without it."""
    caption = (
        "Magnitudes of the weights that fold pseudo-heads back: a row for each head, a column for "
        "each head and pseudo-head it takes in. "
    )
    return _draw(report, "collapse", "Collapse", caption, ("collapse",))


def _draw(
    report: HasMaps, name: str, title: str, caption: str, keys: tuple[str, ...]
) -> Figure | None:
    every = [
        layer
        for layer in (report["maps"] or AlphaMaps(layers=[]))["layers"]
        if any(layer.get(key) for key in keys)
    ]
    if not every:
        return None
    layers = _spread(every)
    reach = max(_reach(layer.get(key)) for layer in layers for key in keys) or 1.0
    caption += f"Full color is {reach:.3g}, no color 0"
    caption += f"; {len(layers)} of {len(every)} layers." if len(layers) < len(every) else "."
    panels = tuple(
        _panel(f"{name}-{number}", layer, keys, reach) for number, layer in enumerate(layers)
    )
    return Figure(name, title, caption, (PanelGroup("", panels),))


def _spread(layers: list[LayerMaps]) -> list[LayerMaps]:
    if len(layers) <= _LAYERS:
        return layers
    places = np.linspace(0, len(layers) - 1, _LAYERS).round().astype(int)
    return [layers[place] for place in places]


def _reach(matrix: Any) -> float:
    return float(np.nanmax(np.abs(_array(matrix)))) if matrix else 0.0


def _array(matrix: Any) -> Matrix:
    values: Matrix = np.nan_to_num(np.array(matrix, dtype=float))
    return values


def _panel(name: str, layer: Mapping[str, Any], keys: tuple[str, ...], reach: float) -> Panel:
    title = f"Layer {one_line(layer['layer'], 12)}, {one_line(layer['kind'], 24).replace('_', ' ')}"
    matrices = [(_NAMES[key], _array(layer[key])) for key in keys if layer.get(key)]
    alt = f"Heat map of magnitudes, {title}. " + " ".join(
        _said(*matrix_of_head) for matrix_of_head in matrices
    )
    with svg.canvas(name, alt, _width(matrices), _height(matrices)) as canvas:
        axes = canvas.axes
        axes.set_axis_off()
        x = 0.0
        for called, matrix in matrices:
            # Small matrices (fewer heads) are drawn as large as the others.
            width = matrix.shape[1] / matrix.shape[0]
            axes.imshow(_image(matrix, reach), extent=(x, x + width, 0, 1), interpolation="none")
            frame = [(x, 0), (x + width, 0), (x + width, 1), (x, 1), (x, 0)]
            axes.plot(*zip(*frame, strict=True), color=theme.GRID, linewidth=0.8, clip_on=False)
            if len(matrices) > 1:
                axes.text(x + width / 2, -0.06, called, ha="center", va="top", color=theme.MUTED)
            x += width + _GAP
        axes.set_xlim(-0.01, x - _GAP + 0.01)
        axes.set_ylim(-0.2 if len(matrices) > 1 else -0.01, 1.01)
        axes.set_aspect("equal")
    return Panel(title, canvas.svg)


def _width(matrices: list[tuple[str, Matrix]]) -> float:
    return theme.WIDTH if len(matrices) > 1 else 252.0


def _height(matrices: list[tuple[str, Matrix]]) -> float:
    shapes: list[float] = [matrix.shape[1] / matrix.shape[0] for _, matrix in matrices]
    tall = _width(matrices) / (sum(shapes) + _GAP * len(shapes))
    return min(180.0, max(40.0, tall * (1.22 if len(shapes) > 1 else 1.0)))


def _image(matrix: Matrix, reach: float) -> Matrix:
    image: Matrix = np.empty((*matrix.shape, 4))
    image[..., :3] = np.where(matrix[..., None] < 0, _NEGATIVE, _POSITIVE)
    image[..., 3] = np.clip(np.abs(matrix) / reach, 0, 1)
    return image


def _said(called: str, matrix: Matrix) -> str:
    row, column = np.unravel_index(np.abs(matrix).argmax(), matrix.shape)
    return (
        f"{called}: {matrix.shape[0]} by {matrix.shape[1]}, mean {np.abs(matrix).mean():.3g}, "
        f"largest {matrix[row, column]:.3g} in row {row}, column {column}."
    )
