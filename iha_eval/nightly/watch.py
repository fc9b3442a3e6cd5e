"""Along training: each checkpoint of two runs is evaluated once, equal steps are compared.

For: `run_watch`. A step is a night whose models are the configuration's with the checkpoints of
that step: it has a folder, jobs, logs and lines in the history as a night has, and goes on in the
same way after a stop or a kill. What one run alone has so far stays until the other one comes.
Not for: what the page says (`step_report.py`), nor for training.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from iha_eval import trackers
from iha_eval.errors import UserError
from iha_eval.nightly.config import BASELINE, Config, Model, NightTask
from iha_eval.nightly.history import History
from iha_eval.nightly.lock import only_one
from iha_eval.nightly.night import (
    STEPS,
    Job,
    Night,
    as_before,
    nights_in,
    open_step,
    plan,
    results_of,
    step_folder,
)
from iha_eval.nightly.process import KeptProcess, Stop, settle_log
from iha_eval.nightly.run import FINE, MISSING, REGRESSION, NightJobs, NightProgress, Say
from iha_eval.nightly.step_report import (
    IHA,
    ROLES,
    build_watch,
    keep_mixing,
    read_mixing,
    write_pair,
    write_watch,
)
from iha_eval.util.files import sha256, write_whole
from iha_eval.util.process import python

MEANINGS = {
    FINE: "nothing is missing, and IHA is not clearly behind",
    REGRESSION: "IHA is clearly behind the baseline, see above and in the report",
    MISSING: "something is missing or not compared",
}
"""What each exit code says, for the last line."""

NOTE = "checkpoint.json"
"""Where the folder of a step says, for each model, which checkpoint was evaluated."""

# As Transformers, TRL, torchtitan, Megatron and our recipes call the folders of checkpoints.
_NAME = re.compile(r"(?:checkpoint|ckpt|global_step|step|iter)[-_]?(\d+)")
# Folders of a run in which they stand, besides the run itself.
_BELOW = ("", "training", "checkpoints")
# Seconds that all files must be unchanged, and after which what is not whole never will be.
_SETTLE, _PATIENCE = 5.0, 600.0
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")


@dataclass(frozen=True)
class WatchedRuns:
    """What to follow.

    Attributes:
        folders: of the two training runs, by `iha` and `baseline`.
        every: only steps that are a multiple of this.
        pattern: glob of checkpoint folders below a run; the usual names if None.
        once: end when everything that is there is evaluated.
        poll: seconds between looks.
        anew: start an engine for each checkpoint, in place of keeping it with others' weights.
        to: tracker and project that the scores of paired steps are sent to; None for none.
        tokens: that each run sees in a training step, where equal tokens are to be paired; equal
            steps are if None.
    """

    folders: Mapping[str, Path]
    every: int = 1
    pattern: str | None = None
    once: bool = False
    poll: float = 60.0
    anew: bool = False
    to: tuple[str, str] | None = None
    tokens: Mapping[str, int] | None = None

    def step(self, role: str, number: int) -> int | None:
        """IHA's step with the tokens of a run's step; None if IHA saves at no such moment."""
        if self.tokens is None:
            return number
        step, rest = divmod(number * self.tokens[role], self.tokens[IHA])
        return None if rest else step


def watch_config(config: Config, tasks: list[str] | None = None, out: Path | None = None) -> Config:
    """A configuration of nights as a watch takes it: two models, perhaps other tasks or folders.

    Args:
        config: as it was read.
        tasks: names; those in the configuration keep their settings.
        out: folder for output and history in place of the configuration's.

    Raises:
        UserError: it has no model called iha.
    """
    if IHA not in config.models:
        raise UserError(
            f"{config.file.name}: models.{IHA} is missing: a watch takes the settings of its two "
            f"models from models.{IHA} and models.{BASELINE}."
        )
    named = {task.name: task for task in config.tasks}
    return replace(
        config,
        models={role: config.models[role] for role in ROLES},
        tasks=tuple(named.get(name, NightTask(name, {})) for name in tasks or named),
        output=config.output if out is None else out,
        history=config.history if out is None else out / "history",
        rules=replace(config.rules, confirm=False),
    )


def run_watch(config: Config, asked: WatchedRuns, say: Say) -> int:
    """Follow two training runs; must be called in the main thread.

    Args:
        config: see `watch_config`.
        asked: what to follow.
        say: receives lines for the user.

    Returns:
        The exit code.

    Raises:
        UserError: a run or a checkpoint cannot be meant, another night or watch is under way, or a
            folder cannot be written.
    """
    for role in ROLES:
        # Of a training that has ended, all may have been cleared away since they were evaluated.
        known = any((config.output / STEPS).glob(f"*/{role}/{NOTE}"))
        if not _checkpoints(role, asked) and asked.once and not known:
            raise UserError(
                f"{asked.folders[role]} has no checkpoints yet that a watch would look for "
                f"({_sought(asked)}): wait for the training, leave out --once, or give --glob."
            )
    with (
        only_one(config.history, datetime.now().astimezone().isoformat(timespec="seconds")) as lock,
        Stop().listening() as stop,
    ):
        watch = _RunWatch(config, asked, History(config.history), lock, stop, say)
        if not asked.anew:
            watch.keep_engines()
        try:
            return watch.follow()
        finally:
            for process in watch.kept.values():
                process.end()


def _share_of_gpu(model: Model) -> float:
    """What an engine that is kept takes; 0 where another argument says so, or it is no number."""
    # Slow to import, and not needed for a start that is refused.
    from model_adapters.cost.blocks import GPU_SHARE

    if model.argument("kv_cache_memory_bytes") is not None:
        return 0.0
    try:
        return float(model.argument("gpu_memory_utilization") or GPU_SHARE / len(ROLES))
    except ValueError:
        return 0.0


def _sought(asked: WatchedRuns) -> str:
    what = asked.pattern or "checkpoint-N, step-N, global_stepN"
    return what if asked.every == 1 else f"{what}, N a multiple of {asked.every}"


def _checkpoints(role: str, asked: WatchedRuns) -> dict[int, Path]:
    """The checkpoint folders of a run by their steps; see `WatchedRuns.step`.

    Raises:
        UserError: there is no such folder, or two are of one step.
    """
    run = asked.folders[role]
    if not run.is_dir():
        raise UserError(f"--{role} {run} is no folder: name the output folder of a training run.")
    try:
        if asked.pattern:
            places = [path for path in run.glob(asked.pattern) if path.is_dir()]
        else:
            below = [run / name for name in _BELOW if (run / name).is_dir()]
            every = [path for folder in below for path in folder.iterdir()]
            places = [path for path in every if _NAME.fullmatch(path.name) and path.is_dir()]
    except (OSError, ValueError, NotImplementedError) as error:
        raise UserError(
            f"the checkpoints of {run} cannot be listed ({error}): mend its permissions, or give "
            "--glob a pattern of folders below it, such as checkpoint-*."
        ) from error
    checkpoints: dict[int, Path] = {}
    for place in sorted(places):
        numbers = re.findall(r"\d+", str(place.relative_to(run)))
        if not numbers:
            raise UserError(f"--glob finds {place}, whose name holds no number of steps.")
        step = asked.step(role, int(numbers[-1]))
        if step is None:
            continue
        if step in checkpoints:
            raise UserError(
                f"{checkpoints[step]} and {place} are both of step {step}: move one away, or tell "
                "them apart with --glob."
            )
        if step % asked.every == 0 and step < 2**31:
            checkpoints[step] = place
    return dict(sorted(checkpoints.items()))


Files = list[list[Any]]


@dataclass
class _Sight:
    """What is known of a checkpoint folder.

    Attributes:
        files: name, size and time of each file, as they were seen.
        since: when they were first seen so, on the clock that only runs forward.
        reason: why it is not whole; None while it was not read.
    """

    files: Files
    since: float
    reason: str | None = None


@dataclass
class _RunWatch:
    """Two runs under watch.

    Attributes:
        config: what each step does.
        asked: what to follow.
        history: where steps are recorded.
        lock: file descriptor of the lock.
        stop: whether we are to end.
        say: receives lines for the user.
        sights: what is known of folders that were not evaluated yet.
        failed: jobs that have failed since this start, which are not repeated, and why.
        refusals: steps that cannot be compared, in words.
        tokenizer: hash and folder of the first tokenizer seen.
        settling: whether a folder was changed a moment ago.
        never: that a checkpoint never gets whole, in words.
        not_sent: why the tracker has not everything, in words.
        kept: processes that keep their engine, by the role of the model.
    """

    config: Config
    asked: WatchedRuns
    history: History
    lock: int
    stop: Stop
    say: Say
    sights: dict[Path, _Sight] = field(default_factory=dict)
    failed: dict[Path, str] = field(default_factory=dict)
    refusals: dict[int, str] = field(default_factory=dict)
    tokenizer: tuple[str, Path] | None = None
    settling: bool = False
    never: str = ""
    not_sent: str = ""
    kept: dict[str, KeptProcess] = field(default_factory=dict)

    def keep_engines(self) -> None:
        """Let a process for each model keep its engine from checkpoint to checkpoint.

        Not where the engines would not fit side by side: one that stays leaves no room for another
        model's that takes the whole memory.
        """
        models = self.config.models.values()
        if not all(Job(model, (), "").may_be_kept for model in models):
            return
        if sum(map(_share_of_gpu, models)) > 1:
            return
        place = self.config.output / STEPS
        secrets = {name: text for model in models for name, text in model.environment.items()}
        for output in place.rglob("*.unredacted"):
            if output.is_symlink():
                # Of a watch that was killed: read before another command's output comes there.
                settle_log(output.with_suffix(".log"), secrets)
        program = python("iha_eval.nightly.kept_run", str(len(ROLES)))
        self.kept = {role: KeptProcess(program, place / f"{role}.unredacted") for role in ROLES}

    def follow(self) -> int:
        """Look, evaluate, wait, until there is nothing more to do or we are to end."""
        waited, told = 0, ""
        for role in ROLES:
            for step, folder in _checkpoints(role, self.asked).items():
                self._note(step_folder(self.config.output, step), role, folder)
        # Whatever a kill has left undone between a record and its page.
        self._page()
        while True:
            self._look()
            if self.stop.signal is None and self.never:
                raise UserError(self.never)
            if self.asked.once and (waited > 2 or not self.settling):
                break
            waited += 1
            waits = self._waits()
            if waits != told:
                self.say(waits)
                told = waits
            self._sleep(_SETTLE if self.settling else self.asked.poll)
            if self.stop.signal is not None:
                break
        if self.stop.signal is not None:
            self.say(self.stop.sentence)
            return self.stop.exit_code
        return self._close()

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self.stop.signal is None and time.monotonic() < end:
            time.sleep(min(0.1, seconds))

    def _waits(self) -> str:
        last = {role: max(_checkpoints(role, self.asked), default=0) for role in ROLES}
        shown = ", ".join(f"{role} is at step {step:,}" for role, step in last.items())
        return f"waiting for checkpoints: {shown}"

    def _look(self) -> None:
        """Evaluate every checkpoint that is whole and not evaluated yet, in order of steps."""
        self.settling, self.never = False, ""
        checkpoints = {role: _checkpoints(role, self.asked) for role in ROLES}
        for step in sorted({step for folders in checkpoints.values() for step in folders}):
            sides = {role: checkpoints[role][step] for role in ROLES if step in checkpoints[role]}
            place = step_folder(self.config.output, step)
            # Some may have been removed since this look began.
            whole = {role: at for role, at in sides.items() if self._is_whole(place, role, at)}
            jobs = as_before(place, plan(self._at(whole)))
            if jobs and self.stop.signal is None:
                now = datetime.now().astimezone()
                self._evaluate(open_step(self.config.output, step, jobs, now), jobs)
        for night in nights_in(self.config.output / STEPS):
            gone = not any(night.step in folders for folders in checkpoints.values())
            if gone and night.state == "running" and self.stop.signal is None:
                # Killed before it was recorded, and its checkpoints were cleared away.
                self._record(night)

    def _at(self, sides: Mapping[str, Path]) -> Config:
        models = self.config.models
        return replace(
            self.config,
            models={role: models[role].of(folder.absolute()) for role, folder in sides.items()},
        )

    def _is_whole(self, place: Path, role: str, folder: Path) -> bool:
        """Whether a checkpoint can be evaluated, or was; writes down which one it is.

        Raises:
            UserError: it is another one than was evaluated, or has another tokenizer.
        """
        note = self._note(place, role, folder)
        try:
            files = _files(folder)
        except OSError:
            # Gone in this moment.
            return False
        if note is None or note["files"] != files:
            jobs = as_before(place, plan(self._at({role: folder}))) if note else []
            done = bool(jobs) and all(results_of(place / job.folder) for job in jobs)
            state = self._read(folder, files, role, done)
            if state is None:
                return False
            if note and results_of(place / role) and note["fingerprint"] != state["fingerprint"]:
                raise UserError(
                    f"{folder} has changed since it was evaluated (its fingerprint was "
                    f"{note['fingerprint'][:12]} and is {state['fingerprint'][:12]}): name another "
                    "folder with --out to begin anew, or put the former checkpoint back."
                )
            keep_mixing(self.history, state["fingerprint"], state.pop("mixing"))
            try:
                (place / role).mkdir(parents=True, exist_ok=True)
                write_whole(place / role / NOTE, json.dumps(state))
            except OSError as error:
                raise UserError(
                    f"the folder {place} cannot be written ({error.strerror}): name another one "
                    "with --out, or mend its permissions."
                ) from error
            note = state
        self._check_tokenizer(note["tokenizer"], folder)
        return True

    def _note(self, place: Path, role: str, folder: Path) -> dict[str, Any] | None:
        """What is written down of the checkpoint of a step; None before it was whole.

        Raises:
            UserError: another folder was evaluated in its place.
        """
        note = _read_note(place / role / NOTE)
        before = note.get("path", str(folder)) if note else str(folder)
        if before != str(folder) and results_of(place / role):
            raise UserError(
                f"{place.name} was evaluated with {before}, not with {folder}: give that folder "
                "its name back, ask for the same pairs as before (--glob, --tokens-per-step), or "
                "name another folder with --out to begin anew."
            )
        return note

    def _read(self, folder: Path, files: Files, role: str, done: bool) -> dict[str, Any] | None:
        """What a checkpoint is; None as long as it is not whole.

        Of one that is `done`, evaluated on all tasks, the trainer may remove what it likes.
        """
        sight = self.sights.get(folder)
        if sight is None or sight.files != files:
            sight = self.sights[folder] = _Sight(files, time.monotonic())
        newest = max((each[2] for each in files), default=0) / 1e9
        seen = time.monotonic() - sight.since
        age = max(seen, time.time() - newest if files else 0.0)
        if age < _SETTLE:
            self.settling = True
            return None
        if sight.reason is None:
            elsewhere = self.config.models[role].argument("tokenizer") is not None
            state, sight.reason = _whole(folder, files, elsewhere)
            if state is not None:
                return state
            if not done:
                self.say(f"{folder} is not whole ({sight.reason}): waiting for it")
        if done or age <= _PATIENCE:
            return None
        if seen < _SETTLE:
            # A copy with the times of its original may be between two files.
            self.settling = True
        else:
            self.never = (
                f"{folder} is unchanged for {_PATIENCE / 60:.0f} minutes and not whole "
                f"({sight.reason.rstrip('.')}): save it again, or move it away."
            )
        return None

    def _check_tokenizer(self, tokenizer: str | None, folder: Path) -> None:
        if tokenizer is None or self.config.unpaired:
            return
        first, where = self.tokenizer = self.tokenizer or (tokenizer, folder)
        if tokenizer != first:
            raise UserError(
                f"{folder} has another tokenizer than {where}, so that questions cannot be paired: "
                "train both with the same one, or set unpaired: true in the configuration, which "
                "gives both curves without a difference."
            )

    def _evaluate(self, night: Night, jobs: list[Job]) -> None:
        """Run what is to be run, and record, compare and show the step if anything is new."""
        todo = [
            job
            for job in jobs
            if night.folder / job.folder not in self.failed
            and results_of(night.folder / job.folder) is None
        ]
        if night.state in ("finished", "failed") and not todo:
            return
        self.say(f"step {night.step:,} in {night.folder}")
        night = night.put("running")
        progress = NightProgress(night, [part.folder for part in night.parts])
        runner = NightJobs(night, self.config, self.stop, self.lock, self.say, progress, self.kept)
        for job in todo:
            if self.stop.signal is None and (reason := runner.run(job)):
                self.failed[night.folder / job.folder] = reason
        if self.stop.signal is None:
            self._record(night)

    def _record(self, night: Night) -> None:
        # Slow to import, and not needed for a start that is refused.
        from iha_eval.nightly.record import record_night

        reasons = {
            part.folder: self.failed.get(night.folder / part.folder, "") for part in night.parts
        }
        # Held against no earlier step, whose checkpoint is another model.
        rules = replace(self.config.rules, last_good=False, baseline=False)
        outcome = record_night(night, reasons, rules, self.history)
        for run in outcome.missing:
            self.say(run.sentence)
        if all(outcome.of(role) for role in ROLES):
            refusal = write_pair(self.config, night, outcome)
            self.refusals.pop(night.step or 0, None)
            if refusal:
                self.refusals[night.step or 0] = refusal
                self.say(refusal)
        self._page()
        night.put("failed" if outcome.missing else "finished")

    def _page(self) -> Any:
        """Make the page of all steps; nothing is made of no step."""
        report = build_watch(
            self.config,
            self.asked.folders,
            self.history,
            list(self.refusals.values()),
            self.asked.tokens,
        )
        if report["trend"] or report["warnings"]:
            write_watch(self.config, report, self.history)
        self.not_sent = self._send(report)
        return report

    def _send(self, report: Any) -> str:
        """Send the steps that are paired and were not sent yet; returns why that failed."""
        if self.asked.to is None:
            return ""
        paired = {look["step"] for each in report["trend_differences"] for look in each["nights"]}
        scores = {step: s for step, s in trackers.scores_of(report).items() if step in paired}
        try:
            steps = trackers.send_new(*self.asked.to, report["title"], scores, self.history.folder)
        except UserError as error:
            self.say(f"NOT SENT: {error}")
            return str(error)
        if steps:
            self.say(f"sent to {self.asked.to[0]}: step {', '.join(map(str, steps))}")
        return ""

    def _close(self) -> int:
        """Say what the steps come to."""
        report = self._page()
        for sentence in (*(each["sentence"] for each in report["findings"]), *report["waiting"]):
            self.say(sentence)
        for sentence in report["warnings"]:
            self.say(sentence)
        files = [self.config.output / STEPS / name for name in ("report.html", "report.json")]
        for file in files:
            if file.exists():
                self.say(str(file))
        behind = any(each["word"] == "worse" for each in report["findings"])
        lacks = report["warnings"] or not report["findings"] or self.not_sent
        code = MISSING if lacks else FINE
        code = REGRESSION if behind and self.config.rules.baseline else code
        self.say(f"exit code {code}: {MEANINGS[code]}")
        return code


def _files(folder: Path) -> Files:
    """Name, size and time of each file, in JSON's types."""
    stats = ((path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file())
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]


