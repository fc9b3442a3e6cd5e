"""One night at a time: a lock in the history folder.

For: keeping a second start out while the first one, or a process that it left behind, still runs.
Not for: protecting files against other programs.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from iha_eval.errors import UserError

NAME = "nightly.lock"
FILE = "nightly.lock.held"
"""Stands for the lock on a file system that knows none, such as Lustre or NFS without locks."""

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)


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
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(_taken(history, file)) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            with _by_file(history, started):
                yield file
            return
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps({"pid": os.getpid(), "started": started}).encode(), 0)
        yield file
        # Also for whoever inherited it: what is left of a run that ended well does no harm.
        fcntl.flock(file, fcntl.LOCK_UN)
    finally:
        os.close(file)


@contextlib.contextmanager
def _by_file(history: Path, started: str) -> Iterator[None]:
    """Hold a file that only one can make, where the file system knows no locks."""
    path = history / FILE
    mine = {"host": socket.gethostname(), "boot": _boot(), "pid": os.getpid(), "started": started}
    for _ in range(2):
        try:
            with path.open("x") as file:
                file.write(json.dumps(mine))
            break
        except FileExistsError:
            if not _left_behind(path, mine):
                raise UserError(_held(path)) from None
            path.unlink(missing_ok=True)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _left_behind(path: Path, mine: Mapping[str, object]) -> bool:
    """Whether whoever made the file is gone for sure; that of another host never is."""
    try:
        holder = json.loads(path.read_text())
        if holder["host"] != mine["host"]:
            return False
        here = holder["boot"] == mine["boot"]
        return not here or not Path(f"/proc/{int(holder['pid'])}").exists()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _held(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        who = f"process {holder['pid']} on {holder['host']}, since {holder['started']}"
    except (OSError, ValueError, KeyError, TypeError):
        who = "a process that is not known"
    return (
        f"another night is under way, {who}: wait for it to end; if it is gone, remove {path} (the "
        "file system there knows no locks)."
    )


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _taken(history: Path, file: int) -> str:
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
