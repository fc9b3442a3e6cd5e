"""The report of a night: the comparison, with what the history and the rules add to it.

For: writing it into the folder of the night, keeping it in the history, pointing `latest` at it.
Tasks whose settings differ run in processes of their own; `merged` makes one run on disk of them,
which is what a comparison reads.
Not for: how a report is made or looks (`iha_eval.compare`).
"""

import contextlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iha_eval.compare.inputs.runs import load_run
from iha_eval.errors import UserError
from iha_eval.nightly.config import ROLES, Config
from iha_eval.nightly.history import History, HistoryEntry
from iha_eval.nightly.missing import sentences
from iha_eval.nightly.night import Night
from iha_eval.nightly.record import NightOutcome
from iha_eval.nightly.trends import all_series, paired_differences, report_form
from iha_eval.statistics import MARGIN
from iha_eval.util.files import write_whole

# Parts of a results file that are mappings by task; everything else is one for the run.
_BY_TASK = (
    *("results", "groups", "group_subtasks", "configs", "versions", "n-shot"),
    *("higher_is_better", "n-samples", "task_hashes"),
)

# Of a whole run, and different where jobs were asked for different templates.
_TEMPLATES = (
    *("chat_template", "chat_template_sha", "fewshot_as_multiturn"),
    *("system_instruction", "system_instruction_sha"),
)


def merged(results: Sequence[Path], place: Path) -> Path:
    """One results file for all of them.

    Args:
        results: results files, at least one; of a task that two of them have, the first counts.
        place: folder for the merged files; thrown away and made anew.

    Returns:
        The results file; with one alone, that one itself.

    Raises:
        UserError: one cannot be read.
    """
    if len(results) == 1:
        return results[0]
    runs = [load_run(path) for path in results]
    stamp = max(run.stamp for run in runs)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for run in reversed(runs):
        for task, path in run.samples.items():
            _link(path, place / f"samples_{task}_{stamp}.jsonl")
    file = place / f"results_{stamp}.json"
    content = _merge([dict(run.results) for run in runs])
    write_whole(file, json.dumps(content, ensure_ascii=False))
    return file


