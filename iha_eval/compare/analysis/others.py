"""How any other task is laid out: by its metrics that lie in [0, 1], where higher is better.

For: lm-eval's own tasks and users' tasks, those of one group taken together.
Not for: ruler_mk, GSM8K and MATH-500, which are known better (ruler.py, reasoning.py).
"""

from collections.abc import Mapping, Sequence

from iha_eval.compare.analysis.benchmarks import (
    SHARES,
    Benchmark,
    Part,
    Row,
    Table,
    metric_label,
    metric_name,
    metrics_of,
    out_of_range,
)
from iha_eval.compare.inputs.pairing import Task
from iha_eval.compare.inputs.runs import Run


def group_of(run: Run, task: str) -> str:
    """The outermost group with scores of its own that a task is in, or the task itself."""
    parents = {
        child: group
        for group, children in run.part("group_subtasks").items()
        if isinstance(children, list)
        for child in map(str, children)
    }
    found, place, seen = task, task, {task}
    while (place := parents.get(place, "")) and place not in seen:
        seen.add(place)
        found = place if place in run.part("groups") else found
    return found


def lay_out(run: Run, name: str, tasks: Sequence[Task]) -> Benchmark:
    """The benchmark `name` of its tasks; without tables if they have no metric to compare.

    The first metric decides, over the documents of all tasks.
    """
    parts: dict[str, list[Part]] = {}
    unfit: dict[str, None] = {}
    for task in tasks:
        better = run.part("higher_is_better", task.name)
        for filter_name in task.filters:
            for metric in metrics_of(task, filter_name):
                if metric in SHARES:
                    continue
                full = metric_name(metric, filter_name)
                if _fit(task, filter_name, metric, better):
                    parts.setdefault(full, []).append(Part(task.name, filter_name, metric))
                else:
                    unfit[full] = None
    tables = [
        Table(
            name if len(parts) == 1 else f"{name}: {metric_label(full)}",
            full,
            metric_label(full),
            _rows(name, full, found, decides=full == next(iter(parts))),
        )
        for full, found in parts.items()
    ]
    return Benchmark(name, name, tables, _warnings(name, list(unfit), bool(tables)))


def _fit(task: Task, filter_name: str, metric: str, better: Mapping[str, object]) -> bool:
    return better.get(metric) is not False and not out_of_range(task, filter_name, metric)


def _rows(name: str, metric: str, parts: Sequence[Part], *, decides: bool) -> list[Row]:
    several = len(parts) > 1
    alone = decides and not several
    rows = [Row(part.task, part.task, metric, (part,), decides=alone) for part in parts]
    if several:
        rows.append(Row(name, f"all of {name}", metric, tuple(parts), decides=decides))
    return rows


def _warnings(name: str, unfit: Sequence[str], any_table: bool) -> list[str]:
    if any_table and not unfit:
        return []
    if not unfit:
        return [f"{name} has no metric in both runs: left out."]
    return [
        f"{name}: {', '.join(unfit)} left out, for it is not a score from 0 to 1 on each document "
        "of which more is better."
    ]
