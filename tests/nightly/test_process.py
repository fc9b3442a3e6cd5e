"""Processes of a night: how each end is told, and that nothing is left running."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from iha_eval.nightly import process
from iha_eval.nightly.process import ChildSetting, Ended, KeptProcess, Stop, run_child, tail


def run(tmp_path: Path, code: str, timeout: float | None = 60, stop: Stop | None = None) -> Ended:
    return run_child(
        [sys.executable, "-c", code],
        ChildSetting(
            tmp_path / "logs" / "a.log",
            folder=tmp_path,
            variables={"GREETING": "hello"},
            timeout=timeout,
            stop=stop or Stop(),
        ),
    )


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Nobody may have asked for its exit code yet.
    return ") Z" not in Path(f"/proc/{pid}/stat").read_text()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("pass", ""),
        ("raise SystemExit(5)", "exit code 5"),
        ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL"),
        ("import os; os.kill(os.getpid(), 40)", "ended by signal 40"),
    ],
)
def test_how_a_process_ended(code: str, reason: str, tmp_path: Path) -> None:
    ended = run(tmp_path, code)
    assert (ended.reason, ended.stopped) == (reason, False)


def test_output_folder_environment_and_input(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd(), os.environ['GREETING'], repr(sys.stdin.read()))"
    run(tmp_path, code)
    run(tmp_path, "import sys; print('again', file=sys.stderr)")
    assert tail(tmp_path / "logs" / "a.log") == [f"{tmp_path.resolve()} hello ''", "again"]


def test_a_log_has_no_secrets_and_nothing_else_is_changed(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "a.log"
    # What a process that outlived its night has left behind comes first.
    log.parent.mkdir()
    process.unredacted(log).write_text("token=left-behind\n")
    process.unredacted(log).chmod(0o600)
    code = (
        "import os, pathlib; print('1%\\r2%', os.environ['MY_SECRET'], 'password: x');"
        "print(oct(next(pathlib.Path('logs').iterdir()).stat().st_mode))"
    )
    for _ in range(2):
        run_child(
            [sys.executable, "-c", code],
            ChildSetting(
                log,
                folder=tmp_path,
                variables={"MY_SECRET": "geheim"},
                timeout=60,
                stop=Stop(),
            ),
        )
    once = b"1%\r2% *** password: ***\n0o100600\n"
    # The second time the log is there as well.
    assert log.read_bytes().startswith(b"token=***\n" + once)
    assert log.read_bytes().count(b"***") == 5
    assert list(log.parent.iterdir()) == [log]


def test_a_log_that_cannot_be_written_is_kept_for_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    log = tmp_path / "a.log"
    process.unredacted(log).write_text("token=x\n")
    with monkeypatch.context() as disk:
        disk.setattr(process, "write_whole", full)
        process.settle_log(log, {})
    assert process.unredacted(log).exists()
    process.settle_log(log, {})
    process.settle_log(log, {})
    assert log.read_text() == "token=***\n"


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    ended = run_child(
        ["/no/such/program"],
        ChildSetting(tmp_path / "a.log", folder=tmp_path, variables={}, timeout=None, stop=Stop()),
    )
    assert ended.reason == "/no/such/program cannot be started (No such file or directory)"
    assert [path.name for path in tmp_path.iterdir()] == ["a.log"]


GRANDCHILD = """
import pathlib, signal, subprocess, sys, time
{deaf}
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path("pid").write_text(str(child.pid))
time.sleep(600)
"""


@pytest.mark.parametrize("deaf", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"])
def test_a_time_limit_ends_all_of_it(
    deaf: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE", 0.3)
    ended = run(tmp_path, GRANDCHILD.format(deaf=deaf), timeout=1.0)
    assert ended.reason == "not finished after 1 s"
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not alive(pid):
            return
        time.sleep(0.05)
    raise AssertionError("a process was left running")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_us_ends_it(number: signal.Signals, tmp_path: Path) -> None:
    code = f"import os, time; os.kill(os.getppid(), {int(number)}); time.sleep(600)"
    before = signal.getsignal(number)
    stop = Stop()
    with stop.listening():
        ended = run(tmp_path, code, stop=stop)
    assert ended.stopped
    assert stop.exit_code == 128 + number
    assert signal.getsignal(number) is before


def test_the_tail_is_fit_to_be_shown(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(
        b"first\n" * 30
        + b"1%\r50%\r100%\n\n\x1b[31mred\x1b[0m \x07bell \xff\n"
        + b"x" * 5000
        + b"\nend\r\n"
    )
    shown = tail(log, 4)
    assert shown == ["100%", "red bell \ufffd", "x" * 500, "end"]
    assert len(tail(log)) == 20
    assert tail(tmp_path / "none") == []


def test_of_a_huge_log_only_the_end_is_read(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with log.open("wb") as file:
        file.truncate(10**9)
        file.seek(0, os.SEEK_END)
        file.write(b"\nend\n")
    assert tail(log) == ["end"]


KEPT = """
import json, os, sys
codes = int(sys.argv[1])
for line in sys.stdin:
    words = json.loads(line)
    print(os.getpid(), os.environ["MY_SECRET"], *words, flush=True)
    if words == ["die"]:
        os.kill(os.getpid(), 9)
    if words == ["sleep"]:
        import time
        time.sleep(60)
    os.write(codes, b"%d\\n" % (words == ["fail"]))