def _merge(contents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    whole = dict(contents[0])
    for name in _BY_TASK:
        parts = [content[name] for content in contents if isinstance(content.get(name), dict)]
        if parts:
            whole[name] = {key: value for part in reversed(parts) for key, value in part.items()}
    # In the order of the runs, which the reversal above has turned round.
    order = [task for content in contents for task in content["configs"]]
    whole["configs"] = {task: whole["configs"][task] for task in dict.fromkeys(order)}
    whole["config"] = _config([content.get("config") or {} for content in contents])
    _tell_templates(whole, contents)
    return whole


def _tell_templates(whole: dict[str, Any], contents: Sequence[dict[str, Any]]) -> None:
    """What the runs differ in stands by task where a comparison looks for it, and not once for all.

    lm-eval has one chat template and one system instruction a run; a file of several runs has none
    that holds for all of it.
    """
    for name in _TEMPLATES:
        values = [content.get(name) for content in contents]
        if any(value != values[0] for value in values):
            whole[name] = None
    by_run = [content.get("chat_template_sha") for content in contents]
    if any(value != by_run[0] for value in by_run):
        whole["config"]["iha_eval_chat_template_sha"] = {
            task: sha
            for content, sha in reversed(list(zip(contents, by_run, strict=True)))
            for task in content["configs"]
        }


def _config(configs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    whole = dict(configs[0])
    for name in ("limit", "gen_kwargs"):
        values = [config.get(name) for config in configs]
        whole[name] = values[0] if all(value == values[0] for value in values) else values
    ours = [config["iha_eval"] for config in configs if isinstance(config.get("iha_eval"), dict)]
    if ours:
        calls = [call for config in ours for call in config.get("summary") or []]
        words = [word for config in ours for word in ("&&", *(config.get("command") or []))]
        whole["iha_eval"] = {**ours[0], "summary": calls, "command": words[1:]}
    return whole


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


if TYPE_CHECKING:
    from iha_eval.compare.inputs.runs import Run

LATEST = "latest"

_NAMES = {"iha": "IHA", "baseline": "baseline"}


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

    Tasks that both models have are compared. Where there are none, or they cannot be compared, the
    report says so and shows the trend.

    Raises:
        UserError: it cannot be written.
    """
    from iha_eval.compare import write_report
    from iha_eval.util.text import clean_all

    refusal: UserError | None = None
    try:
        report = _compared(config, night, outcome)
    except UserError as error:
        report, refusal = _bare(night, outcome), error
    left_out = report["provenance"]["pairing"]["tasks_not_compared"] if report["tables"] else []
    nights = history.read().nights
    report["trend"] = trend(nights, history) or None
    report["trend_differences"] = paired_differences(nights, history)
    report["warnings"] = [
        *(check.sentence for check in outcome.verdict.regressions),
        *(run.sentence for run in outcome.missing),
        *([f"The runs could not be compared: {refusal}"] if refusal else []),
        *outcome.verdict.notes,
        *(
            warning
            for warning in report["warnings"]
            if not _is_told(warning, outcome.verdict.notes)
        ),
    ]
    report["night"] = _told(night, outcome)
    files: list[Path] = write_report(clean_all(report), night.folder)
    history.keep_report(night.id, night.folder)
    _point(night.folder.parent / LATEST, night.id)
    if refusal is None and left_out:
        return NightReport(files, f"NOT COMPARED: {', '.join(left_out)}; the report says why.")
    return NightReport(files, f"NO COMPARISON: {refusal}" if refusal else "")


def trend(
    nights: Mapping[str, Sequence[HistoryEntry]], history: History | None = None
) -> list[dict[str, Any]]:
    """All that is watched and still measured, in the form of report.json."""
    return [
        report_form(series, f"{series.task}, {_NAMES.get(series.model, series.model)}")
        for series in all_series(nights, history)
        if series.current and series.watched
    ]


def _compared(config: Config, night: Night, outcome: NightOutcome) -> dict[str, Any]:
    from iha_eval.compare import build_report

    # The same runs on both sides, so that what is compared was asked alike.
    numbers = [{run.part.folder.partition("/")[2] for run in outcome.of(role)} for role in ROLES]
    common = numbers[0] & numbers[1]
    if not common:
        return _bare(night, outcome)
    files = {role: _merged(night, outcome, role, common) for role in ROLES}
    report: dict[str, Any] = build_report(files["iha"], files["baseline"], unpaired=config.unpaired)
    report["title"] = f"{report['title']}, night {night.id}"
    return report


def _merged(night: Night, outcome: NightOutcome, role: str, numbers: Set[str]) -> Path:
    runs = [run for run in outcome.of(role) if run.part.folder.partition("/")[2] in numbers]
    return merged([run.results for run in runs], night.folder / "merged" / role)


def _bare(night: Night, outcome: NightOutcome) -> dict[str, Any]:
    """A report without a comparison, complete in form."""
    from iha_eval.compare.analysis.provenance import provenance
    from iha_eval.compare.inputs.pairing import Pairing

    runs = {role: _run(night, outcome, role) for role in ROLES}
    tasks = dict.fromkeys(task for run in runs.values() if run for task in run.tasks)
    told = provenance(Pairing({}, (), False, ()), (), "holm", MARGIN, None)
    told["pairing"]["tasks_not_compared"] = list(tasks)
    return {
        "schema": 1,
        "title": f"Night {night.id}, without a comparison",
        "paired": False,
        "created": night.started,
        "models": {role: _model(run, role) for role, run in runs.items()},
        "headlines": [],
        "tables": [],
        "curves": [],
        "depth": [],
        "disagreements": {"total": 0, "shown": 0, "rows": []},
        "trend": None,
        "maps": None,
        "warnings": [],
        "provenance": told,
    }


def _run(night: Night, outcome: NightOutcome, role: str) -> "Run | None":
    """All runs of a model as one; None without any."""
    from iha_eval.compare.inputs.runs import load_run

    numbers = {run.part.folder.partition("/")[2] for run in outcome.of(role)}
    return load_run(_merged(night, outcome, role, numbers)) if numbers else None


def _model(run: "Run | None", role: str) -> dict[str, Any]:
    """A model as its run tells of it, without what only a comparison counts."""
    from iha_eval.compare.analysis.provenance import describe_models
    from iha_eval.compare.inputs.pairing import Pairing
    from iha_eval.compare.schema import ReportModel

    if run is not None:
        alone = Pairing({"iha": run, "baseline": run}, (), False, ())
        return describe_models(alone)["iha"] | {"documents": None}
    return {
        **dict.fromkeys(ReportModel.__annotations__),
        "name": f"{_NAMES[role]} (no run)",
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
        "regressions": [check.sentence for check in outcome.verdict.regressions],
        "missing": [
            *(run.sentence for run in outcome.missing),
            *sentences(outcome.verdict.missing),
        ],
        "not_judged": list(sentences(gap for gap in outcome.verdict.gaps if gap.rule)),
        "standing": list(outcome.verdict.standing),
        "remarks": list(outcome.verdict.all_remarks),
        "checks": [
            {
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
