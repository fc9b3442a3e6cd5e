"""The report of a night: the comparison, with what the history and the rules add to it.

For: writing it into the folder of the night, keeping it in the history, pointing `latest` at it.
Tasks whose settings differ run in processes of their own; a comparison reads one run on disk that
is put together of them.
Not for: how a report is made or looks (`iha_eval.compare`).
"""

import contextlib
import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iha_eval.compare.inputs.merge import merged
from iha_eval.compare.inputs.runs import load_run
from iha_eval.errors import UserError
from iha_eval.nightly.config import BASELINE, Config
from iha_eval.nightly.history import History
from iha_eval.nightly.missing import sentences
from iha_eval.nightly.night import Night
from iha_eval.nightly.record import NightOutcome
from iha_eval.nightly.trends import MetricSeries, all_series, paired_differences, report_form
from iha_eval.statistics import MARGIN

if TYPE_CHECKING:
    from iha_eval.compare.inputs.runs import Run

LATEST = "latest"

# The model in question of a pair, as reports call it.
_SIDE = "iha"


@dataclass(frozen=True)
class NightReport:
    """A report on disk.

    Attributes:
        files: what was written.
        refusal: that the runs, or some of their tasks, could not be compared, and why; empty if
            all were.
    """

    files: Sequence[Path]
    refusal: str


def make_report(
    config: Config, night: Night, outcome: NightOutcome, history: History
) -> NightReport:
    """Write the report of a night from whatever is there.

    Tasks that a model and the baseline both have are compared. Where there are none, or they cannot
    be compared, the report says so and shows the trend. Of several models each has a report in the
    folder of its runs, and that of the night is of all of them.

    Raises:
        UserError: it cannot be written.
    """
    from iha_eval.compare import write_report
    from iha_eval.compare.family import write_family
    from iha_eval.util.text import clean_all

    pairs = {name: outcome.only((name, BASELINE)) for name in config.compared}
    reports, refusals = _compared(config, night, pairs)
    nights = history.read().nights
    series = [each for each in all_series(nights, history) if each.current and each.watched]
    left_out: list[str] = []
    for name, report in reports.items():
        if report["tables"]:
            left_out += report["provenance"]["pairing"]["tasks_not_compared"]
        report["trend"] = _trend(series, name) or None
        report["trend_differences"] = paired_differences(nights, history, name)
        report["warnings"] = _warnings(pairs[name], report["warnings"], refusals.get(name))
        report["night"] = _told(night, pairs[name])
    if len(reports) == 1:
        [report] = reports.values()
        files: list[Path] = write_report(clean_all(report), night.folder)
    else:
        title = f"Night {night.id}: {len(reports)} models against one baseline"
        asked = {"command": [], "options": {"title": title}}
        cleaned = [clean_all(report) for report in reports.values()]
        _, files = write_family(
            list(reports), cleaned, night.folder, asked, night=_told(night, outcome)
        )
    history.keep_report(night.id, night.folder, config.compared if len(reports) > 1 else ())
    _point(night.folder.parent / LATEST, night.id)
    if refusals:
        named = [f"{name}: {refusal}" for name, refusal in refusals.items()]
        reasons = named if len(reports) > 1 else map(str, refusals.values())
        return NightReport(files, f"NO COMPARISON: {'; '.join(reasons)}")
    if left_out:
        tasks = ", ".join(dict.fromkeys(left_out))
        return NightReport(files, f"NOT COMPARED: {tasks}; the report says why.")
    return NightReport(files, "")


def _warnings(
    outcome: NightOutcome, warnings: Sequence[str], refusal: UserError | None
) -> list[str]:
    """What a reader must know of a pair, the regressions first."""
    notes = outcome.verdict.notes
    return [
        *outcome.regressions,
        *(run.sentence for run in outcome.missing),
        *([f"The runs could not be compared: {refusal}"] if refusal else []),
        *notes,
        *(warning for warning in warnings if not _is_told(warning, notes)),
    ]


def _trend(series: Sequence[MetricSeries], name: str) -> list[dict[str, Any]]:
    """The series of a model and the baseline, in the form of report.json."""
    return [
        report_form(each, f"{each.task}, {_label(each.model)}")
        | {"model": BASELINE if each.model == BASELINE else _SIDE}
        for each in series
        if each.model in (name, BASELINE)
    ]


def _label(name: str) -> str:
    return "IHA" if name == _SIDE else name