"""


class FakeKept:
    """A kept process whose commands print the process's number."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "kept.py"
        program.write_text(KEPT)
        self.process = KeptProcess([sys.executable, str(program)], folder / "kept.unredacted")

    def run(self, word: str, timeout: float | None = 60, stop: Stop | None = None) -> Ended:
        return self.process.run(
            [word],
            ChildSetting(
                self.log(word),
                folder=self.folder,
                variables={"MY_SECRET": "geheim"},
                timeout=timeout,
                stop=stop or Stop(),
            ),
        )

    def log(self, word: str) -> Path:
        return self.folder / "logs" / f"{word}.log"

    def pid(self, word: str) -> int:
        number, secret, said = self.log(word).read_text().split()
        assert (secret, said) == ("***", word)
        return int(number)


class TestKeptProcess:
    """Commands of a kept process: its engine is of use only if the process stays."""

    @pytest.fixture
    def kept(self, tmp_path: Path) -> Iterator[FakeKept]:
        fake = FakeKept(tmp_path)
        yield fake
        fake.process.end()

    def test_commands_are_run_by_one_process_and_have_a_log_each(self, kept: FakeKept) -> None:
        assert [kept.run(word).reason for word in ("one", "two", "three")] == ["", "", ""]
        assert len({kept.pid(word) for word in ("one", "two", "three")}) == 1
        assert sorted(path.name for path in (kept.folder / "logs").iterdir()) == [
            "one.log",
            "three.log",
            "two.log",
        ]
        output = kept.folder / "kept.unredacted"
        assert output.stat().st_mode & 0o077 == 0
        assert output.read_bytes() == b""
        kept.process.end()
        assert not alive(kept.pid("one"))
        assert not output.exists()

    def test_a_log_that_could_not_be_written_is_still_there_to_be_read(
        self, kept: FakeKept, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(process, "settle_log", lambda *_: None)
        kept.run("one")
        kept.process.end()
        assert process.unredacted(kept.log("one")).read_text().endswith(" geheim one\n")
        assert "cannot be started (File exists)" in kept.run("one").reason

    @pytest.mark.parametrize(
        ("word", "reason"), [("fail", "exit code 1"), ("die", "ended by SIGKILL")]
    )
    def test_what_failed_is_not_asked_again(self, word: str, reason: str, kept: FakeKept) -> None:
        kept.run("one")
        assert kept.run(word).reason == reason
        assert not alive(kept.pid("one"))
        assert kept.run("two").reason == ""
        assert kept.pid("two") != kept.pid(word) == kept.pid("one")

    def test_what_died_in_between_starts_anew(self, kept: FakeKept) -> None:
        kept.run("one")
        os.kill(kept.pid("one"), signal.SIGKILL)
        while alive(kept.pid("one")):
            time.sleep(0.01)
        assert kept.run("two").reason == ""
        assert kept.pid("two") != kept.pid("one")

    def test_time_limit_and_end(self, kept: FakeKept) -> None:
        assert kept.run("sleep", timeout=3).reason == "not finished after 3 s"
        assert not alive(kept.pid("sleep"))
        stop = Stop()
        stop.signal = signal.SIGTERM
        assert kept.run("one", stop=stop).stopped

    def test_a_program_that_is_not_there(self, tmp_path: Path) -> None:
        fake = FakeKept(tmp_path)
        fake.process = KeptProcess([str(tmp_path / "none")], tmp_path / "kept.unredacted")
        assert "cannot be started (No such file" in fake.run("one").reason

    def test_what_a_killed_watch_left_behind_stays_in_the_log(self, kept: FakeKept) -> None:
        """Then the link to the output of its process is still there."""
        kept.log("one").parent.mkdir()
        (kept.folder / "kept.unredacted").write_text("half a line, geheim\n")
        process.unredacted(kept.log("one")).symlink_to(kept.folder / "kept.unredacted")
        kept.run("one")
        first, second = kept.log("one").read_text().splitlines()
        assert first == "half a line, ***"
        assert second.endswith(" *** one")
