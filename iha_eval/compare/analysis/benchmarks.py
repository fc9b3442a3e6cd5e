"""What a comparison is about: benchmarks, their tables and rows, and the row that decides.

For: the plan of a report, made from the names of tasks and metrics before any number is looked at.
Not for: the plan of each kind of benchmark (ruler.py, reasoning.py, others.py), nor for numbers
(cells.py).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from iha_eval.compare.inputs.pairing import SIDES, Task

SHARES = ("unparseable", "cut", "undecided")
"""Metrics that say how a run went, not how good the model is."""

_LABELS = {
    "string_match": "string match",
    "first_answer": "first answer",
    "exact_match": "exact match",
    "p@1": "P@1",
}


@dataclass(frozen=True)
class Part:
    """The scores of one task, filter and metric."""

    task: str
    filter: str
    metric: str


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        task: The task, or what stands for several.
        label: What a table calls it.
        metric: What is compared; a filter other than "none" follows after a comma.
        parts: Whose documents are taken together, each document counting the same.
        variant: RULER's variant; None elsewhere, and over several.
        length: RULER's length in tokens; None elsewhere, and over several.
        k: Number of votes; None elsewhere.
        decides: Whether it is the one that the benchmark is judged by.
        partial: Whether it stands for several tasks, some of which could not be compared.
    """

    task: str
    label: str
    metric: str
    parts: tuple[Part, ...]
    variant: str | None = None
    length: int | None = None
    k: int | None = None
    decides: bool = False
    partial: bool = False


@dataclass(frozen=True)
class Table:
    """Rows that are read together.

    Attributes:
        label: Its heading.
        metric: The metric of all rows; None if they have several.
        metric_label: The same for the reader.
        rows: At least one.
    """

    label: str
    metric: str | None
    metric_label: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Benchmark:
    """Tasks that are judged by one sentence.

    Attributes:
        name: Such as `ruler_mk`.
        label: The same for the reader.
        tables: Their rows; one row of all decides.
        warnings: What was left out, each a sentence.
    """

    name: str
    label: str
    tables: Sequence[Table]
    warnings: Sequence[str] = ()


def metric_label(metric: str) -> str:
    """What a metric is called, such as `Maj@16`."""
    name, comma, filter_name = metric.partition(",")
    shown = _LABELS.get(name) or (
        name.replace("maj@", "Maj@") if name.startswith("maj@") else name.replace("_", " ")
    )
    return f"{shown} ({filter_name})" if comma else shown


def metric_name(metric: str, filter_name: str) -> str:
    """A metric as lm-eval names it, without the filter that does nothing."""
    return metric if filter_name == "none" else f"{metric},{filter_name}"


def metrics_of(task: Task, filter_name: str) -> list[str]:
    """The metrics that both runs have under a filter, in the order of the file."""
    found: list[dict[str, None]] = []
    for side in SIDES:
        names: dict[str, None] = {}
        for key, sample in task.side(side).items():
            if key[0] == filter_name:
                names.update(dict.fromkeys(sample.scores))
        found.append(names)
    return [name for name in found[0] if name in found[1]]


def out_of_range(task: Task, filter_name: str, metric: str) -> bool:
    """Whether a metric has a value outside [0, 1], or no value at all, on either side."""
    for side in SIDES:
        values = [
            value
            for value in task.scores(side, filter_name, metric)
            if value is not None and not math.isnan(value)
        ]
        if not values or min(values) < 0 or max(values) > 1:
            return True
    return False


def votes(metrics: Iterable[str], kind: str) -> list[int]:
    """The numbers k for which there is a metric `kind@k`, smallest first."""
    split = (name.partition("@") for name in metrics)
    return sorted(int(k) for name, _, k in split if name == kind and k.isdecimal())