def _compared(
    config: Config, night: Night, outcomes: Mapping[str, NightOutcome]
) -> tuple[dict[str, dict[str, Any]], dict[str, UserError]]:
    """The report of each model, all corrected together, and why some could not be compared."""
    from iha_eval.compare.report import build_reports

    options = {"unpaired": config.unpaired, "correction": "holm", "margin": MARGIN}
    asked = {"command": [], "options": {**options, "title": None, "commit": None}}
    files: dict[str, tuple[Path, Path]] = {}
    refusals: dict[str, UserError] = {}
    for name, outcome in outcomes.items():
        # The same runs on both sides, so that what is compared was asked alike.
        common = _numbers(outcome, name) & _numbers(outcome, BASELINE)
        if common:
            files[name] = (
                _merged(night, outcome, name, common, name),
                _merged(night, outcome, BASELINE, common, name),
            )
    try:
        built = build_reports(list(files.values()), asked)
    except UserError:
        for name, pair in list(files.items()):
            try:
                build_reports([pair], asked)
            except UserError as error:
                refusals[name] = error
                del files[name]
        built = build_reports(list(files.values()), asked)
    compared: dict[str, Any] = dict(zip(files, built, strict=True))
    for report in compared.values():
        report["title"] = f"{report['title']}, night {night.id}"
    reports = {
        name: compared.get(name) or _bare(night, outcome, name)
        for name, outcome in outcomes.items()
    }
    return reports, refusals


def _numbers(outcome: NightOutcome, role: str) -> set[str]:
    """The runs of a model that are there, by what is the same for all models."""
    return {run.part.folder.partition("/")[2] for run in outcome.of(role)}


def _merged(night: Night, outcome: NightOutcome, role: str, numbers: Set[str], pair: str) -> Path:
    runs = [run for run in outcome.of(role) if run.part.folder.partition("/")[2] in numbers]
    return merged([run.results for run in runs], night.folder / "merged" / pair / role)


def _bare(night: Night, outcome: NightOutcome, name: str) -> dict[str, Any]:
    """A report without a comparison, complete in form."""
    from iha_eval.compare.analysis.provenance import provenance
    from iha_eval.compare.inputs.pairing import Pairing

    runs = {
        _SIDE: _run(night, outcome, name, name),
        BASELINE: _run(night, outcome, BASELINE, name),
    }
    tasks = dict.fromkeys(task for run in runs.values() if run for task in run.tasks)
    source = provenance(Pairing({}, (), False, ()), (), "holm", MARGIN, None)
    source["pairing"]["tasks_not_compared"] = list(tasks)
    return {
        "schema": 1,
        "title": f"Night {night.id}, without a comparison",
        "paired": False,
        "created": night.started,
        "models": {
            side: _model(run, name if side == _SIDE else BASELINE) for side, run in runs.items()
        },
        "headlines": [],
        "tables": [],
        "curves": [],
        "depth": [],
        "disagreements": {"total": 0, "shown": 0, "rows": []},
        "trend": None,
        "maps": None,
        "warnings": [],
        "provenance": source,
    }


def _run(night: Night, outcome: NightOutcome, role: str, pair: str) -> "Run | None":
    """All runs of a model as one; None without any."""
    numbers = _numbers(outcome, role)
    return load_run(_merged(night, outcome, role, numbers, pair)) if numbers else None


def _model(run: "Run | None", name: str) -> dict[str, Any]:
    """A model as its run tells of it, without what only a comparison counts."""
    from iha_eval.compare.analysis.provenance import describe_models
    from iha_eval.compare.inputs.pairing import Pairing
    from iha_eval.compare.schema import ReportModel

    if run is not None:
        alone = Pairing({"iha": run, "baseline": run}, (), False, ())
        return describe_models(alone)["iha"] | {"documents": None}
    return {
        **dict.fromkeys(ReportModel.__annotations__),
        "name": f"{_label(name)} (no run)",
        "command": [],
        "versions": {},
        "engine_args": {},
        "model_args": {},
        "notes": [],
    }


def _told(night: Night, outcome: NightOutcome) -> dict[str, Any]:
    return {
        "id": night.id,
        "started": night.started,
        "regressions": outcome.regressions,
        "missing": [
            *(run.sentence for run in outcome.missing),
            *sentences(outcome.verdict.missing),
        ],
        "not_judged": list(sentences(gap for gap in outcome.verdict.gaps if gap.rule)),
        "standing": list(outcome.verdict.standing),
        "remarks": list(outcome.verdict.all_remarks),
        "checks": [
            {
                "model": check.model,
                "rule": check.rule,
                "task": check.task,
                "metric": check.metric,
                "against": check.against,
                "points": check.points,
                "pairs": check.pairs,
                "worse": check.worse,
                "regression": check.regression,
            }
            for check in outcome.verdict.checks
        ],
    }


def _is_told(warning: str, notes: Sequence[str]) -> bool:
    """Whether a note says the same, of a model by its name."""
    return any(note.endswith(f": {warning}") for note in notes)


def _point(link: Path, target: str) -> None:
    """Let the link `latest` lead to a night; what is there under that name and no link, stays."""
    if link.exists() and not link.is_symlink():
        return
    beside = link.with_name(f".{link.name}.{os.getpid()}")
    # A file system without links goes without.
    with contextlib.suppress(OSError):
        beside.unlink(missing_ok=True)
        beside.symlink_to(target)
        beside.replace(link)
