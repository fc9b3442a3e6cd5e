"""The lock: one at a time, also after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from iha_eval.errors import UserError
from iha_eval.nightly.lock import FILE, NAME, only_one

# Holds the lock, hands it to a child, says the child's number, and is killed.
HOLDER = """
import os, pathlib, signal, subprocess, sys
from iha_eval.nightly.lock import only_one
quiet = dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL)
with only_one(pathlib.Path(sys.argv[1]), "yesterday") as lock:
    child = subprocess.Popen(["sleep", "600"], pass_fds=[lock], **quiet)
    print(child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def take(folder: Path, started: str = "later") -> None:
    """Get the lock and let go of it."""
    with only_one(folder, started):
        pass


def test_a_second_one_is_told_who_holds_it(tmp_path: Path) -> None:
    with only_one(tmp_path / "history", "today"), pytest.raises(UserError) as error:
        take(tmp_path / "history")
    assert f"process {os.getpid()}, since today: wait for it to end" in str(error.value)
    take(tmp_path / "history")


def test_what_a_killed_one_left_running_keeps_others_out(tmp_path: Path) -> None:
    holder = subprocess.run(
        [sys.executable, "-c", HOLDER, str(tmp_path)], capture_output=True, text=True, check=False
    )
    child = int(holder.stdout)
    try:
        with pytest.raises(UserError, match=r"a run that process \d+ left behind, since yester"):
            take(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)
    for _ in range(100):
        try:
            take(tmp_path)
            return
        except UserError:
            time.sleep(0.05)
    raise AssertionError("the lock was not let go of")


def test_ending_well_lets_go_whoever_inherited_it(tmp_path: Path) -> None:
    with only_one(tmp_path, "today") as lock:
        child = subprocess.Popen(["sleep", "600"], pass_fds=[lock])
    try:
        take(tmp_path)
        assert json.loads((tmp_path / NAME).read_text())["started"] == "later"
    finally:
        child.kill()
        child.wait()


def test_a_lock_that_says_nothing_still_locks(tmp_path: Path) -> None:
    with only_one(tmp_path, "today"):
        (tmp_path / NAME).write_text("")
        with pytest.raises(UserError, match="another night is under way with the history"):
            take(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/h cannot be written \(Not a directory\)"):
        take(tmp_path / "file" / "h")


def test_without_locks_a_file_keeps_others_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with only_one(tmp_path, "today"):
        with pytest.raises(UserError, match=f"process {os.getpid()} on .*, since today: wait"):
            take(tmp_path)
        assert (tmp_path / FILE).exists()
    assert not (tmp_path / FILE).exists()
    take(tmp_path)
