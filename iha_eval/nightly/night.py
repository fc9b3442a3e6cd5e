"""One night: its commands, its folder, and what of it is done.

For: turning a configuration into as few lm-eval commands as tasks with different settings allow
(lm-eval takes limit, metadata, generation settings, shots and chat template for a whole run), and
going on where an earlier start ended. A job is done when its results and samples lie there whole,
whatever became of the process or of this one.
Not for: running jobs (`process.py`), nor for the history.
"""

import json
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from iha_eval.errors import UserError
from iha_eval.nightly.config import RUN, Config, Model, NightTask
from iha_eval.util.files import compact, sha256, write_whole
from iha_eval.util.redact import redact_words
from iha_eval.util.text import shorten

# Model arguments that name a folder or something on a hub.
_PLACES = ("pretrained", "tokenizer", "peft")
# Not imported from `model_adapters.default_checkpoint`, which takes seconds.
EMBEDDED = ("embedded-iha", "embedded-baseline")
# What can be a name on a hub, or an address.
_HUB_NAME = re.compile(r"\w[\w.-]{0,95}(/\w[\w.-]{0,95})?(@[\w.-]+)?|\w+://\S+")


@dataclass(frozen=True)
class Job:
    """One process: one model on tasks that share their settings.

    Attributes:
        model: which one.
        tasks: at least one.
        folder: where its output goes, below the folder of the night.
    """

    model: Model
    tasks: tuple[NightTask, ...]
    folder: str

    @property
    def role(self) -> str:
        """The name of the model in the configuration."""
        return self.model.role

    @property
    def names(self) -> list[str]:
        """The tasks as lm-eval names them."""
        return [task.name for task in self.tasks]

    @property
    def may_be_kept(self) -> bool:
        """Whether one process can run it and then others of its kind; see `KeptProcess`."""
        engines = self.model.argument("data_parallel_size")
        ours = self.model.model == "iha-vllm" and self.model.command == RUN
        return ours and str(engines or 1) == "1"

    def command(self, night: Path) -> list[str]:
        """The whole command line.

        Args:
            night: folder of the night.
        """
        return [*self._start(), "--output_path", str(night / self.folder), "--log_samples"]

    @property
    def sha256(self) -> str:
        """Hash of the command without its output folder, as 64 hex digits."""
        return sha256([*self._start(), sorted(self.model.environment.items())])

    def _start(self) -> list[str]:
        model = self.model
        given = model.arguments
        arguments = given if isinstance(given, str) else compact(given)
        start = [*model.command, "--model", model.model, "--model_args", arguments]
        return [*start, "--tasks", ",".join(self.names), *_options(self.tasks[0]), *model.extra]


def plan(config: Config) -> list[Job]:
    """All jobs of a night; those of the baseline last."""
    groups: dict[str, list[NightTask]] = {}
    for task in config.tasks:
        groups.setdefault(compact(task.settings), []).append(task)
    models = [_placed(model, config.folder) for model in config.models.values()]
    return [
        Job(model, tuple(tasks), f"{model.role}/{number}-{_file_name(tasks[0].name)}")
        for model in models
        for number, tasks in enumerate(groups.values(), 1)
    ]


def plan_sha256(jobs: Sequence[Job]) -> str:
    """Hash of all that a night runs, as 64 hex digits."""
    return sha256([job.sha256 for job in jobs])


def readable(command: Sequence[str]) -> str:
    """A command line to be shown, without secrets."""
    return shlex.join(redact_words(command))


def _placed(model: Model, base: Path) -> Model:
    """A model whose folders are told in full: results name them, and are read from anywhere."""
    given = model.arguments
    if not isinstance(given, str):
        arguments = {name: _place(name, value, base) for name, value in given.items()}
        return replace(model, arguments=arguments)
    pairs = [part.partition("=") for part in given.split(",")]
    parts = [f"{name}{equals}{_place(name.strip(), value, base)}" for name, equals, value in pairs]
    return replace(model, arguments=",".join(parts))


