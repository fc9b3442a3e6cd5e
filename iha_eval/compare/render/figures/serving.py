"""Throughput and size of the KV cache, both models.

For: runs whose results say how fast they were.
Not for: comparing runs on different devices; the page names the devices.
"""

from collections.abc import Callable
from typing import Any

from iha_eval.compare.render.figures import axes, svg, theme
from iha_eval.compare.render.figures.figure import ROLES, Figure, Panel, PanelGroup
from iha_eval.compare.schema import Report
from iha_eval.util.numbers import MISSING, rate, size, there

_HEIGHT = 84.0

Quantity = tuple[str, str, Callable[[Any], str]]

_RATES: tuple[Quantity, ...] = (
    ("prefill_tokens_per_second", "Prefill, tokens a second", rate),
    ("generation_tokens_per_second", "Generation, tokens a second", rate),
    ("documents_per_minute", "Documents a minute", rate),
)
_SIZES: tuple[Quantity, ...] = (
    ("kv_bytes_per_token", "KV cache, bytes a token", size),
    ("kv_bytes", "KV cache reserved by the engine", size),
)


def draw_throughput(report: Report) -> Figure | None:
    """The figure of rates; None if neither run has any."""
    caption = "As each run measured it on its own device; longer bars are faster."
    return _draw(report, "throughput", "Throughput", caption, _RATES)


def draw_kv(report: Report) -> Figure | None:
    """The figure of the KV cache; None if neither run says its size."""
    caption = "Shorter bars are smaller. What an engine reserves depends on its settings too."
    return _draw(report, "kv", "KV cache", caption, _SIZES)


def _draw(
    report: Report, name: str, title: str, caption: str, quantities: tuple[Quantity, ...]
) -> Figure | None:
    models = report["models"]["iha"], report["models"]["baseline"]
    panels: list[Panel] = []
    for key, label, shown in quantities:
        values = [model.get(key) for model in models]
        if axes.drawable(values):
            panels.append(_panel(f"{name}-{len(panels)}", label, ROLES, values, shown))
    return Figure(name, title, caption, (PanelGroup("", tuple(panels)),)) if panels else None


def _panel(
    name: str,
    title: str,
    called: tuple[str, str],
    values: list[Any],
    shown: Callable[[Any], str],
) -> Panel:
    values_in_words = ", ".join(
        f"{who} {shown(value)}" for who, value in zip(called, values, strict=True)
    )
    with svg.canvas(name, f"{title}: {values_in_words}.", height=_HEIGHT) as canvas:
        drawn = canvas.axes
        drawn.grid(visible=False)
        drawn.spines[:].set_visible(False)
        longest = max(value for value in values if there(value)) or 1.0
        # Room for the number behind the longest bar.
        drawn.set_xlim(0, 1.45 * longest)
        drawn.set_ylim(1.6, -0.6)
        drawn.set_xticks([])
        drawn.set_yticks([0, 1], called)
        for y, (value, color) in enumerate(zip(values, (theme.IHA, theme.BASELINE), strict=True)):
            length = value if there(value) else 0.0
            drawn.barh([y], [length], height=0.62, color=color)
            text = shown(value) if there(value) else MISSING
            drawn.annotate(
                text,
                (length, y),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                color=theme.INK,
            )
        for label in drawn.get_yticklabels():
            label.set_color(theme.INK)
    return Panel(title, canvas.svg)
