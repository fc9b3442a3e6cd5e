"""One sentence for each benchmark, from the rows that decide, or why there is none.

For: the top of a report. Not for: judging (iha_eval.statistics.verdict), nor for choosing the rows,
which the plan does before any number is known.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from iha_eval.compare.analysis.measured_rows import MeasuredRow
from iha_eval.compare.analysis.report_rows import (
    PlannedBenchmark,
    PlannedRow,
    benchmark_of,
    metric_label,
    row_name,
)
from iha_eval.compare.inputs.pairing import SIDES, Pairing, Side, listed

#: What stands in place of a verdict.
NOT_COMPARED = "not compared"

#: The word of a benchmark in which one metric is better and another one worse.
MIXED = "mixed"


def headlines(
    benchmarks: Sequence[PlannedBenchmark],
    cells: Mapping[PlannedRow, MeasuredRow],
    pairing: Pairing,
    models: Mapping[Side, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """A headline for each benchmark of either run; those that are not compared come last.

    Args:
        benchmarks: The plan.
        cells: Its rows with their numbers.
        pairing: The runs.
        models: What is known of both models, see `describe_models`.
    """
    left_out = _left_out(pairing)
    lines = []
    for benchmark in benchmarks:
        rows = [cells[row] for table in benchmark.tables for row in table.rows if row.decides]
        if rows:
            missing = list(left_out.pop((benchmark.name, benchmark.label), ()))
            lines.append(_headline(benchmark, rows, missing, models))
    for benchmark in benchmarks:
        if not benchmark.tables:
            left_out.pop((benchmark.name, benchmark.label), None)
            lines.append(_absent(benchmark.name, benchmark.label, " ".join(benchmark.warnings)))
    for (name, label), tasks in left_out.items():
        why = next(iter(tasks.values()))
        same = [task for task in tasks if tasks[task] == why]
        more = len(tasks) - len(same)
        also = f"; {more} more for other reasons" if more else ""
        what = f"{listed(same)}: {why.rstrip('.')}{also}."
        lines.append(_absent(name, label, what))
    return lines


def _left_out(pairing: Pairing) -> dict[tuple[str, str], dict[str, str]]:
    """Name and label of a benchmark -> its tasks that are not compared -> why."""
    reasons: dict[tuple[str, str], dict[str, str]] = {}
    for task, why in pairing.not_compared.items():
        run = next(run for run in pairing.runs.values() if task in run.tasks)
        reasons.setdefault(benchmark_of(run, task), {})[task] = why
    return reasons


def _absent(name: str, label: str, what: str) -> dict[str, Any]:
    return {
        "benchmark": name,
        "label": label,
        "metric": None,
        "decided_by": None,
        "word": NOT_COMPARED,
        "sentence": f"{label}: {NOT_COMPARED}, {what}",
    }


def _headline(
    benchmark: PlannedBenchmark,
    rows: Sequence[MeasuredRow],
    left_out: Sequence[str],
    models: Mapping[Side, Mapping[str, Any]],
) -> dict[str, Any]:
    what = "; ".join(row_name(row.row) for row in rows)
    word, claim = _claim(rows, _names(models))
    numbers = " ".join(f"{row_name(row.row)}: {row.verdict.numbers}." for row in rows)
    more = f" Not compared: {listed(left_out)}." if left_out else ""
    return {
        "benchmark": benchmark.name,
        "label": benchmark.label,
        "metric": rows[-1].row.metric,
        "decided_by": what,
        "word": word,
        "sentence": f"{benchmark.label}: {claim}, {_training_runs(models)}. {numbers}{more}",
    }


def _claim(rows: Sequence[MeasuredRow], names: tuple[str, str]) -> tuple[str, str]:
    """The word of all rows together, and the same as a clause."""
    a, b = names
    by_word: dict[str, list[str]] = {}
    for row in rows:
        by_word.setdefault(row.verdict.word, []).append(metric_label(row.row.metric))
    better, worse = by_word.get("better"), by_word.get("worse")
    if better and worse:
        claim = f"{a} is better than {b} at {listed(better)} and worse at {listed(worse)}"
        return MIXED, claim
    for word, metrics in (("better", better), ("worse", worse)):
        if metrics:
            where = "" if len(metrics) == len(rows) else f" at {listed(metrics)}"
            return word, f"{a} is {word} than {b}{where}"
    if "not enough data" in by_word:
        return "not enough data", f"not enough data to tell {a} from {b}"
    return "no significant difference", f"no significant difference between {a} and {b}"


def _names(models: Mapping[Side, Mapping[str, Any]]) -> tuple[str, str]:
    """What a headline calls the two checkpoints; with fingerprints where their names are equal."""
    names = [str(models[side]["name"]) for side in SIDES]
    if names[0] == names[1]:
        prints = [str(models[side]["fingerprint"] or "")[:8] for side in SIDES]
        names = [f"{name} {mark}".strip() for name, mark in zip(names, prints, strict=True)]
    # Of other model classes nobody says what they are.
    a = names[0] if models["iha"].get("is_iha") is False else f"IHA ({names[0]})"
    return a, f"the baseline ({names[1]})"


def _training_runs(models: Mapping[Side, Mapping[str, Any]]) -> str:
    """What a comparison of two checkpoints is about, which is not the two methods."""
    prints = {models[side]["fingerprint"] for side in SIDES}
    if len(prints) == 1 and None not in prints:
        return "which are one checkpoint"
    return "one training run each"
