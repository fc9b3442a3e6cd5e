"""The lock where the file system knows none: who holds it is told by a file."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from iha_eval.util import lock as lock_module
from iha_eval.util.lock import Lock, TakenError, is_taken

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
NO_PROCESS = 2**22 + 1

# Takes the lock as on such a file system, says so, and waits to be killed.
HOLDER = """
import fcntl, os, pathlib, sys, time
def no_locks(*_): raise OSError(38, "Function not implemented")
fcntl.flock = no_locks
from iha_eval.util.lock import Lock
folder = pathlib.Path(sys.argv[1])
lock = Lock(os.open(folder / "data", os.O_RDWR | os.O_CREAT), folder / "data.held")
print("held", flush=True)
time.sleep(600)
"""


@contextmanager
def opened(folder: Path) -> Iterator[tuple[int, Path]]:
    file = os.open(folder / "data", os.O_RDWR | os.O_CREAT)
    try:
        yield file, folder / "data.held"
    finally:
        os.close(file)


def take(folder: Path) -> None:
    with opened(folder) as place:
        Lock(*place).release()


@pytest.fixture(params=NO_LOCKS, ids=[errno.errorcode[number] for number in NO_LOCKS])
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr("fcntl.flock", refuse)


def test_where_there_are_locks_no_file_is_made(tmp_path: Path) -> None:
    with opened(tmp_path) as first, opened(tmp_path) as second:
        lock = Lock(*first)
        assert not lock.is_file
        assert is_taken(*second)
        with pytest.raises(TakenError):
            Lock(*second)
        lock.release()
        assert not is_taken(*second)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.usefixtures("no_locks")
def test_a_file_stands_for_the_lock_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as first, opened(tmp_path) as second:
        lock = Lock(*first, "today")
        assert f"{tmp_path} knows no locks" in caplog.text
        assert "data.held keeps other runs out instead" in caplog.text
        assert is_taken(*second)
        with pytest.raises(TakenError, match=f"process {os.getpid()} on .*, since today"):
            Lock(*second)
        lock.release()
        assert not is_taken(*second)
        Lock(*second).release()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.usefixtures("no_locks")
def test_what_a_killed_process_left_is_taken_away(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(TakenError, match=f"process {holder.pid} on "):
        take(tmp_path)
    holder.kill()
    holder.communicate()
    take(tmp_path)


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"pid": NO_PROCESS}, True),
        # The number of a process that ended was given to another.
        ({"begun": "1"}, True),
        ({"boot": "another"}, True),
        ({"host": "other", "pid": NO_PROCESS}, False),
        ({"host": "other", "boot": "another"}, False),
        ({"machine": "of the same name", "boot": "another"}, False),
        # In a container numbers of processes mean others.
        ({"processes": "pid:[1]", "pid": NO_PROCESS}, False),
        ({"pid": None}, False),
    ],
)
@pytest.mark.usefixtures("no_locks")
def test_a_holder_is_called_gone_only_where_that_is_known(
    tmp_path: Path, changes: dict[str, Any], gone: bool
) -> None:
    with opened(tmp_path) as place:
        lock = Lock(*place)
        holder = json.loads(place[1].read_text())
        lock.release()
        place[1].write_text(json.dumps({**holder, **changes}))
        assert is_taken(*place) is not gone
        if gone:
            Lock(*place).release()
            return
        with pytest.raises(TakenError):
            Lock(*place)
        assert place[1].exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "[" * 100_000, '{"host": 1}'])
@pytest.mark.usefixtures("no_locks")
def test_a_file_that_says_nothing_still_keeps_others_out(tmp_path: Path, content: str) -> None:
    with opened(tmp_path) as place:
        place[1].write_text(content)
        with pytest.raises(TakenError, match="a process that is not known"):
            Lock(*place)


@pytest.mark.usefixtures("no_locks")
def test_of_two_that_find_a_lock_left_behind_one_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge: Callable[[Any], bool] = lock_module._left_behind
    with opened(tmp_path) as place:
        lock = Lock(*place)
        living = place[1].read_text()
        lock.release()
        place[1].write_text(json.dumps({**json.loads(living), "pid": NO_PROCESS}))

        def slow(holder: Any) -> bool:
            gone = judge(holder)
            # The other one takes it away and makes its own.
            place[1].write_text(living)
            return gone

        monkeypatch.setattr(lock_module, "_left_behind", slow)
        with pytest.raises(TakenError):
            Lock(*place)
        assert place[1].read_text() == living


def test_other_errors_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr("fcntl.flock", broken)
    with opened(tmp_path) as place:
        for use in (Lock, is_taken):
            with pytest.raises(OSError, match="broken"):
                use(*place)
