"""What a comparison is about: benchmarks, their tables and rows, and the rows that decide.

For: the plan of a report, made from the names of tasks and metrics before any number is looked at:
RULER by length and variant, GSM8K and MATH-500 by votes, any other task by its metrics.
A benchmark that is to have a layout of its own is added here.
Not for: numbers (measured_rows.py).
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from iha_eval.compare.inputs.pairing import SIDES, ComparedTask, Pairing
from iha_eval.compare.inputs.runs import Run
from iha_eval.errors import UserError
from iha_eval.reasoning.scoring import RUN_HEALTH_METRICS
from iha_eval.ruler.definition import LENGTHS, length_label
from iha_eval.ruler.scoring import COMMON_METRICS, METRICS
from iha_eval.ruler.suite import TASKS

RULER_NAME = "ruler_mk"
RULER_LABEL = "RULER multi-key retrieval"

SUITE_NAME = "ruler_all"
SUITE_LABEL = "RULER"

#: Name of a reasoning benchmark of ours -> its name for the reader.
REASONING_LABELS = {"gsm8k": "GSM8K", "math500": "MATH-500"}

#: RULER's own score, over all documents.
_RULER_DECIDES = METRICS[0]

_RULER_CELL = re.compile(r"^ruler_mk_(multikey_[123])_(\d+)(k?)$")

_SUITE_CELL = re.compile(rf"^ruler_({'|'.join(TASKS)})_(\d+)(k?)$")

_REASONING_FILTER = "none"

_LABELS = {
    "string_match": "string match",
    "first_answer": "first answer",
    "strict_match": "strict match",
    "exact_match": "exact match",
    "p@1": "P@1",
}


@dataclass(frozen=True)
class ScoreColumn:
    """The scores of one task, filter and metric."""

    task: str
    filter: str
    metric: str


@dataclass(frozen=True)
class PlannedRow:
    """One comparison.

    Attributes:
        task: The task, or what stands for several.
        label: What a table calls it.
        metric: What is compared; a filter other than "none" follows after a comma.
        columns: Whose documents are taken together, each document counting the same.
        variant: RULER's variant; None elsewhere, and over several.
        length: RULER's length in tokens; None elsewhere, and over several.
        k: Number of votes; None elsewhere.
        decides: Whether it is one that the benchmark is judged by.
        partial: Whether it stands for several tasks, some of which are not compared or not there,
            or for other lengths than RULER's usual ones, so that no number of the paper fits.
    """

    task: str
    label: str
    metric: str
    columns: tuple[ScoreColumn, ...]
    variant: str | None = None
    length: int | None = None
    k: int | None = None
    decides: bool = False
    partial: bool = False


@dataclass(frozen=True)
class PlannedTable:
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
    rows: Sequence[PlannedRow]


@dataclass(frozen=True)
class PlannedBenchmark:
    """Tasks that are judged by one sentence.

    Attributes:
        name: Such as `ruler_mk`.
        label: The same for the reader.
        tables: Their rows; one or two of all decide.
        warnings: What was left out, each a sentence.
    """

    name: str
    label: str
    tables: Sequence[PlannedTable]
    warnings: Sequence[str] = ()


def plan(pairing: Pairing) -> list[PlannedBenchmark]:
    """The benchmarks: RULER first, then GSM8K, MATH-500 and all others in the order of the run.

    Args:
        pairing: Two runs.

    Raises:
        UserError: No task has a metric that can be compared.
    """
    run = pairing.runs["iha"]
    cells: list[ComparedTask] = []
    suite: list[ComparedTask] = []
    ours: dict[str, list[ComparedTask]] = {name: [] for name in REASONING_LABELS}
    rest: dict[str, list[ComparedTask]] = {}
    for task in pairing.tasks:
        name, label = benchmark_of(run, task.name)
        if label == RULER_LABEL:
            cells.append(task)
        elif label == SUITE_LABEL:
            suite.append(task)
        # lm-eval's own task of that name has another label.
        elif REASONING_LABELS.get(name) == label:
            ours[name].append(task)
        else:
            rest.setdefault(name, []).append(task)
    benchmarks = [_lay_out_ruler(cells, pairing.not_compared)] if cells else []
    benchmarks += [_lay_out_suite(suite, pairing.not_compared)] if suite else []
    benchmarks += [_lay_out_reasoning(name, tasks) for name, tasks in ours.items() if tasks]
    benchmarks += [_lay_out_generic(run, name, tasks) for name, tasks in rest.items()]
    _refuse_empty(benchmarks)
    return benchmarks


def benchmark_of(run: Run, task: str) -> tuple[str, str]:
    """The benchmark that a task of a run belongs to, and its name for the reader."""
    if ruler_cell(task):
        return RULER_NAME, RULER_LABEL
    if suite_cell(task):
        return SUITE_NAME, SUITE_LABEL
    ours = reasoning_benchmark(run, task)
    if ours:
        return ours, REASONING_LABELS[ours]
    name = _group_of(run, task)
    return name, name


def _refuse_empty(benchmarks: Sequence[PlannedBenchmark]) -> None:
    if not any(benchmark.tables for benchmark in benchmarks):
        reasons = " ".join(warning for benchmark in benchmarks for warning in benchmark.warnings)
        raise UserError(
            f"The runs have nothing to compare ({reasons}): run tasks whose scores lie between 0 "
            "and 1."
        )


def ruler_cell(task: str) -> tuple[int, str] | None:
    """Length in tokens and variant of a task; None if it is no cell of ruler_mk."""
    return _cell(_RULER_CELL, task)


def suite_cell(task: str) -> tuple[int, str] | None:
    """Length in tokens and name of one of RULER's thirteen tasks; None if it is none of them."""
    return _cell(_SUITE_CELL, task)


