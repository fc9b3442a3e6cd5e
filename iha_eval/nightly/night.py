"""One night's folder: its name, what it is to run, and what of that is done.

For: going on where an earlier start ended. A job is done when its results and samples lie there
whole, whatever became of the process or of this one.
Not for: running jobs, nor for the history.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from iha_eval.errors import UserError
from iha_eval.nightly.jobs import Job, plan_sha256
from iha_eval.util.files import write_whole

STATE = "night.json"
# An unfinished night is gone on with for less than the time to the next one.
STALE = timedelta(hours=20)

State = Literal["running", "failed", "unreported", "finished", "given up"]


@dataclass(frozen=True)
class Part:
    """A job as a night remembers it, whatever its configuration says by now.

    Attributes:
        role: `iha` or `baseline`.
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
    """

    id: str
    started: str
    folder: Path
    plan: str
    parts: tuple[Part, ...]
    state: State = "running"

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
    found = [_read(path) for path in output.glob(f"*/{STATE}")]
    return sorted((night for night in found if night), key=lambda night: (night.begun, night.id))


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
    known = nights_in(output)
    plan, newest = plan_sha256(jobs), known[-1] if known else None
    if newest and not fresh and _goes_on(newest, plan, now):
        return newest, [night for night in known[:-1] if night.state == "running"]
    today = f"{now:%Y-%m-%d}"
    again = fresh and newest is not None and newest.begun.date() == now.date()
    name = newest.id if again and newest else _free(output, today)
    parts = tuple(Part(job.role, tuple(job.names), job.folder, job.sha256) for job in jobs)
    night = Night(name, now.isoformat(timespec="seconds"), output / name, plan, parts)
    left = [old for old in known if old.state == "running" and old.id != name]
    return night, left


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
    found = sorted(folder.rglob("results_*.json"), key=lambda path: path.name, reverse=True)
    return next((path for path in found if _is_whole(path)), None)


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
            Part(str(one["role"]), tuple(one["tasks"]), one["folder"], one["command_sha256"])
            for one in entry["parts"]
        ]
        night = Night(
            str(entry["id"]),
            str(entry["started"]),
            path.parent,
            str(entry["plan"]),
            tuple(parts),
            entry["state"],
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
