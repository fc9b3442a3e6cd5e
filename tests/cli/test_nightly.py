"""`iha-eval nightly` as a process: signals, a kill, two at once, mistakes, one real report."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_nights import FakeNights, quick_page

from iha_eval.cli import main, nightly
from iha_eval.nightly.history import History


@pytest.fixture
def nights(tmp_path: Path) -> FakeNights:
    return FakeNights(tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without figures, for commands that run in this process."""
    with quick_page(monkeypatch):
        return


def start(nights: FakeNights) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "iha_eval", "nightly", str(nights.file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def gone(pid: int) -> bool:
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if ") Z" in Path(f"/proc/{pid}/stat").read_text():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_a_signal_ends_all_of_it_and_the_command_goes_on(
    number: signal.Signals,
    code: int,
    nights: FakeNights,
    quick: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nights.ask("baseline", hang=True)
    process = start(nights)
    child = nights.wait_for_start(2)
    process.send_signal(number)
    said, wrong = process.communicate(timeout=60)
    assert (process.returncode, wrong) == (code, "")
    assert said.splitlines()[-1].startswith(f"stopped by {number.name}: ")
    assert gone(child["pid"])
    nights.ask("baseline")
    assert main(["nightly", str(nights.file)]) == 0
    assert "iha on math: has its results already" in capsys.readouterr().out
    assert nights.started() == ["iha: math", "baseline: math", "baseline: math"]


def test_after_a_kill_nothing_is_left_and_the_command_goes_on(
    nights: FakeNights, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    nights.ask("iha", hang=True)
    process = start(nights)
    child = nights.wait_for_start()
    process.kill()
    process.communicate(timeout=60)
    # A second start at once is told why it has to wait.
    with pytest.raises(SystemExit) as caught:
        main(["nightly", str(nights.file)])
    assert caught.value.code == 2
    refusal = capsys.readouterr().err
    assert f"a run that process {process.pid} left behind" in refusal
    assert refusal.count("\n") == 1
    assert gone(child["pid"])
    nights.ask("iha")
    assert main(["nightly", str(nights.file)]) == 0
    assert nights.started() == ["iha: math", "iha: math", "baseline: math"]
    assert list(History(nights.history).read().nights) == [
        path.name for path in nights.output.iterdir() if not path.is_symlink()
    ]


@pytest.mark.parametrize("broken", [None, "iha"], ids=["both", "one missing"])
def test_the_page_is_made_whatever_is_there(broken: str | None, nights: FakeNights) -> None:
    """The real page, with its figures; elsewhere a stand-in saves their seconds."""
    if broken:
        nights.ask(broken, exit=5)
    code, said = nights.night()
    assert code == (3 if broken else 0), said
    page = (nights.output / "2026-03-01" / "report.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert "math" in page
    assert ("MISSING: the run of iha on math (exit code 5)." in page) is bool(broken)


def test_a_dry_run(nights: FakeNights, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nightly", str(nights.file), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("to do $ ")
    assert '--model_args \'{"pretrained": "iha"}\' --tasks math --output_path' in lines[1]
    assert nights.starts() == []


def test_fresh_reaches_the_night(nights: FakeNights, quick: None) -> None:
    assert main(["nightly", str(nights.file)]) == 0
    assert main(["nightly", str(nights.file), "--fresh"]) == 0
    assert len(nights.starts()) == 4
    assert len(History(nights.history).read().nights) == 1


def test_a_mistake_is_one_line(nights: FakeNights, capsys: pytest.CaptureFixture[str]) -> None:
    nights.configure(task=["x"])
    with pytest.raises(SystemExit) as caught:
        main(["nightly", str(nights.file)])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said == ("iha-eval: nightly.yaml: task is not a setting: did you mean 'tasks'?\n")


def test_what_nobody_foresaw_is_no_regression(
    nights: FakeNights, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("iha_eval.nightly.run.run_child", fail)
    assert main(["nightly", str(nights.file)]) == 3
    assert "RuntimeError: a bug" in capsys.readouterr().err


def test_the_help_tells_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        nightly.main(["--help"])
    assert caught.value.code == 0
    assert "exit codes: 0 fine; 1 a regression; 2 a mistake" in " ".join(
        capsys.readouterr().out.split()
    )
