"""Methods by several training runs each: what holds beyond two checkpoints.

For: the rows and sentences of `iha-eval compare --seeds`.
Not for: the statistics (iha_eval.statistics.seeds), nor for two checkpoints (measured_rows.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from iha_eval.compare.analysis.report_rows import PlannedBenchmark, PlannedRow, plan, row_name
from iha_eval.compare.analysis.score_checks import without_wrong_scores
from iha_eval.compare.inputs.pairing import Pairing, Side, pair
from iha_eval.compare.inputs.runs import Run
from iha_eval.compare.inputs.samples import Key, Sample
from iha_eval.errors import UserError
from iha_eval.statistics import ALPHA, SeedDifference, holm, seed_difference
from iha_eval.statistics.verdict import difference_in_words
from iha_eval.util.text import counted


@dataclass(frozen=True)
class PairedRun:
    """A run, paired with the first run of the baseline."""

    pairing: Pairing
    side: Side

    def samples(self, task: str) -> Mapping[Key, Sample]:
        """The samples of one task."""
        return self.pairing.task(task).side(self.side)


def compare_seeds(
    groups: Mapping[str, Sequence[Run]], baseline: str, margin: float
) -> list[dict[str, Any]]:
    """A row for each method other than the baseline and each row of each table.

    The rows by which benchmarks are judged are one family of p-values (Holm); the other rows of
    each table are a family of their own.

    Args:
        groups: Method -> its training runs; two methods at least, one of them with two runs.
        baseline: The method that the others are measured by.
        margin: Points that matter.

    Raises:
        UserError: Two runs of a method are of one checkpoint, no method has two runs, or the runs
            have no paired questions in common.
    """
    _refuse_copies(groups)
    paired = _pair_all(groups, baseline)
    first = next(runs[0] for name, runs in paired.items() if name != baseline)
    families: dict[str, list[tuple[str, PlannedRow, str, SeedDifference]]] = {}
    for benchmark, label, row in _rows(plan(first.pairing), paired):
        for name in groups:
            if name == baseline:
                continue
            difference = seed_difference(
                _scores(paired[name], row, paired), _scores(paired[baseline], row, paired)
            )
            if difference is not None:
                family = "" if row.decides else label
                entry = (name, row, benchmark, difference)
                families.setdefault(family, []).append(entry)
    rows = [
        _row(entry, p, baseline, margin)
        for family in families.values()
        for entry, p in zip(family, holm([entry[3].p for entry in family]), strict=True)
    ]
    if not rows:
        raise UserError("The runs have no paired questions in common: run all on the same tasks.")
    return rows


def _refuse_copies(groups: Mapping[str, Sequence[Run]]) -> None:
    if max(map(len, groups.values())) < 2:
        raise UserError(
            "--seeds needs two training runs of one model at least: with one each, nothing is "
            "known of how training runs vary."
        )
    for name, runs in groups.items():
        seen: dict[str, Run] = {}
        for run in runs:
            mark = run.part("config", "iha_eval", "checkpoint").get("fingerprint")
            if mark and mark in seen:
                raise UserError(
                    f"{name}: {seen[mark].path} and {run.path} are of one checkpoint (fingerprint "
                    f"{mark[:12]}): give runs of checkpoints that were trained with other seeds."
                )
            if mark:
                seen[mark] = run


def _pair_all(groups: Mapping[str, Sequence[Run]], baseline: str) -> dict[str, list[PairedRun]]:
    """All runs, paired with the first of the baseline, which stands in the first such pairing."""
    reference = groups[baseline][0]
    paired: dict[str, list[PairedRun]] = {}
    for name, runs in groups.items():
        others = [run for run in runs if run is not reference]
        paired[name] = [
            PairedRun(without_wrong_scores(pair(run, reference)), "iha") for run in others
        ]
    some = next(run for runs in paired.values() for run in runs)
    paired[baseline].insert(0, PairedRun(some.pairing, "baseline"))
    return paired


def _rows(
    benchmarks: Sequence[PlannedBenchmark], paired: Mapping[str, Sequence[PairedRun]]
) -> list[tuple[str, str, PlannedRow]]:
    """Benchmark, table and row of what every run has."""
    everywhere = set.intersection(
        *({task.name for task in run.pairing.tasks} for runs in paired.values() for run in runs)
    )
    return [
        (benchmark.label, table.label, row)
        for benchmark in benchmarks
        for table in benchmark.tables
        for row in table.rows
        if all(column.task in everywhere for column in row.columns)
    ]


def _scores(
    runs: Sequence[PairedRun], row: PlannedRow, paired: Mapping[str, Sequence[PairedRun]]
) -> list[list[float | None]]:
    """The scores of each run on the documents that all runs of all methods have, in one order."""
    scores: list[list[float | None]] = [[] for _ in runs]
    for column in row.columns:
        shared = sorted(
            set.intersection(
                *(set(run.samples(column.task)) for group in paired.values() for run in group)
            )
        )
        keys = [key for key in shared if key[0] == column.filter]
        for number, run in enumerate(runs):
            samples = run.samples(column.task)
            scores[number] += [samples[key].scores.get(column.metric) for key in keys]
    return scores


def _row(
    entry: tuple[str, PlannedRow, str, SeedDifference],
    p: float | None,
    baseline: str,
    margin: float,
) -> dict[str, Any]:
    name, row, benchmark, difference = entry
    assert p is not None
    word, claim = _claim(name, baseline, difference, p, margin)
    means = [sum(means) / len(means) for means in (difference.means_a, difference.means_b)]
    runs = f"{difference.seeds_a} and {counted(difference.seeds_b, 'training run')}"
    numbers = (
        difference_in_words(
            means[0], means[1], (difference.points, difference.low, difference.high), p
        )
        + f", {runs}, {counted(difference.n, 'question')}; "
        f"standard error {difference.seed_error:.1f} points from training runs, "
        f"{difference.question_error:.1f} from questions"
    )
    what = row_name(row)
    return {
        "model": name,
        "baseline": baseline,
        "benchmark": benchmark,
        "label": what,
        "decides": row.decides,
        **asdict(difference),
        "means_a": list(difference.means_a),
        "means_b": list(difference.means_b),
        "p_corrected": p,
        "word": word,
        "sentence": f"{benchmark} ({what}): {claim}: {numbers}.",
    }


def _claim(
    name: str, baseline: str, difference: SeedDifference, p: float, margin: float
) -> tuple[str, str]:
    """The word, and what can be said of the methods."""
    if p <= ALPHA:
        beats = "beats" if difference.points > 0 else "is beaten by"
        return "better" if difference.points > 0 else "worse", f"{name} {beats} {baseline}"
    if -margin < difference.low <= 0 <= difference.high < margin:
        return "no significant difference", f"no difference of {margin:g} points or more"
    if difference.enough_seeds is None:
        more = "more training runs alone would not show a difference of this size"
    else:
        more = f"not enough seeds, {difference.enough_seeds} of each would do"
    return "not enough data", f"whether {name} beats {baseline} cannot be said ({more})"
