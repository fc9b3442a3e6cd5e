"""How GSM8K and MATH-500 are laid out: P@1, Maj@k and pass@k, or exact match.

For: the tasks that `dataset_kwargs` of their configuration says are ours.
Not for: lm-eval's own GSM8K and MATH tasks (others.py), nor for answers and their scores
(iha_eval.reasoning).
"""

from collections.abc import Sequence

from iha_eval.compare.analysis.benchmarks import (
    Benchmark,
    Part,
    Row,
    Table,
    metric_label,
    metrics_of,
    votes,
)
from iha_eval.compare.inputs.pairing import Task
from iha_eval.compare.inputs.runs import Run

LABELS = {"gsm8k": "GSM8K", "math500": "MATH-500"}
"""Name of a benchmark -> its name for the reader."""

_FILTER = "none"


def benchmark_of(run: Run, task: str) -> str | None:
    """The benchmark that a task of ours belongs to; None for other tasks."""
    given = run.part("configs", task, "dataset_kwargs")
    name = given.get("benchmark")
    return name if name in LABELS and "voting" in given else None


def lay_out(name: str, tasks: Sequence[Task]) -> Benchmark:
    """The benchmark `name` of its tasks, of which there is at least one.

    The row that decides is the one with the most votes; without votes, exact match.
    """
    metrics = {task.name: metrics_of(task, _FILTER) for task in tasks}
    most = max(metrics, key=lambda task: max(votes(metrics[task], "maj"), default=0))
    tables = [
        Table(
            f"{LABELS[name]}: {task}",
            None,
            "P@1, Maj@k and pass@k" if votes(found, "maj") else metric_label("exact_match"),
            _rows(task, found, decides=task == most),
        )
        for task, found in metrics.items()
    ]
    return Benchmark(name, LABELS[name], tables)


def _rows(task: str, metrics: Sequence[str], *, decides: bool) -> list[Row]:
    """P@1 is Maj@1 and pass@1 too, so that those have no row."""
    majority = [k for k in votes(metrics, "maj") if k > 1]
    passed = [k for k in votes(metrics, "pass") if k > 1]
    single = "exact_match" if "exact_match" in metrics else "p@1"
    names = [(single, None), *((f"maj@{k}", k) for k in majority)]
    deciding = names[-1][0] if decides else None
    names += [(f"pass@{k}", k) for k in passed]
    return [
        Row(
            task,
            metric_label(metric),
            metric,
            (Part(task, _FILTER, metric),),
            k=k,
            decides=metric == deciding,
        )
        for metric, k in names
    ]
