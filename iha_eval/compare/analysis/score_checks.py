"""Scores that are missing on one side, and scores of our benchmarks that cannot be.

For: the warnings about them, and leaving a task of ours out whose scores lie outside [0, 1].
Not for: documents that one run alone has (inputs/pairing.py), for leaving single questions out,
which the statistics do and count, nor for other tasks, of which any number may be a score
(report_rows.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from iha_eval.compare.analysis.report_rows import (
    PlannedBenchmark,
    ScoreColumn,
    metric_name,
    reasoning_benchmark,
    ruler_cell,
    suite_cell,
)
from iha_eval.compare.inputs.pairing import SIDES, ComparedTask, Pairing, Side, broken_off
from iha_eval.errors import UserError
from iha_eval.util.text import counted


def missing_scores(pairing: Pairing, benchmarks: Sequence[PlannedBenchmark]) -> list[str]:
    """A sentence for each task and for all of its metrics that lack the same scores.

    Args:
        pairing: Two runs.
        benchmarks: What is compared.
    """
    columns = dict.fromkeys(
        column
        for benchmark in benchmarks
        for table in benchmark.tables
        for row in table.rows
        for column in row.columns
    )
    metrics_without: dict[tuple[str, str], list[str]] = {}
    for column in columns:
        for what in _missing(pairing, column):
            name = metric_name(column.metric, column.filter)
            metrics_without.setdefault((column.task, what), []).append(name)
    return [
        f"{task}, {', '.join(metrics)}: {what}: not a number or missing, left out."
        for (task, what), metrics in metrics_without.items()
    ]


def _missing(pairing: Pairing, column: ScoreColumn) -> Iterator[str]:
    """How many questions have no score on one side, in words; nothing if all have one."""
    task = pairing.task(column.task)
    mine = {side: [key for key in task.side(side) if key[0] == column.filter] for side in SIDES}
    if task.paired:
        both = [key for key in task.common if key[0] == column.filter]
        mine = dict.fromkeys(SIDES, both)

    def lacking(side: Side) -> set[tuple[str, int]]:
        scores = {key: task.side(side)[key].scores.get(column.metric) for key in mine[side]}
        # NaN is not equal to itself.
        return {key for key, score in scores.items() if score is None or score != score}

    ours, theirs = (lacking(side) for side in SIDES)
    if not (ours or theirs):
        return
    if task.paired:
        total, out = len(mine["iha"]), len(ours | theirs)
    else:
        total, out = sum(map(len, mine.values())), len(ours) + len(theirs)
    yield (
        f"no score on one side for {out} of {counted(total, 'question')} (IHA {len(ours)}, "
        f"baseline {len(theirs)})"
    )


def without_wrong_scores(pairing: Pairing) -> Pairing:
    """The same without the tasks of ours that have a score outside [0, 1], with a warning each.

    Args:
        pairing: Two runs.

    Raises:
        UserError: No other task is left.
    """
    run = pairing.runs["iha"]
    ours = [
        task
        for task in pairing.tasks
        if ruler_cell(task.name) or suite_cell(task.name) or reasoning_benchmark(run, task.name)
    ]
    wrong = {task.name: what for task in ours if (what := _wrong(task))}
    left = [task for task in pairing.tasks if task.name not in wrong]
    if not wrong:
        return pairing
    if not left:
        raise UserError(next(iter(wrong.values())))
    return replace(
        pairing,
        tasks=left,
        paired=all(task.paired for task in left),
        warnings=(*broken_off(wrong), *pairing.warnings),
        refused={**pairing.refused, **wrong},
    )


def _wrong(task: ComparedTask) -> str:
    """The first score that is none, as a sentence; empty if all are."""
    for side in SIDES:
        for sample in task.side(side).values():
            for metric, score in sample.scores.items():
                if score < 0 or score > 1:
                    return (
                        f"{task.sides[side].path} has {metric}={score:g} where a score from 0 to 1 "
                        "belongs: it was changed, so run lm-eval again."
                    )
    return ""
