"""The look of every figure: colors that follow the page's theme, sizes, matplotlib's settings.

For: drawing; a color here is a stand-in that `svg.py` turns into a CSS variable of the page, so
that one drawing serves light and dark. Not for: what the variables are, which style.css says.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl

#: Text.
INK = "#0f0001"
#: Axes, ticks and whatever is secondary, text included.
MUTED = "#0f0002"
#: Grid lines.
GRID = "#0f0003"
#: The page behind a figure.
SURFACE = "#0f0004"
#: The first model, and differences in its favor.
IHA = "#0f0005"
#: The second model, and differences in its favor.
BASELINE = "#0f0006"
#: Text on a faint, middling or strong cell of a heat map.
ON_FAINT, ON_MIDDLE, ON_STRONG = "#0f0007", "#0f0008", "#0f0009"

#: Stand-in -> CSS variable.
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    SURFACE: "--surface",
    IHA: "--iha",
    BASELINE: "--baseline",
    ON_FAINT: "--on-faint",
    ON_MIDDLE: "--on-middle",
    ON_STRONG: "--on-strong",
}

#: Opacity of a heat map's cell from which its text is that of a middling or a strong one: where, in
#: dark and in light, black and white are equally readable on the cell.
MIDDLE, STRONG = 0.61, 0.82

#: Width of a panel, in CSS pixels: fits a phone of 390.
WIDTH = 344
#: Its height.
HEIGHT = 224

_SIZE = 11.0
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "iha-eval",
    "text.parse_math": False,
    "text.color": INK,
    "font.size": _SIZE,
    "axes.labelsize": _SIZE,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "figure.facecolor": "none",
    "figure.dpi": 72.0,
    "savefig.facecolor": "none",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": _SIZE,
    "ytick.labelsize": _SIZE,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.0,
}


@contextmanager
def settings() -> Iterator[None]:
    """Matplotlib's own defaults plus ours, whatever a matplotlibrc of the user says."""
    with mpl.rc_context():
        # Leaves the backend, which is the process's, as it is.
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def on(opacity: float) -> str:
    """The color of text that stands on a heat map's cell of this opacity."""
    return ON_FAINT if opacity < MIDDLE else ON_MIDDLE if opacity < STRONG else ON_STRONG