def _place(name: str, value: object, base: Path) -> object:
    """A folder that exists, absolute; the name of anything else as it stands."""
    if name not in _PLACES or value is None:
        return value
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UserError(
            f"{name} {shorten(repr(value), 200)} is no name and no path: give a folder or a name "
            "on the hub."
        )
    if isinstance(value, int):
        return value
    try:
        folder = base / Path(value).expanduser()
        there = folder.exists()
    except (OSError, RuntimeError):
        folder, there = base, False
    if name == "pretrained" and not there and not _HUB_NAME.fullmatch(value):
        raise UserError(
            f"pretrained {shorten(value, 200)!r} is no folder or file below {base}, and cannot be "
            "a name on the hub (owner/name): mend the path."
        )
    return str(folder) if folder.is_dir() and value not in EMBEDDED else value


def _options(task: NightTask) -> list[str]:
    words: list[str] = []
    for name, value in task.settings.items():
        words.append(f"--{name}")
        if value is not True:
            words.append(compact(value) if isinstance(value, dict) else str(value))
    return words


def _file_name(task: str) -> str:
    return re.sub(r"[^\w.-]", "_", task)[:60]


STATE = "night.json"
STEPS = "steps"
"""Folder in that of all nights for the steps of training runs."""

# An unfinished night is gone on with for less than the time to the next one.
STALE = timedelta(hours=20)
# A clock that was set back by less goes on with its night.
_AHEAD = timedelta(hours=1)

State = Literal["running", "failed", "unreported", "finished", "given up"]


@dataclass(frozen=True)
class NightPart:
    """A job as a night remembers it, whatever its configuration says by now.

    Attributes:
        role: name of the model in the configuration.
        tasks: what it runs.
        folder: below the folder of the night.
        command_sha256: hash of its command.
    """

    role: str
    tasks: tuple[str, ...]
    folder: str
    command_sha256: str


@dataclass(frozen=True)
class Night:
    """One night.

    Attributes:
        id: date it began, with a number from the second of a day on.
        started: when, ISO 8601 with time zone.
        folder: where all of it lies.
        plan: hash of all its commands.
        parts: its jobs.
        state: `running` also after a kill; `failed` if a run is missing; `unreported` if all is
            recorded and only the report could not be made; `given up` if the next night began
            before it was finished.
        step: training step of the checkpoints, where it is one (`watch.py`); None for a night.
    """

    id: str
    started: str
    folder: Path
    plan: str
    parts: tuple[NightPart, ...]
    state: State = "running"
    step: int | None = None

    @property
    def begun(self) -> datetime:
        """When it began."""
        return datetime.fromisoformat(self.started)

    def put(self, state: State) -> "Night":
        """Write a state down.

        Raises:
            UserError: the folder cannot be written.
        """
        night = replace(self, state=state)
        entry = asdict(night) | {"folder": night.folder.name}
        try:
            night.folder.mkdir(parents=True, exist_ok=True)
            write_whole(night.folder / STATE, json.dumps(entry, indent=1) + "\n")
        except OSError as error:
            raise UserError(
                f"the folder {night.folder} cannot be written ({error.strerror}): name another "
                "folder under output, or mend its permissions."
            ) from error
        return night


def nights_in(output: Path) -> list[Night]:
    """All nights in an output folder, oldest first; what is no night is passed over."""
    nights = [_read(path) for path in output.glob(f"*/{STATE}")]
    return sorted((night for night in nights if night), key=lambda night: (night.begun, night.id))


def open_night(
    output: Path, jobs: Sequence[Job], now: datetime, *, fresh: bool = False
) -> tuple[Night, list[Night]]:
    """The night that a start at this moment is about; nothing is written.

    The newest night is gone on with while it is unfinished, less than 20 hours old and of the
    same commands; otherwise a new one begins. `fresh` repeats the newest night of the day.

    Args:
        output: folder of all nights.
        jobs: what is to be run.
        now: with time zone.
        fresh: begin anew.

    Returns:
        The night, and older ones that will never be finished now.
    """
    # A night that a wrong clock has dated in the future is not the newest.
    known = [night for night in nights_in(output) if night.begun - now < _AHEAD]
    plan, newest = plan_sha256(jobs), known[-1] if known else None
    if newest and not fresh and _goes_on(newest, plan, now):
        return newest, [night for night in known[:-1] if night.state == "running"]
    today = f"{now:%Y-%m-%d}"
    again = fresh and newest is not None and newest.begun.date() == now.date()
    name = newest.id if again and newest else _free(output, today)
    parts = parts_of(jobs)
    night = Night(name, now.isoformat(timespec="seconds"), output / name, plan, parts)
    left = [old for old in known if old.state == "running" and old.id != name]
    return night, left