def _cell(pattern: re.Pattern[str], task: str) -> tuple[int, str] | None:
    match = pattern.match(task)
    return (int(match[2]) * (1024 if match[3] else 1), match[1]) if match else None


def _lay_out_suite(tasks: Sequence[ComparedTask], left_out: Iterable[str] = ()) -> PlannedBenchmark:
    """The benchmark of RULER's own tasks among some tasks; there is at least one.

    Each length has its tasks in RULER's order and their mean, in which each document counts the
    same, as all tasks have as many; a mean of fewer than thirteen tasks is called so.

    Args:
        tasks: What is compared.
        left_out: Names of tasks that a run has and that are not compared.
    """
    order = list(TASKS)
    cells = {place: task.name for task in tasks if (place := suite_cell(task.name))}
    lost = [place[0] for name in left_out if (place := suite_cell(name))]
    places = sorted(cells, key=lambda place: (place[0], order.index(place[1])))
    tables = []
    for metric in COMMON_METRICS:
        rows = []
        for length, group in groupby(places, key=lambda place: place[0]):
            members, short = list(group), length_label(length)
            columns = tuple(ScoreColumn(cells[place], "none", metric) for place in members)
            rows += [
                PlannedRow(column.task, f"{title}, {short}", metric, (column,), title, length)
                for (_, title), column in zip(members, columns, strict=True)
            ]
            if len(members) > 1:
                name, label = f"{SUITE_NAME}_{short}", f"all {len(order)} tasks, {short}"
                if len(members) < len(order):
                    some = f"{len(members)} of {len(order)}"
                    name, label = f"{name} ({some})", f"{some} tasks, {short}"
                partial = length in lost
                rows.append(PlannedRow(name, label, metric, columns, None, length, partial=partial))
        columns = tuple(ScoreColumn(cells[place], "none", metric) for place in places)
        lengths = {length for length, _ in places}
        most = len(order) * len(lengths)
        rows.append(
            PlannedRow(
                *_suite_names(places, most),
                metric,
                columns,
                decides=metric == COMMON_METRICS[0],
                partial=bool(lost) or len(places) < most or lengths != set(LENGTHS),
            )
        )
        label = metric_label(metric)
        tables.append(PlannedTable(f"{SUITE_LABEL}: {label}", metric, label, rows))
    return PlannedBenchmark(SUITE_NAME, SUITE_LABEL, tables)


def _suite_names(places: Sequence[tuple[int, str]], most: int) -> tuple[str, str]:
    """Task and label of all cells; some tasks at every length are called so many of thirteen."""
    lengths, names = ({place[part] for place in places} for part in (0, 1))
    if len(places) == most:
        return SUITE_NAME, "all lengths and tasks"
    if len(places) == len(lengths) * len(names):
        some = f"{len(names)} of {len(TASKS)}"
        return f"{SUITE_NAME} ({some})", f"{some} tasks, all lengths"
    some = f"{len(places)} of {most}"
    return f"{SUITE_NAME} ({some})", f"{some} cells"


