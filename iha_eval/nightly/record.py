"""From a night's folder to its lines in the history.

For: measuring the runs that are there, naming those that are not, applying the rules, recording.
Not for: running anything, nor for the page.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from iha_eval.errors import UserError
from iha_eval.nightly.comparisons import continued_series, results
from iha_eval.nightly.config import BASELINE, Config, Model, Rules
from iha_eval.nightly.history import Entries, History, HistoryEntry, score_key
from iha_eval.nightly.measures import Measure, MeasuredRun, measure
from iha_eval.nightly.missing import NotJudged, vanished
from iha_eval.nightly.night import Night, NightPart, results_of
from iha_eval.nightly.regressions import NightVerdict, judge
from iha_eval.statistics import level
from iha_eval.util.files import write_whole

_COMMIT = "commit.json"
CONFIRM = "confirm"
"""Folder in that of a night for runs that confirm others."""


@dataclass(frozen=True)
class FinishedRun:
    """A run that is there.

    Attributes:
        part: which one.
        results: its results file.
        measured: what it says; a measure that an earlier run of the model has is left out.
    """

    part: NightPart
    results: Path
    measured: MeasuredRun


@dataclass(frozen=True)
class MissingRun:
    """A run that is not there.

    Attributes:
        part: which one.
        reason: why, in words.
    """

    part: NightPart
    reason: str

    @property
    def sentence(self) -> str:
        """The failure in words."""
        tasks = ", ".join(self.part.tasks)
        return f"MISSING: the run of {self.part.role} on {tasks} ({self.reason})."


@dataclass(frozen=True)
class NightOutcome:
    """A night, recorded.

    Attributes:
        finished: the runs that are there.
        missing: those that are not.
        verdict: what the rules found.
        older: the regressions of nights that were never finished, each a sentence.
    """

    finished: tuple[FinishedRun, ...]
    missing: tuple[MissingRun, ...]
    verdict: NightVerdict
    older: tuple[str, ...] = ()

    @property
    def regressions(self) -> list[str]:
        """All regressions in words, those of older nights first."""
        return [*self.older, *(check.sentence for check in self.verdict.regressions)]

    def of(self, role: str) -> list[FinishedRun]:
        """The finished runs of one model."""
        return [run for run in self.finished if run.part.role == role]

    def only(self, roles: Sequence[str]) -> "NightOutcome":
        """The outcome as far as some of the models go."""
        verdict = self.verdict
        return NightOutcome(
            tuple(run for run in self.finished if run.part.role in roles),
            tuple(run for run in self.missing if run.part.role in roles),
            replace(
                verdict,
                checks=tuple(check for check in verdict.checks if check.model in roles),
                gaps=tuple(gap for gap in verdict.gaps if gap.model in roles),
            ),
            self.older,
        )


def note_commit(folder: Path, model: Model, config: Config) -> None:
    """Write down, before a run, the commit of its checkpoint or else of the working directory."""
    checkpoint = config.folder / Path(model.pretrained or ".").expanduser()
    commit = _commit(checkpoint) if checkpoint.is_dir() else None
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / _COMMIT, json.dumps({"commit": commit or _commit(config.folder)}))


def record_night(
    night: Night, reasons: Mapping[str, str], rules: Rules, history: History
) -> NightOutcome:
    """Measure a night, judge it and record it.

    Args:
        night: its folder is read.
        reasons: why runs failed, by the folder of their part.
        rules: what a regression is.
        history: what the night is held against, and what it is added to.

    Raises:
        UserError: the history cannot be written.
    """
    finished, missing = _collect(night, reasons, rules.metrics)
    by_role = _by_role(finished)
    before_tonight = _before(night, history)
    earlier = before_tonight.nights
    verdict = _judged(night, finished, rules, before_tonight, history)
    verdict = _with_runs(verdict, rules, finished, earlier)
    series: dict[tuple[str, str, str], str | None] = {
        (role, *measured.key): continued_series(measured, before.get(measured.key, ()), history)
        for role, measures in by_role.items()
        for before in [results(role, earlier)]
        for measured in measures
    }
    lines = [line for run in finished for line in _lines(night, run, verdict, rules, series)]
    lines += [line for run in missing for line in _failures(night, run)]
    scores = {
        score_key(role, *measured.key): measured.scores
        for role, measures in by_role.items()
        for measured in measures
    }
    for measured in (measured for measures in by_role.values() for measured in measures):
        history.keep(measured.documents, measured.questions)
        history.keep(measured.settings, measured.asked)
    history.record(night.id, lines, scores)
    return NightOutcome(tuple(finished), tuple(missing), verdict)


def to_confirm(night: Night, rules: Rules, history: History) -> set[str]:
    """The folders of the runs of tonight that show a drop which no night before has shown."""
    finished, _ = _collect(night, {}, rules.metrics)
    verdict = _judged(night, finished, rules, _before(night, history), history)
    new = {check.key for check in verdict.regressions if check.drops[-1].alarm == night.id}
    return {
        run.part.folder
        for run in finished
        if any((run.part.role, *measured.key) in new for measured in run.measured.measures)
    }


def _by_role(finished: Sequence[FinishedRun]) -> dict[str, list[Measure]]:
    """All that each model measured; models without a finished run are not there."""
    by_role: dict[str, list[Measure]] = {}
    for run in finished:
        by_role.setdefault(run.part.role, []).extend(run.measured.measures)
    return by_role


def _before(night: Night, history: History) -> Entries:
    """The nights before one; a step of a training run is held against none."""
    if night.step is not None:
        return Entries({}, 0)
    entries = history.read()
    earlier = {
        name: lines
        for name, lines in entries.nights.items()
        if name != night.id and lines[0].moment < night.begun
    }
    return Entries(earlier, 0, entries.pinned if entries.pinned in earlier else None)


def _judged(
    night: Night,
    finished: Sequence[FinishedRun],
    rules: Rules,
    earlier: Entries,
    history: History,
) -> NightVerdict:
    fingerprints = {run.part.role: run.measured.facts["fingerprint"] for run in reversed(finished)}
    measures = _by_role(finished)
    return judge(rules, measures, earlier, history, night.id, night.started, fingerprints)


def _with_runs(
    verdict: NightVerdict,
    rules: Rules,
    finished: Sequence[FinishedRun],
    earlier: Mapping[str, Sequence[HistoryEntry]],
) -> NightVerdict:
    """A verdict with what only the runs as a whole can tell."""
    gaps, remarks = [*verdict.gaps], [*verdict.remarks]
    for role, measures in _by_role(finished).items():
        runs = [run for run in finished if run.part.role == role]
        gaps += vanished(role, measures, (run.part.command_sha256 for run in runs), earlier)
        remarks += [f"{role}: {text}" for run in runs for text in run.measured.warnings]
        if role != BASELINE and not any(measured.watched for measured in measures):
            what = f"regression.metrics {list(rules.metrics)}" if rules.metrics else "every task"
            reason = f"{what} has none that is a share between 0 and 1"
            gaps.append(NotJudged(role, "a score to judge", "", None, reason))
    return replace(verdict, gaps=tuple(gaps), remarks=tuple(remarks))


def _collect(
    night: Night, reasons: Mapping[str, str], patterns: Sequence[str]
) -> tuple[list[FinishedRun], list[MissingRun]]:
    finished: list[FinishedRun] = []
    missing = []
    for part in night.parts:
        folder = night.folder / part.folder
        results = results_of(folder)
        if results is None:
            missing.append(MissingRun(part, reasons.get(part.folder) or "it left no whole results"))
            continue
        try:
            measured = measure(results, patterns)
        except UserError as error:
            missing.append(MissingRun(part, str(error)))
            continue
        seen = {
            measured_key.key
            for run in finished
            if run.part.role == part.role
            for measured_key in run.measured.measures
        }
        again = _again(night, part, patterns)
        own = tuple(
            _confirmed(measured_key, again)
            for measured_key in measured.measures
            if measured_key.key not in seen
        )
        finished.append(FinishedRun(part, results, replace(measured, measures=own)))
    return finished, missing


def _again(
    night: Night, part: NightPart, patterns: Sequence[str]
) -> Mapping[tuple[str, str], Measure]:
    """What the run measured that was to confirm another; nothing without one."""
    results = results_of(night.folder / CONFIRM / part.folder)
    try:
        measured = measure(results, patterns).measures if results else ()
    except UserError:
        return {}
    return {measured_again.key: measured_again for measured_again in measured}


def _confirmed(first: Measure, confirming: Mapping[tuple[str, str], Measure]) -> Measure:
    """The measure of the second run in place of the first, where it asked the same."""
    second = confirming.get(first.key)
    alike = second is not None and second.hashed and second.settings == first.settings
    return second if second is not None and alike and second.documents == first.documents else first


def _lines(
    night: Night,
    run: FinishedRun,
    verdict: NightVerdict,
    rules: Rules,
    series: Mapping[tuple[str, str, str], str | None],
) -> Iterator[HistoryEntry]:
    role = run.part.role
    common = replace(_common(night, run.part), **run.measured.facts)
    tonight = set()
    for measured in run.measured.measures:
        tonight.add(measured.key)
        scores_level = level(measured.scores)
        yield replace(
            common,
            task=measured.task,
            metric=measured.metric,
            n=scores_level.n,
            left_out=scores_level.left_out,
            asked=measured.expected,
            mean=scores_level.mean,
            se=scores_level.error,
            higher_is_better=measured.higher,
            watched=measured.watched,
            documents=measured.documents,
            part_of=series[role, *measured.key],
            settings=measured.settings,
            room=measured.room,
            threshold=verdict.alarm,
            least=rules.drop,
            **judged(role, measured.key, verdict),
        )
    for gap in verdict.missing:
        ours = gap.model == role and gap.command in ("", run.part.command_sha256)
        if ours and (gap.task, gap.metric) not in tonight and gap.metric:
            found_by_rules = judged(role, (gap.task, gap.metric), verdict)
            yield replace(common, task=gap.task, metric=gap.metric, watched=True, **found_by_rules)


def judged(role: str, key: tuple[str, str], verdict: NightVerdict) -> dict[str, Any]:
    """What the rules say of one measure."""
    gaps = [gap for gap in verdict.gaps if gap.key == (role, *key)]
    checks = [check for check in verdict.checks if check.key == (role, *key)]
    beside = next((check for check in checks if check.rule == "baseline"), None)
    return {
        "regressions": tuple(check.brief() for check in checks if check.regression),
        "baseline": beside.brief() if beside else None,
        "lacking": next((gap.reason for gap in gaps if gap.rule is None), None),
        "not_judged": {gap.rule: gap.reason for gap in gaps if gap.rule is not None},
    }


def _failures(night: Night, run: MissingRun) -> Iterator[HistoryEntry]:
    for task in run.part.tasks:
        yield replace(_common(night, run.part), task=task, failed=True, reason=run.reason)


def _common(night: Night, part: NightPart) -> HistoryEntry:
    """What all entries of a run share; each names its task."""
    return HistoryEntry(
        date=night.started,
        model=part.role,
        task="",
        entries=part.tasks,
        commit=_noted(night.folder / part.folder),
        command=part.command_sha256,
        step=night.step,
    )


def _noted(folder: Path) -> str | None:
    try:
        commit = json.loads((folder / _COMMIT).read_text(encoding="utf-8"))["commit"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return commit if isinstance(commit, str) else None


def _commit(folder: Path) -> str | None:
    command = ["git", "-C", str(folder), "rev-parse", "--verify", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
