"""One night at a time: a lock in the history folder.

For: keeping a second start out while the first one, or a process that it left behind, still runs.
Not for: how it is held (see `util/lock.py`).
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from iha_eval.errors import UserError
from iha_eval.util.lock import Lock, TakenError

NAME = "nightly.lock"
FILE = "nightly.lock.held"
"""Stands for the lock on a file system that knows none, such as Lustre or NFS without locks."""


@contextlib.contextmanager
def only_one(history: Path, started: str) -> Iterator[int]:
    """Hold the lock.

    The system lets go of it when this process ends, however it ends, and every process that
    inherited the descriptor: after a kill the runs that go on alone still keep others out.

    Args:
        history: folder that it lies in; made if need be.
        started: date and time, for the sentence that a second start is given.

    Yields:
        The file descriptor.

    Raises:
        UserError: somebody else holds it, or the folder cannot be written.
    """
    path = history / NAME
    try:
        history.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(
            f"the history folder {history} cannot be written ({error.strerror}): name another "
            "folder under history, or mend its permissions."
        ) from error
    try:
        try:
            lock = Lock(file, history / FILE, started)
        except TakenError as error:
            raise UserError(_taken(history, file, error.holder)) from error
        try:
            if not lock.is_file:
                os.ftruncate(file, 0)
                os.pwrite(file, json.dumps({"pid": os.getpid(), "started": started}).encode(), 0)
            yield file
        finally:
            # Also for whoever inherited it: what is left of a run that ended well does no harm.
            lock.release()
    finally:
        os.close(file)


def _taken(history: Path, file: int, holder_in_words: str) -> str:
    if holder_in_words:
        return (
            f"another night is under way, {holder_in_words}: wait for it to end; if it is gone, "
            f"remove {history / FILE} (the file system there knows no locks)."
        )
    try:
        holder = json.loads(os.pread(file, 4096, 0))
        pid, started = int(holder["pid"]), str(holder["started"])
    except (ValueError, KeyError, TypeError):
        return f"another night is under way with the history {history}: wait for it to end."
    alive = Path(f"/proc/{pid}").exists() or not Path("/proc").exists()
    who = f"process {pid}" if alive else f"a run that process {pid} left behind"
    return (
        f"another night is under way with the history {history}, {who}, since {started}: wait for "
        "it to end, or end it."
    )
