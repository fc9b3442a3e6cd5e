"""Child processes: what they import, how they end, and that nothing of them is left behind.

For: every place that starts a process. In short:

- `python(module)` is the start of a command line that runs one of our modules. It never imports
  what happens to lie in the working folder (`-P`). `environment()` says the same to programs that
  are not ours, and to what they start.
- `end_with_me()` makes all that this process starts end with it, after kill -9 too.
- `Tree` names the processes that one child starts, so that `Tree.end` ends all of them, whatever
  sessions and groups they are in. `in_words` says how a process ended.

Who uses it: `nightly/process.py` for the runs of a night; `models/vllm/engine.py` before an engine
starts processes of its own, and `models/vllm/cluster.py` before Ray does; `verify/vllm_model.py`
and `answers/sympy_pool.py` for their commands. `evidence` starts none but the pool of Python,
whose workers end with it.
Not for: what is said to a child, nor its log.

How ends are found out: this file also runs as a program, the guard. It waits for its parent to be
gone, however it ended, and then kills every process that carries the parent's mark. A mark is a
word in the environment, which is inherited by every process that is started, and the name of an
open file without content, which is inherited by every process that is forked. Neither sessions,
process groups nor the death of those in between take it away. A parent-death signal
(PR_SET_PDEATHSIG) would not do: it is lost by fork, and is sent when the thread that forked ends.
"""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

# Holds the marks of all processes that this one was started by, parted by blanks.
_MARKS = "IHA_EVAL_STARTED_BY"
# Seconds that processes have to end by themselves once their parent is gone.
_GRACE = 2.0
# Seconds between looks at the parent where the system cannot tell when it is gone.
_LOOK = 0.5
# The folder this package is in, should it be on the path as the current folder only.
_PACKAGES = str(Path(__file__).resolve().parents[2])


def python(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of ours with this interpreter."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment for a child: it imports what we do, and nothing from its working folder.

    Args:
        changes: Variables that are set in it besides; they win.
    """
    given = dict(os.environ)
    known = [_absolute(path) for path in given.get("PYTHONPATH", "").split(os.pathsep) if path]
    # Where we are imported from the current folder, -P would keep a child from doing the same.
    imported = {_absolute(path) for path in sys.path if path} - {str(Path.cwd())}
    paths = known if _PACKAGES in imported else [*known, _PACKAGES]
    if paths:
        given["PYTHONPATH"] = os.pathsep.join(paths)
    return {**given, "PYTHONSAFEPATH": "1", **(changes or {})}


class Tree:
    """All processes that one child starts, and that child.

    Start the child with `variables` in its environment and a session of its own.
    """

    def __init__(self) -> None:
        """Nothing is started yet."""
        self._mark = _new_mark()

    @property
    def variables(self) -> dict[str, str]:
        """What must be in the environment of the child."""
        return {_MARKS: f"{os.environ.get(_MARKS, '')} {self._mark}".strip()}

    def end(self, child: "subprocess.Popen[bytes]", grace: float) -> None:
        """End the child with all that it started: first asked, then made to.

        Args:
            child: The child; may have ended already, and leave others.
            grace: Seconds between SIGTERM and SIGKILL.
        """
        if child.poll() is None:
            _signal_group(child.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(grace)
        # What the child left behind in its group, and what has groups of its own.
        _signal_group(child.pid, signal.SIGKILL)
        kill_marked(self._mark)
        child.wait()


@functools.cache
def end_with_me() -> None:
    """Let all that this process starts from now on end when it ends, however that comes.

    Starts a guard, a process of some megabytes. Does nothing where there is no /proc.
    """
    if not Path("/proc/self/fd").is_dir():
        return
    mark = _new_mark()
    before = dict(os.environ)
    os.environ[_MARKS] = f"{before.get(_MARKS, '')} {mark}".strip()
    if hasattr(os, "memfd_create"):
        # Stays open: a process that is forked without exec has it, and keeps our first environment.
        os.memfd_create(mark)
    subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(os.getpid()), mark],
        # Not with the mark, or it would kill itself.
        env=before,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Ctrl-C and the end of a terminal must not take it away first.
        start_new_session=True,
        cwd="/",
    )


def in_words(code: int) -> str:
    """How a process ended, from its exit code; empty if it ended well."""
    if code >= 0:
        return f"exit code {code}" if code else ""
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"


def kill_marked(mark: str) -> None:
    """Kill all processes that carry a mark, and those that they start meanwhile."""
    for _ in range(100):
        pids = list(_marked(mark))
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _new_mark() -> str:
    return f"iha-eval-{uuid.uuid4().hex}"


def _marked(mark: str) -> Iterator[int]:
    """Ids of the processes of this user that carry a mark and have not ended."""
    for folder in Path("/proc").iterdir():
        # The processes of others cannot be read, and any may end meanwhile.
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and int(folder.name) != os.getpid() and _has(folder, mark):
                state = (folder / "stat").read_bytes().rpartition(b")")[2].split()[0]
                if state not in (b"Z", b"X"):
                    yield int(folder.name)


def _has(folder: Path, word: str) -> bool:
    if word.encode() in (folder / "environ").read_bytes():
        return True
    for link in (folder / "fd").iterdir():
        with contextlib.suppress(OSError):
            if word in str(link.readlink()):
                return True
    return False


def _absolute(path: str) -> str:
    return str(Path(path).absolute())


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _guard(parent: int, mark: str) -> None:
    """Wait for the end of the parent, then kill what it left behind."""
    import select

    try:
        handle = os.pidfd_open(parent)
    except (AttributeError, OSError):
        while os.getppid() == parent:
            time.sleep(_LOOK)
    else:
        # Its number may have been given away before the handle was made.
        if os.getppid() == parent:
            select.select([handle], [], [])
    patience = time.monotonic() + _GRACE
    while time.monotonic() < patience and any(True for _ in _marked(mark)):
        time.sleep(0.1)
    kill_marked(mark)


if __name__ == "__main__":
    _guard(int(sys.argv[1]), sys.argv[2])
