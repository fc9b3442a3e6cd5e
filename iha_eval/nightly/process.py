"""One process of a night: its log, its time limit, its end when we are told to end.

For: `run_child`, `KeptProcess`, `settle_log`, and `Stop`, which turns SIGTERM and SIGINT into
something to look at between steps so that nothing is cut off in the middle of writing.
Not for: knowing what the process does or whether it did it.
"""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import IO

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


@dataclass(frozen=True)
class ChildSetting:
    """Where and how a command runs.

    Attributes:
        log: file for its output; while it runs, that is beside it, see `unredacted`.
        folder: where it runs.
        variables: added to our environment.
        timeout: seconds it may take.
        stop: looked at all the time.
        keep: file descriptors that it inherits.
        look: called again and again while it runs.
    """

    log: Path
    folder: Path
    variables: Mapping[str, str]
    timeout: float | None
    stop: Stop
    keep: Sequence[int] = ()
    look: Callable[[], None] = lambda: None


def run_child(command: Sequence[str], setting: ChildSetting) -> Ended:
    """Run a command until it ends, its time is up, or we are asked to end.

    Args:
        command: program and arguments.
        setting: where and how.
    """
    log = setting.log
    tree = Tree()
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    # Not through a pipe: a process that outlives this one must be able to go on writing.
    with open(unredacted(log), "ab", opener=_for_us_alone) as file:
        try:
            child = _start(command, tree, setting, stdout=file)
        except OSError as error:
            settle_log(log, setting.variables)
            return Ended(f"{command[0]} cannot be started ({error.strerror})", 0.0)
    try:
        return _wait(lambda: _exit_code(child), started, setting)
    finally:
        # Also what it started and left behind, which would keep the accelerator.
        tree.end(child, GRACE)
        settle_log(log, setting.variables)


class KeptProcess:
    """A process that runs one command of `iha-eval run` after the other, and keeps its engine.

    It starts at the first command, and anew after one that failed, whose engine may be broken.

    Args:
        program: what runs it; gets a file descriptor to tell exit codes by.
        output: file that its output goes to.
    """

    def __init__(self, program: Sequence[str], output: Path) -> None:
        """Starts nothing yet."""
        self._program, self._output = program, output
        self._tree = Tree()
        self._child: subprocess.Popen[bytes] | None = None
        self._codes = -1
        # Whether the output of the last command is in no log yet.
        self._is_unread = False

    def run(self, arguments: Sequence[str], setting: ChildSetting) -> Ended:
        """Run a command as `run_child` does, of the arguments of `iha-eval run`."""
        log, variables = setting.log, setting.variables
        started = time.monotonic()
        log.parent.mkdir(parents=True, exist_ok=True)
        settle_log(log, variables)
        ended = Ended("it could not be asked", 0.0)
        try:
            self._empty()
            unredacted(log).symlink_to(self._output)
            child = self._running(setting)
            assert child.stdin is not None
            child.stdin.write(json.dumps(list(arguments)).encode() + b"\n")
            child.stdin.flush()
            ended = _wait(lambda: self._told(child), started, setting)
        except OSError as error:
            ended = Ended(f"{self._program[0]} cannot be started ({error.strerror})", 0.0)
        finally:
            if ended.reason:
                self._end_process()
            settle_log(log, variables)
            # On a full disk it is still to be read.
            self._is_unread = unredacted(log).is_symlink()
            if not self._is_unread:
                self._empty()
        return ended

    def _empty(self) -> None:
        """The process, and those of its engine, go on writing at the end of this file."""
        with open(self._output, "wb", opener=_for_us_alone):
            pass

    def _running(self, setting: ChildSetting) -> "subprocess.Popen[bytes]":
        if self._child is not None and self._child.poll() is not None:
            self._end_process()
        if self._child is None:
            self._tree = Tree()
            self._codes, codes = os.pipe()
            try:
                with open(self._output, "ab", opener=_for_us_alone) as file:
                    self._child = _start(
                        [*self._program, str(codes)],
                        self._tree,
                        replace(setting, keep=(*setting.keep, codes)),
                        stdout=file,
                        stdin=subprocess.PIPE,
                    )
            finally:
                os.close(codes)
        return self._child

    def _told(self, child: "subprocess.Popen[bytes]") -> int | None:
        """The exit code of the command, or of the process if that has ended."""
        if select.select([self._codes], [], [], _LOOK)[0]:
            line = os.read(self._codes, 16).split()
            return int(line[0]) if line else child.wait()
        return None

    def end(self) -> None:
        """End it with its engine; nothing stays of what it has said after the last command."""
        self._end_process()
        if not self._is_unread:
            # Also where its folder is none, which was told before.
            with contextlib.suppress(OSError):
                self._output.unlink()

    def _end_process(self) -> None:
        if self._child is not None:
            self._tree.end(self._child, GRACE)
            os.close(self._codes)
            self._child = None


def _start(
    command: Sequence[str],
    tree: Tree,
    setting: ChildSetting,
    *,
    stdout: IO[bytes],
    stdin: int = subprocess.DEVNULL,
) -> "subprocess.Popen[bytes]":
    """Start a process in a session of its own, so that Ctrl-C reaches us alone."""
    end_with_me()
    # A script imports the files beside it, which Python's safe path would forbid.
    script = any(word.endswith(".py") for word in command[:2])
    given = {**({"PYTHONSAFEPATH": ""} if script else {}), **setting.variables, **tree.variables}
    return subprocess.Popen(
        command,
        cwd=setting.folder,
        env=environment(given),
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=setting.keep,
    )


def _exit_code(child: "subprocess.Popen[bytes]") -> int | None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        return child.wait(_LOOK)
    return None


def _wait(code_of: Callable[[], int | None], started: float, setting: ChildSetting) -> Ended:
    """Wait for an exit code, the end of the time, or until we are to end."""
    code, timeout = None, setting.timeout
    while code is None and setting.stop.signal is None:
        if timeout is not None and time.monotonic() - started > timeout:
            return Ended(f"not finished after {timeout:g} s", time.monotonic() - started)
        code = code_of()
        setting.look()
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