def parts_of(jobs: Sequence[Job]) -> tuple[NightPart, ...]:
    """Jobs as a night remembers them."""
    return tuple(NightPart(job.role, tuple(job.names), job.folder, job.sha256) for job in jobs)


def open_step(output: Path, step: int, jobs: Sequence[Job], now: datetime) -> Night:
    """The evaluation of one step of two training runs, as it is known or new; nothing is written.

    What one model had before stays part of it when only the other one's checkpoint is there.

    Raises:
        UserError: it was evaluated by other commands.
    """
    folder = step_folder(output, step)
    known = _read(folder / STATE) if (folder / STATE).exists() else None
    parts = {part.folder: part for part in known.parts} if known else {}
    for part in parts_of(jobs):
        before = parts.setdefault(part.folder, part)
        if before.command_sha256 != part.command_sha256:
            raise UserError(
                f"{folder / part.folder} was evaluated by another command (another run, task, "
                "model argument or Python): name another folder with --out, or the former settings."
            )
    every = tuple(parts.values())
    if known is not None:
        # With a further part it has to be recorded again.
        state = known.state if len(parts) == len(known.parts) else "running"
        return replace(known, parts=every, state=state)
    started = now.isoformat(timespec="seconds")
    return Night(folder.name, started, folder, plan_sha256(jobs), every, step=step)


def as_before(folder: Path, jobs: Sequence[Job]) -> list[Job]:
    """Jobs of a step with the folders that the same commands had there before.

    A task that was added before others, or another order, gives other numbers.
    """
    known = _read(folder / STATE)
    before = {part.command_sha256: part.folder for part in known.parts} if known else {}
    return [replace(job, folder=before.get(job.sha256, job.folder)) for job in jobs]


def step_folder(output: Path, step: int) -> Path:
    """Where the evaluation of a training step lies."""
    return output / STEPS / f"step-{step:08d}"


def set_aside(night: Night) -> Path | None:
    """Move an earlier folder of the same night out of the way; nothing is thrown away.

    Returns:
        Where it is now; None if there was none.
    """
    if not night.folder.exists():
        return None
    number = 1
    while (place := night.folder.with_name(f"{night.id}-replaced-{number}")).exists():
        number += 1
    night.folder.rename(place)
    # Not a night any more.
    (place / STATE).unlink(missing_ok=True)
    return place


def results_of(folder: Path) -> Path | None:
    """The newest results below a folder that lm-eval has written to its end.

    Samples come after results, so that results without them are those of a run that was killed.
    """
    files = sorted(folder.rglob("results_*.json"), key=lambda path: path.name, reverse=True)
    return next((path for path in files if _is_whole(path)), None)


def samples_of(results: Path, task: str) -> Path:
    """Where the samples of a task lie that belong to a results file."""
    stamp = results.stem.removeprefix("results_")
    return results.with_name(f"samples_{task}_{stamp}.jsonl")


def _goes_on(night: Night, plan: str, now: datetime) -> bool:
    open_ = night.state in ("running", "failed", "unreported")
    return open_ and night.plan == plan and abs(now - night.begun) < STALE


def _free(output: Path, today: str) -> str:
    name, number = today, 1
    while (output / name).exists():
        number += 1
        name = f"{today}.{number}"
    return name


def _read(path: Path) -> Night | None:
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        parts = [
            NightPart(
                str(part["role"]), tuple(part["tasks"]), part["folder"], part["command_sha256"]
            )
            for part in entry["parts"]
        ]
        night = Night(
            str(entry["id"]),
            str(entry["started"]),
            path.parent,
            str(entry["plan"]),
            tuple(parts),
            entry["state"],
            entry.get("step"),
        )
        return night if night.begun.tzinfo else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_whole(results: Path) -> bool:
    try:
        tasks = json.loads(results.read_text(encoding="utf-8"))["configs"]
        # A run of no task measured nothing.
        return bool(tasks) and all(_ends_whole(samples_of(results, task)) for task in tasks)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return file.read(1) == b"\n"
