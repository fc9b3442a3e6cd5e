"""One process of a night: its log, its time limit, its end when we are told to end.

For: `run_child`, `settle_log`, and `Stop`, which turns SIGTERM and SIGINT into something to look at
between steps so that nothing is cut off in the middle of writing.
Not for: knowing what the process does or whether it did it.
"""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from iha_eval.util.files import write_whole
from iha_eval.util.process import Tree, end_with_me, environment, in_words
from iha_eval.util.redact import redact, secret_values

# Seconds between SIGTERM and SIGKILL; the journal needs none of them.
GRACE = 10.0
# Seconds between looks at the process and at the signals.
_LOOK = 0.1
_TAIL_BYTES = 64 * 1024
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[^\x20-\x7e\t\u00a0-\U0010ffff]")


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        reason: empty if it ended by itself with exit code 0, else what went wrong, in words.
        seconds: how long it ran.
        stopped: whether it was ended because this process is to end.
    """

    reason: str
    seconds: float
    stopped: bool = False


class Stop:
    """Whether this process has been asked to end.

    Attributes:
        signal: number of the signal that asked; None if none has.
    """

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self.signal: int | None = None

    @contextlib.contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Take note of SIGTERM and SIGINT instead of ending at once; must be the main thread."""
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        for number in before:
            signal.signal(number, self._ask)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """What a process ended by the signal exits with, as shells have it."""
        return 128 + (self.signal or 0)

    @property
    def sentence(self) -> str:
        """What a user is told of the end."""
        name = signal.Signals(self.signal or 0).name
        return f"stopped by {name}: the same command goes on from here"

    def _ask(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.signal = number


def run_child(
    command: Sequence[str],
    log: Path,
    *,
    folder: Path,
    variables: Mapping[str, str],
    timeout: float | None,
    stop: Stop,
    keep: Sequence[int] = (),
    look: Callable[[], None] = lambda: None,
) -> Ended:
    """Run a command until it ends, its time is up, or we are asked to end.

    Args:
        command: program and arguments.
        log: file for its output; while it runs, that is beside it, see `unredacted`.
        folder: where it runs.
        variables: added to our environment.
        timeout: seconds it may take.
        stop: looked at all the time.
        keep: file descriptors that it inherits.
        look: called again and again while it runs.
    """
    started = time.monotonic()
    end_with_me()
    tree = Tree()
    # A script imports the files beside it, which Python's safe path would forbid.
    script = any(word.endswith(".py") for word in command[:2])
    given = {**({"PYTHONSAFEPATH": ""} if script else {}), **variables, **tree.variables}
    log.parent.mkdir(parents=True, exist_ok=True)
    # Not through a pipe: a process that outlives this one must be able to go on writing.
    with open(unredacted(log), "ab", opener=_for_us_alone) as file:
        try:
            # A session of its own, so that Ctrl-C reaches us alone.
            child = subprocess.Popen(
                command,
                cwd=folder,
                env=environment(given),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=keep,
            )
        except OSError as error:
            settle_log(log, variables)
            return Ended(f"{command[0]} cannot be started ({error.strerror})", 0.0)
    code: int | None = None
    try:
        while code is None and stop.signal is None:
            if timeout is not None and time.monotonic() - started > timeout:
                return Ended(f"not finished after {timeout:g} s", time.monotonic() - started)
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = child.wait(_LOOK)
            look()
    finally:
        # Also what it started and left behind, which would keep the accelerator.
        tree.end(child, GRACE)
        settle_log(log, variables)
    seconds = time.monotonic() - started
    if code is None:
        return Ended("stopped", seconds, stopped=True)
    return Ended(in_words(code), seconds)


def unredacted(log: Path) -> Path:
    """Where the output of a process is as long as it runs; its owner alone may read it."""
    return log.with_suffix(".unredacted")


def settle_log(log: Path, environment: Mapping[str, str]) -> None:
    """Add to a log what a process has written, without secrets; does nothing where that is done.

    Args:
        log: the log.
        environment: variables that the process had besides ours.
    """
    raw = unredacted(log)
    known = secret_values({**os.environ, **environment})
    # On a full disk the output stays where it is, and the next time may do better.
    with contextlib.suppress(OSError):
        text = redact(raw.read_bytes().decode("utf-8", "replace"), known)
        before = log.read_bytes() if log.exists() else b""
        write_whole(log, before + text.encode())
        raw.unlink()


def tail(log: Path, lines: int = 20) -> list[str]:
    """The last lines of a log that say something, fit to be shown; bars in their last state."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    drawn = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    clean = (_CONTROL.sub("", line).rstrip() for line in drawn)
    return [line[:500] for line in clean if line][-lines:]


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
