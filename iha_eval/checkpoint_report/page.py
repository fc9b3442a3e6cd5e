"""The page of `iha-eval inspect --html`: one HTML file that needs nothing else.

For: rendering what `gather.py` found; heat maps of numbers are tables, those of matrices the
drawings of a report. Not for: finding anything out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from iha_eval.checkpoint_report import table as table
from iha_eval.checkpoint_report.gather import Inspection
from iha_eval.compare.render.figures import Figure, maps
from iha_eval.errors import UserError
from iha_eval.util.files import write_whole
from iha_eval.util.installation import reports_dir
from iha_eval.util.text import visible

#: Nothing loads and no script runs.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)

_NAMES = {
    "alpha_q": "alpha, query",
    "alpha_k": "alpha, key",
    "alpha_v": "alpha, value",
    "collapse": "collapse",
}


@dataclass(frozen=True)
class HeatCell:
    """One cell: the number as text, and how strong its color is, 0 to 1."""

    text: str
    share: float


@dataclass(frozen=True)
class Grid:
    """A heat map that is a table: a row a layer.

    Attributes:
        title: What sets it apart from its neighbors.
        columns: What stands above, such as "head"; the columns are numbered from 0.
        rows: Number of the layer and its cells.
    """

    title: str
    columns: str
    rows: Sequence[tuple[int, Sequence[HeatCell]]]


@dataclass(frozen=True)
class PageSection:
    """Grids of one measure, with how to read them."""

    title: str
    caption: str
    grids: Sequence[Grid]


def write_page(inspection: Inspection, file: Path) -> None:
    """Write the page in one step.

    Args:
        inspection: What is shown.
        file: Where to; its folder must exist.

    Raises:
        UserError: The file cannot be written.
    """
    page = render(inspection)
    try:
        write_whole(file, page)
    except OSError as error:
        raise UserError(
            f"{file} cannot be written ({error.strerror or error}): name another file with --html."
        ) from error


def render(inspection: Inspection) -> str:
    """The page as text; the same text for the same findings."""
    folder = reports_dir() / "templates"
    facts = inspection.facts
    return (
        _environment(folder)
        .get_template("inspect.html")
        .render(
            facts=facts,
            headline=table.headline(facts),
            gpu=table.gpu_line(facts),
            kinds_header=table.KINDS,
            kinds=table.kinds(facts),
            comparison=table.comparison(facts),
            sections=sections(facts),
            dead=dead(facts),
            figures=figures(inspection),
            policy=POLICY,
            # A file of our own, the only text beside the figures that is not escaped.
            style=Markup((folder / "style.css").read_text(encoding="utf-8")),
        )
    )


def figures(inspection: Inspection) -> list[Figure]:
    """The matrices themselves, drawn as in a report."""
    report: Any = {"maps": {"layers": inspection.maps}}
    drawn = (draw(report) for draw in (maps.draw_alpha, maps.draw_collapse))
    return [figure for figure in drawn if figure is not None]


def sections(facts: Mapping[str, Any]) -> list[PageSection]:
    """The heat maps of numbers; none of a plain checkpoint."""
    if not facts["mixing"]:
        return []
    layers = facts["mixing"]["layers"]
    farthest = max(max(layer[name]["head_distances"]) for layer in layers for name in _NAMES)
    return [
        PageSection(
            "Distance from identity",
            "Frobenius norm of the difference from keeping each head to itself, relative to that; "
            "by destination head. A collapse is held against its nearest identity, whose own "
            "weights add up to 1.",
            [
                _grid(layers, (name, "head_distances"), farthest, "destination head", 2)
                for name in _NAMES
            ],
        ),
        PageSection(
            "Effective rank",
            "Of the matrix from heads to heads of each pseudo-head: as many as there are heads "
            "for an identity, 1 where all heads become alike, 0 where it is not used.",
            [
                _grid(layers, (name, "effective_ranks"), _heads(layers, name), "pseudo-head", 1)
                for name in _NAMES
            ],
        ),
        PageSection(
            "Pseudo-heads in use",
            "How many of all pseudo-heads a head takes in, effectively: exp of the entropy of its "
            "weights in the collapse, without signs, as shares.",
            [_grid(layers, ("collapse", "used"), _pseudo_heads(layers[0]), "destination head", 1)],
        ),
    ]


def _grid(
    layers: Sequence[Mapping[str, Any]],
    measure: tuple[str, str],
    full: float,
    columns: str,
    digits: int,
) -> Grid:
    """One measure of one tensor; `full` is the value of the strongest color."""
    name, key = measure
    rows = [
        (
            layer["layer"],
            [HeatCell(f"{value:.{digits}f}", _share(value, full)) for value in layer[name][key]],
        )
        for layer in layers
    ]
    return Grid(_NAMES[name], columns, rows)


def _heads(layers: Sequence[Mapping[str, Any]], name: str) -> int:
    return len(layers[0][name]["head_distances"])


def _pseudo_heads(layer: Mapping[str, Any]) -> int:
    """All heads' pseudo-heads together."""
    return sum(map(len, layer["collapse"]["masses"]))


def _share(value: float, full: float) -> float:
    return round(min(1.0, value / full), 3) if full > 0 else 0.0


def dead(facts: Mapping[str, Any]) -> list[str]:
    """A sentence for each layer with dead pseudo-heads."""
    dead_heads = []
    for layer in (facts["mixing"] or {"layers": ()})["layers"]:
        pseudo_heads = layer["collapse"]["dead"]
        if pseudo_heads:
            named = ", ".join(f"{head}.{pseudo}" for head, pseudo in pseudo_heads)
            dead_heads.append(
                f"Layer {layer['layer']}: {len(pseudo_heads)} of {_pseudo_heads(layer)}: {named}"
            )
    return dead_heads


def _environment(folder: Path) -> Environment:
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else visible(value),
    )
