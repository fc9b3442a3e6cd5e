"""A night from start to report.

For: `run_night`, which goes on with the night that is open or begins one, and `dry_run`, which says
what it would do. Not for: the command line.

Whatever fails, the rest is done: a run that fails leaves the others, and a report is made of what
is there.
"""

import contextlib
import os
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from iha_eval.nightly.config import Config, Rules
from iha_eval.nightly.history import History
from iha_eval.nightly.lock import only_one
from iha_eval.nightly.night import (
    Job,
    Night,
    State,
    open_night,
    plan,
    readable,
    results_of,
    set_aside,
)
from iha_eval.nightly.process import (
    ChildSetting,
    KeptProcess,
    Stop,
    run_child,
    settle_log,
    tail,
    unredacted,
)
from iha_eval.util.files import write_whole
from iha_eval.util.redact import redact, secret_values

if TYPE_CHECKING:
    from iha_eval.nightly.record import NightOutcome
    from iha_eval.nightly.regressions import NightVerdict

FINE, REGRESSION, MISSING = 0, 1, 3
"""Exit codes; 2 is a mistake of the user, and a signal makes 128 and its number."""

MEANINGS = {
    FINE: "no regression, and nothing is missing",
    REGRESSION: "a regression, see above and in the report",
    MISSING: "no regression, but something is missing or not compared",
}
"""What each exit code says, for the last line of a night."""

CRASH = "report.log"
"""Where the folder of a night says why it has no report."""

PROGRESS = "progress.txt"
"""Where the folder of a night says how far it is."""

# Seconds between looks at what a run has printed.
_EVERY = 5.0

Say = Callable[[str], None]


def dry_run(config: Config, now: datetime, *, fresh: bool = False) -> Iterator[str]:
    """What `run_night` would do at this moment, a line each."""
    jobs = plan(config)
    night, _ = open_night(config.output, jobs, now, fresh=fresh)
    yield f"night {night.id} in {night.folder}"
    for job in jobs:
        done = not fresh and results_of(night.folder / job.folder) is not None
        yield f"{'done ' if done else 'to do'} $ {readable(job.command(night.folder))}"


def run_night(config: Config, now: datetime, say: Say, *, fresh: bool = False) -> int:
    """Run a night; must be called in the main thread.

    Args:
        config: what to do.
        now: date and time with time zone.
        say: receives lines for the user.
        fresh: repeat the newest night of the day instead of going on.

    Returns:
        The exit code.

    Raises:
        UserError: another night is under way, or a folder cannot be written.
    """
    jobs = plan(config)
    history = History(config.history)
    with (
        only_one(config.history, now.isoformat(timespec="seconds")) as lock,
        Stop().listening() as stop,
    ):
        night, left = open_night(config.output, jobs, now, fresh=fresh)
        older = [sentence for old in left for sentence in _give_up(old, config, history, say)]
        if fresh and (place := set_aside(night)):
            say(f"what night {night.id} had so far is kept in {place}")
        say(f"night {night.id} in {night.folder}")
        night = night.put("running")
        progress = NightProgress(night, [job.folder for job in jobs])
        steps = NightJobs(night, config, stop, lock, say, progress)
        reasons = {}
        for job in jobs:
            if stop.signal is None and (reason := steps.run(job)):
                reasons[job.folder] = reason
        if config.rules.confirm and stop.signal is None:
            _confirm(jobs, steps)
        if stop.signal is not None:
            say(stop.sentence)
            return stop.exit_code
        code = _close(config, night, reasons, history, say, older)
        for old in left:
            # Not before its regressions were told, or else nobody would ever learn of them.
            old.put("given up")
        return code


class NightProgress:
    """How far a night is, in a file in its folder that is always whole.

    Args:
        night: the night.
        runs: what is to be run, by the folder of each run.
    """

    def __init__(self, night: Night, runs: Sequence[str]) -> None:
        """Writes nothing yet."""
        self._file = night.folder / PROGRESS
        self._runs = dict.fromkeys(runs, "to do")
        self._written = 0.0

    def put(self, run: str, state: str) -> None:
        """Write down what a run is doing; a run that is not known yet is a further one."""
        self._runs[run] = state
        self._written = time.monotonic()
        ended = sum(not state.startswith(("to do", "running")) for state in self._runs.values())
        lines = [f"{ended} of {len(self._runs)} runs have ended"]
        lines += [f"{run}: {state}" for run, state in self._runs.items()]
        # The night is not to end because nobody can look at it.
        with contextlib.suppress(OSError):
            write_whole(self._file, "\n".join(lines) + "\n")

    def look(self, run: str, state: str, log: Path, secrets: Collection[str]) -> None:
        """Write down, now and then, the last line that a run has printed, without the secrets."""
        if time.monotonic() - self._written > _EVERY:
            last = [redact(line, secrets) for line in tail(unredacted(log), 1)]
            self.put(run, "; ".join([state, *last]))


