"""The nine cells of `ruler_mk`: read from lm-eval's result file, shown as a table.

For: `iha-eval demo`. Not for: comparing two runs, nor for other lengths than those three.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from iha_eval.errors import UserError
from iha_eval.ruler import LENGTHS, METRICS, VARIANTS, length_label, task_name

LABELS = tuple(length_label(length) for length in LENGTHS)


@dataclass(frozen=True)
class Cell:
    """One leaf task's scores.

    Attributes:
        scores: Metric -> mean over the documents, 0 to 1; in the order of `METRICS`.
        documents: How many documents were scored.
    """

    scores: dict[str, float]
    documents: int


def read_cells(results_file: Path) -> dict[tuple[str, str], Cell]:
    """Read all nine cells, keyed by variant and length.

    Args:
        results_file: A `results_*.json` that lm-eval wrote.

    Raises:
        UserError: It is no such file, or a cell is missing from it.
    """
    try:
        results = json.loads(results_file.read_text(encoding="utf-8"))
        return {
            (variant, length_label(length)): _cell(results, task_name(variant, length))
            for variant in VARIANTS
            for length in LENGTHS
        }
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(
            f"{results_file} is not a result of all nine ruler_mk tasks ({error}):"
            " run lm_eval with --tasks ruler_mk and --output_path"
        ) from error


def read_note(results_file: Path) -> str:
    """What the run says about its checkpoint; empty unless there is something to be said."""
    config = json.loads(results_file.read_text(encoding="utf-8")).get("config", {})
    return str(config.get("iha_eval", {}).get("checkpoint", {}).get("note", ""))


def table(cells: dict[tuple[str, str], Cell], title: str) -> Table:
    """Lay the cells out, a row a variant and a column a length, both metrics in a cell."""
    shown = Table(title=title, caption=f"{' / '.join(METRICS)}, mean (documents)")
    shown.add_column("task")
    for label in LABELS:
        shown.add_column(label, justify="right")
    for variant in VARIANTS:
        shown.add_row(variant, *(_text(cells[variant, label]) for label in LABELS))
    return shown


def _cell(results: dict[str, Any], task: str) -> Cell:
    scores = {metric: float(results["results"][task][f"{metric},none"]) for metric in METRICS}
    return Cell(scores=scores, documents=int(results["n-samples"][task]["effective"]))


def _text(cell: Cell) -> str:
    return " / ".join(f"{score:.3f}" for score in cell.scores.values()) + f" ({cell.documents})"
