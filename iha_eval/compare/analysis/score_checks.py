"""Questions that are in both runs and have no score in one of them.

For: the warnings of a report. Not for: documents that one run alone has (differences.py), nor for
leaving questions out, which the statistics do and count.
"""

from collections.abc import Iterator, Sequence

from iha_eval.compare.analysis.benchmarks import Benchmark, Part, metric_name
from iha_eval.compare.inputs.pairing import SIDES, Pairing, Side


def missing_scores(pairing: Pairing, benchmarks: Sequence[Benchmark]) -> list[str]:
    """A sentence for each task and for all of its metrics that lack the same scores.

    Args:
        pairing: Two runs.
        benchmarks: What is compared.
    """
    parts = dict.fromkeys(
        part
        for benchmark in benchmarks
        for table in benchmark.tables
        for row in table.rows
        for part in row.parts
    )
    found: dict[tuple[str, str], list[str]] = {}
    for part in parts:
        for what in _missing(pairing, part):
            name = metric_name(part.metric, part.filter)
            found.setdefault((part.task, what), []).append(name)
    return [
        f"{task}, {', '.join(metrics)}: {what}, not a number or missing, and are left out."
        for (task, what), metrics in found.items()
    ]


def _missing(pairing: Pairing, part: Part) -> Iterator[str]:
    """How many questions have no score on one side, in words; nothing if all have one."""
    task = pairing.task(part.task)
    mine = {side: [key for key in task.side(side) if key[0] == part.filter] for side in SIDES}
    if task.paired:
        both = [key for key in task.common if key[0] == part.filter]
        mine = dict.fromkeys(SIDES, both)

    def lacking(side: Side) -> set[tuple[str, int]]:
        scores = {key: task.side(side)[key].scores.get(part.metric) for key in mine[side]}
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
        f"{out} of {total} questions have no score on one side (IHA {len(ours)}, baseline "
        f"{len(theirs)})"
    )