def _lay_out_ruler(tasks: Sequence[ComparedTask], left_out: Iterable[str] = ()) -> PlannedBenchmark:
    """The benchmark of the cells among some tasks; there is at least one.

    Args:
        tasks: What is compared.
        left_out: Names of tasks that a run has and that are not compared.
    """
    cells = sorted((place, task.name) for task in tasks if (place := ruler_cell(task.name)))
    lengths = [place[0] for name in left_out if (place := ruler_cell(name))]
    label = f"{RULER_LABEL}: {{}}"
    return PlannedBenchmark(
        RULER_NAME,
        RULER_LABEL,
        [
            PlannedTable(label.format(metric_label(metric)), metric, metric_label(metric), rows)
            for metric in METRICS
            for rows in [_ruler_rows(cells, metric, lengths)]
        ],
    )


def _ruler_rows(
    cells: Sequence[tuple[tuple[int, str], str]], metric: str, left_out: Sequence[int]
) -> list[PlannedRow]:
    """Each length with its variants and their mean, then everything.

    Rows of several cells say so where some are left out, whose lengths are given.
    """
    rows: list[PlannedRow] = []
    for length, group in groupby(cells, key=lambda item: item[0][0]):
        members = list(group)
        short = length_label(length)
        rows += [
            PlannedRow(
                name,
                f"{variant}, {short}",
                metric,
                (ScoreColumn(name, "none", metric),),
                variant,
                length,
            )
            for (_, variant), name in members
        ]
        if len(members) > 1:
            columns = tuple(ScoreColumn(name, "none", metric) for _, name in members)
            lost = left_out.count(length)
            some = f"all that were compared, {short} ({_of(members, lost)} variants)"
            together = some if lost else f"all variants, {short}"
            row = PlannedRow(
                f"{RULER_NAME}_{short}", together, metric, columns, None, length, partial=lost > 0
            )
            rows.append(row)
    columns = tuple(ScoreColumn(name, "none", metric) for _, name in cells)
    total = "all lengths and variants"
    if left_out:
        total = f"all that were compared ({_of(cells, len(left_out))} cells)"
    decides = metric == _RULER_DECIDES
    rows.append(
        PlannedRow(RULER_NAME, total, metric, columns, decides=decides, partial=bool(left_out))
    )
    return rows


def _of(there: Sequence[object], left_out: int) -> str:
    return f"{len(there)} of {len(there) + left_out}"


def reasoning_benchmark(run: Run, task: str) -> str | None:
    """The benchmark that a task of ours belongs to; None for other tasks."""
    given = run.part("configs", task, "dataset_kwargs")
    name = given.get("benchmark")
    return name if name in REASONING_LABELS and "voting" in given else None


def _lay_out_reasoning(name: str, tasks: Sequence[ComparedTask]) -> PlannedBenchmark:
    """The benchmark `name` of its tasks, of which there is at least one.

    Two rows decide, of the task with the most votes: P@1, which is the most sensitive, and the
    majority of all votes; without votes, exact match.
    """
    metrics = {task.name: metrics_of(task, _REASONING_FILTER) for task in tasks}
    most = max(metrics, key=lambda task: max(votes(metrics[task], "maj"), default=0))
    tables = [
        PlannedTable(
            f"{REASONING_LABELS[name]}: {task}",
            None,
            "P@1, Maj@k and pass@k" if votes(names, "maj") else metric_label("exact_match"),
            _reasoning_rows(task, names, decides=task == most),
        )
        for task, names in metrics.items()
    ]
    return PlannedBenchmark(name, REASONING_LABELS[name], tables)


def _reasoning_rows(task: str, metrics: Sequence[str], *, decides: bool) -> list[PlannedRow]:
    """P@1 is Maj@1 and pass@1 too, so that those have no row."""
    majority = [k for k in votes(metrics, "maj") if k > 1]
    passed = [k for k in votes(metrics, "pass") if k > 1]
    single = "exact_match" if "exact_match" in metrics else "p@1"
    names = [(single, None), *((f"maj@{k}", k) for k in majority)]
    deciding = {names[0][0], names[-1][0]} if decides else set()
    names += [(f"pass@{k}", k) for k in passed]
    return [
        PlannedRow(
            task,
            metric_label(metric),
            metric,
            (ScoreColumn(task, _REASONING_FILTER, metric),),
            k=k,
            decides=metric in deciding,
        )
        for metric, k in names
    ]