@dataclass(frozen=True)
class NightJobs:
    """Runs the jobs of a night; what all of them share.

    Attributes:
        night: the night.
        config: what to do.
        stop: whether we are to end.
        lock: file descriptor of the lock.
        say: receives lines for the user.
        progress: how far the night is.
        kept: processes that keep their engine, by the role of the model.
    """

    night: Night
    config: Config
    stop: Stop
    lock: int
    say: Say
    progress: NightProgress
    kept: Mapping[str, KeptProcess] = field(default_factory=dict)

    def run(self, job: Job) -> str:
        """Run a job unless it is done; returns what went wrong, in words."""
        from iha_eval.nightly.record import note_commit

        night, say = self.night, self.say
        folder, log = night.folder / job.folder, _log(night, job)
        name = f"{job.role} on {', '.join(job.names)}"
        if results_of(folder):
            # The process may have gone on by itself after a kill.
            settle_log(log, job.model.environment)
            say(f"{name}: has its results already")
            self.progress.put(job.folder, "done before")
            return ""
        note_commit(folder, job.model, self.config)
        command = job.command(night.folder)
        say(f"{name}: $ {readable(command)}")
        state = f"running since {datetime.now():%H:%M}"
        self.progress.put(job.folder, state)
        secrets = secret_values({**os.environ, **job.model.environment})
        setting = ChildSetting(
            log,
            folder=self.config.folder,
            variables=job.model.environment,
            timeout=self.config.timeout,
            stop=self.stop,
            keep=[self.lock],
            look=lambda: self.progress.look(job.folder, state, log, secrets),
        )
        kept = self.kept.get(job.role) if job.may_be_kept else None
        if kept is None:
            ended = run_child(command, setting)
        else:
            ended = kept.run(command[len(job.model.command) :], setting)
        if ended.stopped:
            self.progress.put(job.folder, "stopped; the same command goes on from here")
            return "stopped"
        if results_of(folder):
            after = f", then {ended.reason}" if ended.reason else ""
            say(f"{name}: done in {ended.seconds:.0f} s{after}")
            self.progress.put(job.folder, f"done in {ended.seconds:.0f} s")
            return ""
        reason = ended.reason or "it ended without results"
        self.progress.put(job.folder, f"failed ({reason})")
        say(f"{name}: FAILED ({reason}); the end of {log}:")
        # The log has no secrets any more; of a disk that was full it may be an older one.
        for line in tail(log):
            say(f"  | {redact(line)}")
        return reason


def _confirm(jobs: Sequence[Job], steps: NightJobs) -> None:
    """Repeat the runs that show a new drop; what the second ones measure counts."""
    from iha_eval.nightly.record import CONFIRM, to_confirm

    folders = to_confirm(steps.night, steps.config.rules, History(steps.config.history))
    for job in jobs:
        if job.folder in folders and steps.stop.signal is None:
            names = ", ".join(job.names)
            steps.say(f"{job.role} on {names} shows a new drop: run again to confirm it")
            steps.run(replace(job, folder=f"{CONFIRM}/{job.folder}"))


def _close(
    config: Config,
    night: Night,
    reasons: dict[str, str],
    history: History,
    say: Say,
    older: Sequence[str],
) -> int:
    """Record, report, and say how it went, with the regressions of nights never finished."""
    # Slow to import, and not needed for a dry run or a start that is refused.
    from iha_eval.nightly.record import record_night
    from iha_eval.nightly.report import make_report

    outcome = replace(record_night(night, reasons, config.rules, history), older=tuple(older))
    complete = not outcome.missing and not outcome.verdict.missing
    for sentence in (
        *outcome.regressions,
        *(run.sentence for run in outcome.missing),
        *outcome.verdict.notes,
        *_scores(outcome),
    ):
        say(sentence)
    if not outcome.verdict.regressions and (checks := outcome.verdict.checks):
        against = dict.fromkeys(
            "the baseline" if check.rule == "baseline" else check.against for check in checks
        )
        say(f"compared with {', '.join(against)}: nothing new is worse")
    if outcome.verdict.alarm is not None and outcome.verdict.watches:
        say(budget(outcome.verdict, config.rules))
    state: State = "failed" if outcome.missing else "finished"
    try:
        report = make_report(config, night, outcome, history)
    except Exception as error:
        # What was measured is recorded by now, and the verdict still has to be told.
        say(_no_report(night, error))
        complete, state = False, "failed" if outcome.missing else "unreported"
    else:
        for path in report.files:
            say(str(path))
        if report.refusal:
            say(report.refusal)
            complete = False
    night.put(state)
    code = REGRESSION if outcome.regressions else FINE if complete else MISSING
    say(f"exit code {code}: {MEANINGS[code]}")
    return code


def _scores(outcome: "NightOutcome") -> Iterator[str]:
    """What was measured tonight on all that is watched, a line each."""
    for run in outcome.finished:
        for measure in run.measured.measures:
            known = [score for score in measure.scores if score is not None]
            if measure.watched and known:
                mean = 100 * sum(known) / len(known)
                name = f"{measure.task} {measure.metric}"
                yield f"{run.part.role}: {name} {mean:.1f}% of {len(known)}"


def budget(verdict: "NightVerdict", rules: Rules) -> str:
    """How often chance alone makes a night red, in words."""
    watches = f"{verdict.watches} watch{'es' if verdict.watches > 1 else ''}"
    return (
        f"error budget: {rules.false_alarms_per_month:g} false alarms in 30 nights over {watches}, "
        f"so an alarm takes z = {verdict.alarm:.2f}"
    )


def _no_report(night: Night, error: Exception) -> str:
    """What went wrong, in a sentence; the rest lies beside the logs."""
    trace = redact(traceback.format_exc(), secret_values(os.environ))
    with contextlib.suppress(OSError):
        write_whole(night.folder / CRASH, trace)
    why = redact(" ".join(str(error).split()))[:300]
    return (
        f"NO REPORT: making it failed ({type(error).__name__}: {why}); what was measured is in the "
        f"history, and the same command makes the report again (see {night.folder / CRASH})."
    )


def _give_up(old: Night, config: Config, history: History, say: Say) -> list[str]:
    """Record a night that was begun and never finished; returns its regressions, in words."""
    from iha_eval.nightly.record import record_night

    say(f"night {old.id} was never finished: it is recorded as it is")
    regressions = record_night(old, {}, config.rules, history).verdict.regressions
    return [f"night {old.id}, which was never finished: {check.sentence}" for check in regressions]


def _log(night: Night, job: Job) -> Path:
    return night.folder / f"{job.folder}.log"
