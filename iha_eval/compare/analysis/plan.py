"""From the tasks of two runs to the benchmarks of a report.

For: deciding which task belongs to which kind of benchmark. Not for: how each kind is laid out
(ruler.py, reasoning.py, others.py).
"""

from collections.abc import Sequence

from iha_eval.compare.analysis import others, reasoning, ruler
from iha_eval.compare.analysis.benchmarks import Benchmark
from iha_eval.compare.inputs.pairing import Pairing, Task
from iha_eval.compare.inputs.runs import Run
from iha_eval.errors import UserError


def plan(pairing: Pairing) -> list[Benchmark]:
    """The benchmarks: RULER first, then GSM8K, MATH-500 and all others in the order of the run.

    Args:
        pairing: Two runs.

    Raises:
        UserError: No task has a metric that can be compared.
    """
    run = pairing.runs["iha"]
    cells: list[Task] = []
    ours: dict[str, list[Task]] = {name: [] for name in reasoning.LABELS}
    rest: dict[str, list[Task]] = {}
    for task in pairing.tasks:
        name, label = benchmark_of(run, task.name)
        if label == ruler.LABEL:
            cells.append(task)
        # lm-eval's own task of that name has another label.
        elif reasoning.LABELS.get(name) == label:
            ours[name].append(task)
        else:
            rest.setdefault(name, []).append(task)
    found = [ruler.lay_out(cells, pairing.not_compared)] if cells else []
    found += [reasoning.lay_out(name, tasks) for name, tasks in ours.items() if tasks]
    found += [others.lay_out(run, name, tasks) for name, tasks in rest.items()]
    _refuse_empty(found)
    return found


def benchmark_of(run: Run, task: str) -> tuple[str, str]:
    """The benchmark that a task of a run belongs to, and its name for the reader."""
    if ruler.cell(task):
        return ruler.NAME, ruler.LABEL
    ours = reasoning.benchmark_of(run, task)
    if ours:
        return ours, reasoning.LABELS[ours]
    name = others.group_of(run, task)
    return name, name


def _refuse_empty(found: Sequence[Benchmark]) -> None:
    if not any(one.tables for one in found):
        reasons = " ".join(warning for one in found for warning in one.warnings)
        raise UserError(
            f"The runs have nothing to compare ({reasons}): run tasks whose scores lie between 0 "
            "and 1."
        )