def _group_of(run: Run, task: str) -> str:
    """The outermost group with scores of its own that a task is in, or the task itself."""
    parents = {
        child: group
        for group, children in run.part("group_subtasks").items()
        if isinstance(children, list)
        for child in map(str, children)
    }
    outermost, place, seen = task, task, {task}
    while (place := parents.get(place, "")) and place not in seen:
        seen.add(place)
        outermost = place if place in run.part("groups") else outermost
    return outermost


def _lay_out_generic(run: Run, name: str, tasks: Sequence[ComparedTask]) -> PlannedBenchmark:
    """The benchmark `name` of its tasks; without tables if they have no metric to compare.

    The first metric decides, over the documents of all tasks.
    """
    columns: dict[str, list[ScoreColumn]] = {}
    unfit: dict[str, None] = {}
    for task in tasks:
        better = run.part("higher_is_better", task.name)
        for filter_name in task.filters:
            for metric in metrics_of(task, filter_name):
                if metric in RUN_HEALTH_METRICS:
                    continue
                full = metric_name(metric, filter_name)
                if _is_comparable(task, filter_name, metric, better):
                    columns.setdefault(full, []).append(ScoreColumn(task.name, filter_name, metric))
                else:
                    unfit[full] = None
    tables = [
        PlannedTable(
            name if len(columns) == 1 else f"{name}: {metric_label(full)}",
            full,
            metric_label(full),
            _generic_rows(name, full, columns_of_filter, decides=full == next(iter(columns))),
        )
        for full, columns_of_filter in columns.items()
    ]
    return PlannedBenchmark(name, name, tables, _generic_warnings(name, list(unfit), bool(tables)))


def _is_comparable(
    task: ComparedTask, filter_name: str, metric: str, better: Mapping[str, object]
) -> bool:
    return better.get(metric) is not False and not out_of_range(task, filter_name, metric)


def _generic_rows(
    name: str, metric: str, columns: Sequence[ScoreColumn], *, decides: bool
) -> list[PlannedRow]:
    several = len(columns) > 1
    alone = decides and not several
    rows = [
        PlannedRow(column.task, column.task, metric, (column,), decides=alone) for column in columns
    ]
    if several:
        rows.append(PlannedRow(name, f"all of {name}", metric, tuple(columns), decides=decides))
    return rows


def _generic_warnings(name: str, unfit: Sequence[str], any_table: bool) -> list[str]:
    if any_table and not unfit:
        return []
    if not unfit:
        return [f"{name} has no metric in both runs: left out."]
    return [
        f"{name}: {', '.join(unfit)} left out, for it is not a score from 0 to 1 on each document "
        "of which more is better."
    ]


def metric_label(metric: str) -> str:
    """What a metric is called, such as `Maj@16`."""
    name, comma, filter_name = metric.partition(",")
    shown = _LABELS.get(name) or (
        name.replace("maj@", "Maj@") if name.startswith("maj@") else name.replace("_", " ")
    )
    return f"{shown} ({filter_name})" if comma else shown


def row_name(row: PlannedRow) -> str:
    """What a row compares, such as `Maj@16, gsm8k_maj`."""
    label = metric_label(row.metric)
    return f"{label}, {row.task if row.label == label else row.label}"


def metric_name(metric: str, filter_name: str) -> str:
    """A metric as lm-eval names it, without the filter that does nothing."""
    return metric if filter_name == "none" else f"{metric},{filter_name}"


def metrics_of(task: ComparedTask, filter_name: str) -> list[str]:
    """The metrics that both runs have under a filter, in the order of the file."""
    by_side: list[dict[str, None]] = []
    for side in SIDES:
        names: dict[str, None] = {}
        for key, sample in task.side(side).items():
            if key[0] == filter_name:
                names.update(dict.fromkeys(sample.scores))
        by_side.append(names)
    return [name for name in by_side[0] if name in by_side[1]]


def out_of_range(task: ComparedTask, filter_name: str, metric: str) -> bool:
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
