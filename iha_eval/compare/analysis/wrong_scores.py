"""Scores of our benchmarks that cannot be: files that were changed by hand, or broken.

For: leaving a task out whose scores are outside [0, 1], and comparing the others.
Not for: other tasks, of which any number may be a score and only some are compared (others.py).
"""

from dataclasses import replace

from iha_eval.compare.analysis import reasoning, ruler
from iha_eval.compare.inputs.pairing import SIDES, Pairing, Task, broken_off
from iha_eval.errors import UserError


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
        if ruler.cell(task.name) or reasoning.benchmark_of(run, task.name)
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


def _wrong(task: Task) -> str:
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
