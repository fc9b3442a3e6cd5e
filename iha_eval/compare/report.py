"""The whole comparison as one dictionary of JSON's types: what report.json holds.

For: putting the parts together; page, message and machine read nothing else.
Not for: the parts themselves, each of which has a module of its own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iha_eval.compare.analysis.alpha_maps import read_maps
from iha_eval.compare.analysis.disagreements import both_wrong, disagreements
from iha_eval.compare.analysis.headlines import headlines
from iha_eval.compare.analysis.measured_rows import (
    CORRECTIONS,
    Correction,
    MeasuredRow,
    curves,
    depth_maps,
    measure_together,
)
from iha_eval.compare.analysis.provenance import (
    data_warnings,
    describe_models,
    model_warnings,
    provenance,
)
from iha_eval.compare.analysis.report_rows import PlannedBenchmark, PlannedRow, plan
from iha_eval.compare.analysis.ruler_summary import ruler_summary
from iha_eval.compare.analysis.score_checks import missing_scores, without_wrong_scores
from iha_eval.compare.inputs.pairing import SIDES, Pairing, pair
from iha_eval.compare.inputs.runs import load_run
from iha_eval.compare.schema import SCHEMA, Report
from iha_eval.errors import UserError
from iha_eval.statistics import MARGIN
from iha_eval.util.text import clean_all


def build_report(
    iha_run: Path | str,
    baseline_run: Path | str,
    *,
    unpaired: bool = False,
    correction: Correction = "holm",
    margin: float = MARGIN,
    title: str | None = None,
    commit: str | None = None,
    command: Sequence[str] = (),
) -> Report:
    """Compare two runs.

    The same files and arguments make the same report. Texts in it are fit to be shown but not
    escaped.

    Args:
        iha_run: Results file or folder of the model in question.
        baseline_run: The same of the model it is measured by.
        unpaired: Compare tasks that cannot be paired, as separate questions.
        correction: How p-values are corrected: `holm` or `fdr`.
        margin: Points that matter, above 0.
        title: The report's; made of the models' names if None.
        commit: To be told in the report.
        command: The command line that asked for the report, to be told in it.

    Returns:
        The report; scores from 0 to 1, differences in points.

    Raises:
        UserError: A run is missing or broken, or the two cannot be compared.
    """
    options = {
        "unpaired": unpaired,
        "correction": correction,
        "margin": margin,
        "title": title,
        "commit": commit,
    }
    asked = {"command": list(command), "options": options}
    [report] = build_reports([(iha_run, baseline_run)], asked)
    return report


def build_reports(
    pairs: Sequence[tuple[Path | str, Path | str]], asked: Mapping[str, Any]
) -> list[Report]:
    """Compare several pairs of runs, whose p-values are corrected together.

    Args:
        pairs: The runs of each comparison, the baseline's second.
        asked: `command` and `options` as `build_report` has them; the options decide.

    Returns:
        A report for each pair.

    Raises:
        UserError: A run is missing or broken, or two cannot be compared.
    """
    correction, margin = asked["options"]["correction"], asked["options"]["margin"]
    if correction not in CORRECTIONS:
        raise UserError(f"correction is {correction!r}: it is {' or '.join(CORRECTIONS)}.")
    if not 0 < margin <= 100:
        raise UserError(f"margin is {margin:g}: give the points that matter, above 0 up to 100.")
    unpaired = asked["options"]["unpaired"]
    planned: list[tuple[Pairing, list[PlannedBenchmark]]] = []
    for runs in pairs:
        iha, baseline = map(load_run, runs)
        pairing = without_wrong_scores(pair(iha, baseline, unpaired=unpaired))
        planned.append((pairing, plan(pairing)))
    measured = measure_together(planned, correction, margin)
    return [
        _report(pairing, benchmarks, rows, _with_runs(asked, runs))
        for runs, (pairing, benchmarks), rows in zip(pairs, planned, measured, strict=True)
    ]


def _with_runs(asked: Mapping[str, Any], runs: tuple[Path | str, Path | str]) -> dict[str, Any]:
    named = {"iha_run": str(runs[0]), "baseline_run": str(runs[1])}
    return {**asked, "options": {**named, **asked["options"]}}


def _report(
    pairing: Pairing,
    benchmarks: Sequence[PlannedBenchmark],
    cells: Mapping[PlannedRow, MeasuredRow],
    asked: Mapping[str, Any],
) -> Report:
    """One report, of rows that are measured."""
    options = asked["options"]
    numbers = [cell.as_dict for cell in cells.values()]
    models = describe_models(pairing)
    maps, map_warnings = read_maps(pairing.runs["iha"])
    told = provenance(
        pairing, numbers, options["correction"], options["margin"], options["commit"], asked
    )
    tables = [
        {
            "benchmark": benchmark.name,
            "label": table.label,
            "metric": table.metric,
            "metric_label": table.metric_label,
            "rows": [cells[row].as_dict for row in table.rows],
        }
        for benchmark in benchmarks
        for table in benchmark.tables
    ]
    # Both runs may say the same.
    warnings = [
        *_warnings(pairing, benchmarks),
        *missing_scores(pairing, benchmarks),
        *model_warnings(models),
        *data_warnings(told),
        *map_warnings,
    ]
    title = f"{models['iha']['name']} against {models['baseline']['name']}"
    report = {
        "schema": SCHEMA,
        "title": options["title"] or title,
        "paired": pairing.paired,
        "created": max(run.date for run in pairing.runs.values()),
        "models": models,
        "headlines": headlines(benchmarks, cells, pairing, models),
        "tables": tables,
        "ruler": ruler_summary(tables),
        "curves": curves(pairing),
        "depth": depth_maps(pairing),
        "disagreements": disagreements(pairing, benchmarks),
        "both_wrong": both_wrong(pairing, benchmarks),
        "trend": None,
        "maps": maps,
        "warnings": list(dict.fromkeys(warnings)),
        "provenance": told,
    }
    cleaned: Report = clean_all(report)
    return cleaned


def _warnings(pairing: Pairing, benchmarks: Sequence[PlannedBenchmark]) -> list[str]:
    runs = [warning for side in SIDES for warning in pairing.runs[side].warnings]
    plans = [warning for benchmark in benchmarks for warning in benchmark.warnings]
    return [*pairing.warnings, *runs, *plans]
