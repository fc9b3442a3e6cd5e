"""One process at a time: the system's lock on an open file, or else a file that only one can make.

For: the night and the journal of answers. Some file systems know no locks (Lustre, NFS without
them); there a file beside says who holds the lock, and goes when that process lets go of it.
Not for: protecting files against other programs.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from iha_eval.util.log import logger

# What flock says where there is no such thing.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)


class TakenError(Exception):
    """Somebody else holds the lock.

    Args:
        holder: who and since when, where a file says it; empty for a lock of the system.
    """

    def __init__(self, holder: str = "") -> None:
        super().__init__(holder)
        self.holder = holder


class Lock:
    """A lock that is held until `release`, or until this process ends.

    The system's lock goes with the last process that inherited the descriptor. A file that a
    process left behind when it was killed is taken away by the next one on the same host.

    Args:
        file: descriptor of the open file.
        beside: the file to make where the file system knows no locks.
        since: since when the lock is held, for the sentence that others are given; None is now.

    Attributes:
        is_file: whether the file beside stands for the lock.

    Raises:
        TakenError: somebody else holds it.
        OSError: neither can be had.
    """

    def __init__(self, file: int, beside: Path, since: str | None = None) -> None:
        self._file = file
        self._beside = beside
        self.is_file = False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TakenError from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            self.is_file = True
            _make(beside, since or time.strftime("%Y-%m-%dT%H:%M:%S%z"))
            logger.warning(
                "The file system of %s knows no locks (%s): %s keeps other runs out instead.",
                beside.parent,
                error.strerror,
                beside.name,
            )

    def release(self) -> None:
        """Let go, also for whoever inherited the descriptor; that stays open."""
        if self.is_file:
            self._beside.unlink(missing_ok=True)
        else:
            fcntl.flock(self._file, fcntl.LOCK_UN)


def is_taken(file: int, beside: Path) -> bool:
    """Whether somebody holds the lock of an open file; the arguments are those of `Lock`."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return beside.exists() and not _left_behind(_read(beside))
    return False


def _make(path: Path, since: str) -> None:
    mine = {**_place(), "pid": os.getpid(), "begun": _begun(os.getpid()), "started": since}
    for _ in range(2):
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            holder = _read(path)
            if not _left_behind(holder) or not _take_away(path, holder):
                raise TakenError(_in_words(holder)) from None
            continue
        with contextlib.closing(os.fdopen(file, "w", encoding="utf-8")) as opened:
            opened.write(json.dumps(mine))
        return
    raise TakenError(_in_words(_read(path)))


def _take_away(path: Path, stale: Any) -> bool:
    """Remove what was left behind, and nothing that another process has made since."""
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return True
    try:
        if _read(aside) == stale:
            return True
        # Another process was quicker, and this is its lock.
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
        return False
    finally:
        aside.unlink(missing_ok=True)


def _read(path: Path) -> Any:
    """What a file says of the one who made it; None where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _left_behind(holder: Any) -> bool:
    """Whether a holder is gone for sure; nobody here can know that of another host's."""
    try:
        here = _place()
        boot = here.pop("boot")
        if any(holder.get(name) != value for name, value in here.items()):
            return False
        begun = _begun(int(holder["pid"]))
        return bool(holder["boot"] != boot or begun is None or begun != holder["begun"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def _in_words(holder: Any) -> str:
    try:
        return f"process {holder['pid']} on {holder['host']}, since {holder['started']}"
    except (KeyError, TypeError):
        return "a process that is not known"


def _place() -> dict[str, str]:
    """Where the number of a process says which one it is: host, its boot, the container."""
    place = {"host": socket.gethostname(), "machine": "", "boot": "", "processes": ""}
    with contextlib.suppress(OSError):
        place["boot"] = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        place["processes"] = str(Path("/proc/self/ns/pid").readlink())
        # Hosts of one name are told apart by it.
        place["machine"] = Path("/etc/machine-id").read_text().strip()
    return place


def _begun(pid: int) -> str | None:
    """When a process began, in ticks since the boot, for its number may come again; None if gone.

    Empty where the system does not say.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "" if not Path("/proc/self").exists() else None
