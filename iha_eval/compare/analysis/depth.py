"""RULER's scores by depth of the needle and length of the document, for heat maps.

For: means of each model in bins of ten percent. Not for: tests, for which a bin has few documents.
"""

from collections.abc import Sequence
from typing import Any

from iha_eval.compare.analysis import ruler
from iha_eval.compare.inputs.pairing import SIDES, Pairing, Side
from iha_eval.ruler.scoring import METRICS
from iha_eval.statistics import level

BINS = 10
"""Number of depth bins from 0 to 100%."""

Place = tuple[int, int]
"""Depth bin and length."""


def depth_maps(pairing: Pairing) -> list[dict[str, Any]]:
    """A map for each metric, over all variants; none without documents that have a depth.

    Rows are depth bins, columns are lengths; a place without documents is None.
    """
    return [made for metric in METRICS if (made := _map(pairing, metric))]


def _map(pairing: Pairing, metric: str) -> dict[str, Any] | None:
    places: dict[Side, dict[Place, list[float | None]]] = {
        side: _places(pairing, metric, side) for side in SIDES
    }
    lengths = sorted({length for side in SIDES for _, length in places[side]})
    if not lengths:
        return None
    grid = [[(row, length) for length in lengths] for row in range(BINS)]
    return {
        "metric": metric,
        "lengths": lengths,
        "depths": [100 * (row + 0.5) / BINS for row in range(BINS)],
        "n": [[len(places["iha"].get(place, ())) for place in row] for row in grid],
        **{
            side: [[_mean(places[side].get(place, ())) for place in row] for row in grid]
            for side in SIDES
        },
    }


def _places(pairing: Pairing, metric: str, side: Side) -> dict[Place, list[float | None]]:
    found: dict[Place, list[float | None]] = {}
    for task in pairing.tasks:
        cell = ruler.cell(task.name)
        keys = task.common if task.paired else list(task.side(side))
        for key in keys if cell else ():
            sample = task.side(side)[key]
            if cell and sample.depth is not None:
                place = min(int(sample.depth * BINS / 100), BINS - 1), cell[0]
                found.setdefault(place, []).append(sample.scores.get(metric))
    return found


def _mean(scores: Sequence[float | None]) -> float | None:
    return level(scores).mean
