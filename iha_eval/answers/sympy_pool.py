"""The processes that compare expressions, seen from outside: started, asked, killed, replaced.

For: `Workers.ask`, which returns within its limits whatever it is asked, from any thread.
Not for: what is compared and how (`equivalence`, `sympy_process`).

Processes of our own over pipes: Python's multiprocessing would run the user's main module again
(spawn) or copy a process full of an engine's threads (fork).
"""

import atexit
import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from iha_eval.errors import UserError
from iha_eval.util.process import environment, python

#: Seconds of processor time for one comparison; the worker itself sees to that.
LIMIT = 1.0

#: How many times the limit may pass on the wall. Much, because a busy machine must not change a
#: verdict; it is reached only by a worker that is stopped.
_PATIENCE = 20.0

#: Bytes of address space a worker may take.
MEMORY = 2 * 1024**3

#: Seconds to wait for a worker's start, which is bound by the disk on a cold machine.
_START = 120.0

#: Workers that may die one after another while they start, before the environment is to blame.
_ATTEMPTS = 3


class _GoneError(Exception):
    """A worker died, or was killed because it did not answer."""


class _StuckError(_GoneError):
    """It did not answer although it had far more than its limit."""


class _Reply(NamedTuple):
    """What became of a question.

    Attributes:
        read: How many of its texts were read.
        answer: What the worker wrote, None if it is gone.
        at_limit: Whether it is gone because of the limit of time.
    """

    read: int
    answer: dict[str, Any] | None
    at_limit: bool


class _Worker:
    """One process."""

    def __init__(self, limit: float, memory: int) -> None:
        self._process = subprocess.Popen(
            python("iha_eval.answers.sympy_process", str(limit), str(memory)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Nothing is held back that closing the pipe of a dead process would try to write.
            bufsize=0,
            # The order of sympy's terms, and with it what it manages to simplify, hangs on it.
            env=environment({"PYTHONHASHSEED": "0"}),
            # Ctrl-C is for the evaluation, which closes its workers itself.
            start_new_session=True,
        )
        self._patience = _PATIENCE * limit
        self._received = b""
        self._ready = False

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Wait for the end of the start.

        Raises:
            _GoneError: If it died.
            UserError: If math-verify cannot be imported there.
        """
        if self._ready:
            return
        message = self._line(time.monotonic() + _START)
        if isinstance(message, dict):
            raise UserError(
                f"math-verify cannot be imported ({message['failed']}), and answers cannot be "
                "compared without it; install it with: pip install math-verify "
                "'antlr4-python3-runtime==4.11.*'"
            )
        self._ready = True

    def ask(self, texts: Sequence[str]) -> _Reply:
        """Ask about two texts or one; without an answer the process is gone."""
        read = 0
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(texts).encode() + b"\n")
            until = time.monotonic() + self._patience
            while True:
                message = self._line(until)
                if isinstance(message, dict):
                    return _Reply(read, message, at_limit=False)
                read += 1
        except _StuckError:
            self.close()
            return _Reply(read, None, at_limit=True)
        except (_GoneError, OSError):
            self.close()
            return _Reply(read, None, at_limit=self._process.returncode == -signal.SIGPROF)

    def _line(self, until: float) -> object:
        """The next line it writes, decoded; raises _GoneError at the time `until`."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        while b"\n" not in self._received:
            # Not select.select, which fails above 1024 open files.
            poll = select.poll()
            poll.register(pipe, select.POLLIN)
            if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
                raise _StuckError
            piece = os.read(pipe, 65536)
            if not piece:
                raise _GoneError
            self._received += piece
        line, _, self._received = self._received.partition(b"\n")
        message: object = json.loads(line)
        return message

    def close(self) -> None:
        """Kill the process and give back its pipes."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


class Workers:
    """A worker, and a spare that is ready when the first one has to be killed.

    Attributes:
        killed: Workers that hit a limit or died so far.
    """

    def __init__(self, limit: float = LIMIT, memory: int = MEMORY) -> None:
        """Nothing is started yet.

        Args:
            limit: Seconds of processor time per comparison.
            memory: Bytes of address space per worker.
        """
        self._limits = (limit, memory)
        self._lock = threading.Lock()
        self._current: _Worker | None = None
        self._spare: _Worker | None = None
        self._unreadable: set[str] = set()
        self._owner = 0
        self.killed = 0

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that are up."""
        return [worker.pid for worker in (self._current, self._spare) if worker is not None]

    def ask(self, left: str, right: str) -> bool | None:
        """Whether two LaTeX texts state equal expressions; None if a limit was hit.

        A text that could not even be read within the limit is remembered, and no question about it
        costs anything again. That hangs on the text alone, so the order of questions is no matter.

        Raises:
            UserError: If math-verify is not installed.
            RuntimeError: If workers die while they start.
        """
        answer = self._answer((left, right))
        return None if answer is None else bool(answer["equal"])

    def value(self, text: str) -> complex | None:
        """What a LaTeX text comes to at a fixed point, to double precision; None without a value.

        Raises:
            TimeoutError: A limit was hit.
            UserError: As `ask`.
            RuntimeError: As `ask`.
        """
        answer = self._answer((text,))
        if answer is None:
            raise TimeoutError
        parts = answer["value"]
        return None if parts is None else complex(*parts)

    def _answer(self, texts: tuple[str, ...]) -> dict[str, Any] | None:
        with self._lock:
            if not self._unreadable.isdisjoint(texts):
                return None
            reply = self._once(texts)
            if reply.answer is None and not reply.at_limit:
                # The system may have killed it for the sake of another process.
                reply = self._once(texts)
            if reply.answer is None and reply.read < len(texts):
                self._unreadable.add(texts[reply.read])
            return reply.answer

    def _once(self, texts: tuple[str, ...]) -> _Reply:
        worker = self._ready()
        try:
            reply = worker.ask(texts)
        except BaseException:
            # Interrupted: its answer to this question must not be taken for one to the next.
            self._current = None
            worker.close()
            raise
        if reply.answer is None:
            self.killed += 1
            self._current = None
        return reply

    def _ready(self) -> _Worker:
        """The current worker, replaced by the spare if it is gone."""
        if self._owner != os.getpid():
            # After a fork the workers are the parent's; killing them is its business.
            self._current, self._spare, self._owner = None, None, os.getpid()
            atexit.register(self.close)
        for _ in range(_ATTEMPTS):
            if self._current is None:
                self._current = self._spare or _Worker(*self._limits)
                self._spare = None
            try:
                self._current.wait_until_ready()
            except _GoneError:
                self._current.close()
                self._current = None
                continue
            if self._spare is None:
                self._spare = _Worker(*self._limits)
            return self._current
        raise RuntimeError(
            f"{_ATTEMPTS} processes that compare answers died one after another while they "
            f"started; run `python -m iha_eval.answers.sympy_process 1 {MEMORY}` to see why."
        )

    def close(self) -> None:
        """End all processes; the next question starts new ones."""
        if self._owner != os.getpid():
            return
        for worker in (self._current, self._spare):
            if worker is not None:
                worker.close()
        self._current = self._spare = None
