"""Figures of the evidence as SVG files that stand on their own.

For: lines and points in the look of the report's figures, and the sheet that puts panels side by
side with the colors a page would otherwise define. Not for: panels of the report's page.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from iha_eval.compare.render.figures import Panel, svg, theme
from iha_eval.compare.render.figures.axes import MARKS, Mark

#: How a kind of attention looks, wherever it is drawn.
LOOKS: Mapping[str, Mark] = {
    "IHA": MARKS["iha"],
    "MHA": MARKS["baseline"],
    "simplicial": Mark(theme.MUTED, ":", "^", theme.SURFACE),
}

# Pixels: of a heading, and between a sheet's edge or panels.
_HEADING, _GAP = 24, 12
_MARGIN = 16
# The page's colors, light and dark (style.css of the report).
_LIGHT = {
    "--surface": "#ffffff",
    "--ink": "#1a1c1f",
    "--muted": "#59606a",
    "--grid": "#dfe3e8",
    "--iha": "#1f5c99",
    "--baseline": "#8a4b08",
}
_DARK = {
    "--surface": "#14171a",
    "--ink": "#e6e8ea",
    "--muted": "#a5adb6",
    "--grid": "#2d3339",
    "--iha": "#79baf5",
    "--baseline": "#e8a55c",
}


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes:
        label: In the key.
        look: A key of `LOOKS`.
        x: Places.
        y: Heights; NaN leaves a gap.
        marked: Whether each place has a mark.
    """

    label: str
    look: str
    x: Sequence[float]
    y: Sequence[float]
    marked: bool = False


def chart(
    name: str,
    title: str,
    series: Sequence[Series],
    labels: tuple[str, str],
    logarithmic: bool = False,
) -> Panel:
    """A panel of lines with a key.

    Args:
        name: Identifier, of letters, digits and hyphens.
        title: Above the panel.
        series: The lines, at least one.
        labels: Of the horizontal and the vertical axis.
        logarithmic: Whether both axes are.
    """
    with svg.canvas(name, _said(title, series, labels)) as canvas:
        axes = canvas.axes
        for line in series:
            _line(axes, line)
        if logarithmic:
            axes.set_xscale("log", base=2)
            axes.set_yscale("log", base=10)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.legend(frameon=False)
    return Panel(title, canvas.svg)


def dots(
    name: str, title: str, groups: Mapping[str, Mapping[str, Sequence[float]]], label: str
) -> Panel:
    """A panel with a place for each group, in which every value is a mark and the mean a bar.

    Args:
        name: Identifier.
        title: Above the panel.
        groups: Group -> key of `LOOKS` -> values; all groups have the same keys.
        label: Of the vertical axis.
    """
    places = [f"{group}, {look}" for group, looks in groups.items() for look in looks]
    values = [values for looks in groups.values() for values in looks.values()]
    flat = [Series(place, place, [], some) for place, some in zip(places, values, strict=True)]
    with svg.canvas(name, _said(title, flat, ("", label))) as canvas:
        axes = canvas.axes
        looks = [look for group in groups.values() for look in group]
        for place, (look, some) in enumerate(zip(looks, values, strict=True)):
            mark = LOOKS[look]
            axes.plot(
                [place] * len(some),
                some,
                color=mark.color,
                linestyle="none",
                marker=mark.marker,
                markerfacecolor=mark.face,
            )
            mean = sum(some) / len(some)
            axes.plot([place - 0.25, place + 0.25], [mean, mean], color=mark.color)
        axes.set_xlim(-0.6, len(values) - 0.4)
        axes.set_xticks(range(len(values)), [f"{look}" for look in looks])
        per_group = len(looks) // len(groups)
        for number, group in enumerate(groups):
            middle = number * per_group + (per_group - 1) / 2
            foot = axes.get_xaxis_transform()
            axes.text(middle, 1.0, group, ha="center", va="bottom", transform=foot)
        axes.grid(axis="x", visible=False)
        axes.set_ylabel(label)
    return Panel(title, canvas.svg)


def sheet(title: str, panels: Sequence[Panel]) -> str:
    """A file's content: panels side by side under a title, the same bytes for the same panels."""
    count = len(panels)
    width = 2 * _MARGIN + count * theme.WIDTH + (count - 1) * _GAP
    height = 2 * _MARGIN + 2 * _HEADING + theme.HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<title>{escape(title)}</title>",
        f"<style>{_style()}</style>",
        f'<rect width="{width}" height="{height}" style="fill: var(--surface)"/>',
        _text(_MARGIN, _MARGIN + 14, 14, "--ink", title),
    ]
    for number, panel in enumerate(panels):
        left = _MARGIN + number * (theme.WIDTH + _GAP)
        top = _MARGIN + 2 * _HEADING
        parts.append(_text(left, top - 8, 12, "--muted", panel.title))
        parts.append(str(panel.svg).replace("<svg ", f'<svg x="{left}" y="{top}" ', 1))
    return "\n".join([*parts, "</svg>", ""])


def _line(axes: Axes, line: Series) -> None:
    mark = LOOKS[line.look]
    axes.plot(
        line.x,
        line.y,
        color=mark.color,
        linestyle=mark.line,
        marker=mark.marker if line.marked else "",
        markerfacecolor=mark.face,
        label=line.label,
    )


def _said(title: str, series: Sequence[Series], labels: tuple[str, str]) -> str:
    """The drawing in words: the ends of each line, or all values of a short one."""
    parts = []
    for line in series:
        real = [value for value in line.y if math.isfinite(value)]
        if len(real) > 8:
            parts.append(f"{line.label} from {real[0]:.4g} to {real[-1]:.4g}")
        else:
            parts.append(f"{line.label} {', '.join(f'{value:.4g}' for value in real)}")
    against = f" against {labels[0]}" if labels[0] else ""
    return f"{title}: {labels[1]}{against}. {'; '.join(parts)}."


def _style() -> str:
    light, dark = (
        " ".join(f"{name}: {color};" for name, color in colors.items())
        for colors in (_LIGHT, _DARK)
    )
    return (
        f"svg {{ {light} font-family: system-ui, sans-serif; }} "
        f"@media (prefers-color-scheme: dark) {{ svg {{ {dark} }} }}"
    )


def _text(x: float, y: float, size: int, color: str, text: str) -> str:
    style = f"font-size: {size}px; fill: var({color})"
    return f'<text x="{x}" y="{y}" style="{style}">{escape(text)}</text>'