def _read_note(path: Path) -> dict[str, Any] | None:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        return note if {"fingerprint", "files", "tokenizer"} <= set(note) else None
    except (OSError, ValueError, TypeError):
        return None


def _whole(folder: Path, files: Files, elsewhere: bool) -> tuple[dict[str, Any] | None, str]:
    """What a checkpoint is, or why it is not whole.

    Args:
        folder: of the checkpoint.
        files: as they were before it is read.
        elsewhere: whether its tokenizer is not in the folder.
    """
    # Slow to import, and not needed for a start that is refused.
    from model_adapters import checkpoint
    from model_adapters.errors import AdapterError

    tokenizer = _tokenizer(folder)
    if tokenizer is None and not elsewhere:
        return None, (
            "it has no tokenizer: let the training save one there, or name it in model_args "
            "as tokenizer"
        )
    try:
        fingerprint, mixing = checkpoint.read(folder).fingerprint, read_mixing(folder)
        if _files(folder) != files:
            return None, "it changed while it was read"
    except (AdapterError, OSError) as error:
        return None, str(error)
    note = {"path": str(folder), "fingerprint": fingerprint, "files": files, "tokenizer": tokenizer}
    return note | {"mixing": mixing}, ""


def _tokenizer(folder: Path) -> str | None:
    """Hash of a tokenizer without how it was last called; None without any.

    Of several files the first counts, which is the one that is loaded: some trainers save the
    other forms beside it, and some do not.
    """
    for name in _TOKENIZERS:
        try:
            content: Any = (folder / name).read_bytes().hex()
            if name == "tokenizer.json":
                content = json.loads((folder / name).read_text(encoding="utf-8"))
                content = {k: v for k, v in content.items() if k not in ("truncation", "padding")}
            return sha256({name: content})
        except (OSError, ValueError, AttributeError):
            continue
    return None
