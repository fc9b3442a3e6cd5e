"""The report's figures as SVG elements.

For: `draw_all`, which the page calls with the content of report.json.
Not for: computing a number that the report does not hold.

Each module draws one kind of figure and says itself, by None, that its data are not there.
"""

from collections.abc import Callable

from iha_eval.compare.render.figures import curves, depth, forest, maps, serving, trend
from iha_eval.compare.render.figures.figure import ROLES, Figure, Panel, PanelGroup
from iha_eval.compare.schema import Report

#: The figures in the page's order.
FIGURES: tuple[Callable[[Report], Figure | None], ...] = (
    forest.draw,
    curves.draw_length,
    depth.draw_tasks,
    depth.draw,
    curves.draw_majority,
    curves.draw_pass,
    trend.draw,
    serving.draw_throughput,
    serving.draw_kv,
    maps.draw_alpha,
    maps.draw_collapse,
)


def draw_all(report: Report) -> list[Figure]:
    """All figures whose data are there, in order; the same bytes for the same report."""
    made = (draw(report) for draw in FIGURES)
    return [figure for figure in made if figure is not None]


__all__ = ["FIGURES", "ROLES", "Figure", "Panel", "PanelGroup", "Report", "draw_all"]
