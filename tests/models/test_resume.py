"""Runs of lm-eval's command that are killed with SIGKILL, and go on to the same results.

`iha-hf` on the embedded checkpoint, a request at a time, so that no batch depends on what is left.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


# 3 questions with 4 samples each, and 3 cells with 3 documents each.
ANSWERS = 3 * 4 + 3 * 3
KILLED_AT = (0, 1, 9, ANSWERS - 2)


def arguments(folder: Path, output: str) -> list[str]:
    """Of lm-eval's command, for results in a folder of that name."""
    return [
        *("--model", "iha-hf", "--batch_size", "auto", "--max_batch_size", "1"),
        *("--tasks", "gsm8k_maj,ruler_mk_lengths", "--limit", "3", "--log_samples"),
        *("--gen_kwargs", "max_gen_toks=12", "--output_path", str(folder / output)),
        *("--metadata", json.dumps({"k": 4, "lengths": [512], "data": str(folder)})),
    ]


class Commands:
    """Copies of one process that has everything imported."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("resume_child.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"},
        )
        assert self._say() == "ready"

    def run(self, output: str, *more: str, kill_at: int | None = None) -> str:
        """Run the command, and kill it once the journal holds `kill_at` answers; its log."""
        copy, log = self.start(output, *more)
        if kill_at is not None:
            wait_for(self._folder / output, kill_at)
            os.kill(copy, signal.SIGKILL)
        code = self.wait()
        assert code == (0 if kill_at is None else -signal.SIGKILL), log.read_text()
        return log.read_text()

    def start(self, output: str, *more: str) -> tuple[int, Path]:
        """Start the command in a copy; its number, and where it writes."""
        log = self._folder / f"{output}.log"
        words = [*arguments(self._folder, output), *more]
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([words, str(log)]) + "\n")
        self._process.stdin.flush()
        return int(self._say()), log

    def wait(self) -> int:
        """How the copy that was started last ended."""
        return int(self._say())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _say(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def wait_for(output: Path, answers: int) -> None:
    """Wait until the journal there holds so many answers."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        # A header comes first, and what the engine runs on.
        if any(path.read_bytes().count(b"\n") > 1 + answers for path in journals(output)):
            return
        time.sleep(0.002)
    pytest.fail(f"no journal with {answers} answers in {output}")


def journals(output: Path) -> list[Path]:
    return list(output.glob("journal-*.jsonl"))


def saved(output: Path) -> tuple[Any, dict[str, bytes]]:
    """The metrics, and the samples' files by task."""
    (results,) = output.glob("*/results_*.json")
    date = results.stem.removeprefix("results_")
    samples = {
        path.name.replace(f"_{date}", ""): path.read_bytes()
        for path in output.glob(f"*/samples_*_{date}.jsonl")
    }
    return json.loads(results.read_text())["results"], samples


def summary(output: Path) -> dict[str, Any]:
    (results,) = output.glob("*/results_*.json")
    (call,) = json.loads(results.read_text())["config"]["iha_eval"]["summary"]
    return dict(call)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where outputs go; with the data, questions of our own."""
    folder = tmp_path_factory.mktemp("resume")
    (folder / "gsm8k").mkdir()
    rows = [
        {"question": f"Ann has {n} hats and buys {n + 1} more. How many?", "answer": f"#### {n}"}
        for n in range(5)
    ]
    (folder / "gsm8k" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def commands(folder: Path) -> Iterator[Commands]:
    commands = Commands(folder)
    yield commands
    commands.close()


@pytest.fixture(scope="module")
def whole(commands: Commands, folder: Path) -> tuple[Any, dict[str, bytes]]:
    """What a run gives that nothing interrupts."""
    commands.run("whole")
    assert summary(folder / "whole")["requests"] == ANSWERS
    assert journals(folder / "whole") == []
    return saved(folder / "whole")


def test_a_run_killed_again_and_again_ends_with_the_same_results(
    commands: Commands, folder: Path, whole: tuple[Any, dict[str, bytes]]
) -> None:
    for answers in KILLED_AT:
        commands.run("killed", kill_at=answers)
        # Nothing but the journal is left behind.
        assert list((folder / "killed").iterdir()) == journals(folder / "killed")
    log = commands.run("killed")
    call = summary(folder / "killed")
    assert call["recalled_from_journal"] >= KILLED_AT[-1]
    assert call["requests"] == ANSWERS - call["recalled_from_journal"]
    assert f"{call['recalled_from_journal']} of {ANSWERS} answers are in" in log
    assert saved(folder / "killed") == whole
    assert journals(folder / "killed") == []


def test_fresh_begins_anew(
    commands: Commands, folder: Path, whole: tuple[Any, dict[str, bytes]]
) -> None:
    commands.run("fresh", kill_at=5)
    commands.run("fresh", "--fresh")
    assert summary(folder / "fresh")["recalled_from_journal"] == 0
    assert saved(folder / "fresh") == whole


def test_a_journal_with_other_parameters_is_not_used_and_that_is_said(
    commands: Commands, folder: Path, whole: tuple[Any, dict[str, bytes]]
) -> None:
    commands.run("other", "--model_args", "dtype=float32", kill_at=3)
    (left,) = journals(folder / "other")
    log = commands.run("other")
    assert f"{left.name} belongs to another run (dtype differ): it is not used" in log
    assert saved(folder / "other") == whole
    assert journals(folder / "other") == [left]


# Kills at random moments: of whole processes while they import, of copies from there to their end,
# and of copies while they score and save.
STORM = ("import",) * 6 + ("run",) * 10 + ("score",) * 4


def started(folder: Path, output: str) -> subprocess.Popen[bytes]:
    """The command in a process group of its own, imports and all."""
    words = [sys.executable, "-m", "lm_eval", "run", *arguments(folder, output)]
    with (folder / f"{output}.log").open("ab") as log:
        return subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)


@pytest.mark.long
def test_a_storm_of_kills_at_any_moment_changes_no_result(
    commands: Commands, folder: Path, whole: tuple[Any, dict[str, bytes]]
) -> None:
    seconds = _durations(commands, folder)
    rng = random.Random(0)
    moments = rng.sample(STORM, len(STORM))
    killed, finished = dict.fromkeys(STORM, 0), 0
    while moments:
        finished += _take(folder, whole)
        moment = moments[-1]
        if _kill(moment, commands, folder, rng.uniform(0, seconds[moment])):
            killed[moment] += 1
            moments.pop()
    finished += _take(folder, whole)
    # The last one is a process of its own too.
    assert started(folder, "storm").wait() == 0
    assert journals(folder / "storm") == []
    assert _take(folder, whole) == 1
    print(f"killed: {killed}; {finished} ended before; in peace, seconds: {seconds}")


def _durations(commands: Commands, folder: Path) -> dict[str, float]:
    """Seconds that each part of a run takes where nothing ends it."""
    start = time.monotonic()
    process = started(folder, "calm")
    wait_for(folder / "calm", 0)
    imported = time.monotonic() - start
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    start = time.monotonic()
    commands.start("timed")
    wait_for(folder / "timed", ANSWERS)
    answered = time.monotonic()
    assert commands.wait() == 0
    end = time.monotonic()
    return {"import": imported, "run": end - start, "score": end - answered}


def _kill(moment: str, commands: Commands, folder: Path, seconds: float) -> bool:
    """Start the command and kill it after so long; whether it had not ended before."""
    if moment == "import":
        process = started(folder, "storm")
        with contextlib.suppress(subprocess.TimeoutExpired):
            assert process.wait(seconds) == 0
            return False
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    copy, log = commands.start("storm")
    if moment == "score":
        # An earlier run may have had all answers, and lm-eval takes a while to ask for them.
        _wait_for_call(log)
        wait_for(folder / "storm", ANSWERS)
    time.sleep(seconds)
    # Until its end was told, the number is not given to another process.
    with contextlib.suppress(ProcessLookupError):
        os.kill(copy, signal.SIGKILL)
    code = commands.wait()
    assert code in (0, -signal.SIGKILL), log.read_text()
    return code != 0


def _wait_for_call(log: Path) -> None:
    """Wait until lm-eval asks the model."""
    end = time.monotonic() + 120
    while time.monotonic() < end and "Running generate_until" not in log.read_text():
        time.sleep(0.002)


def _take(folder: Path, expected: tuple[Any, dict[str, bytes]]) -> int:
    """Whether a run had ended before its kill; its results count too, and the storm begins anew."""
    if not list((folder / "storm").glob("*/results_*.json")):
        return 0
    left = journals(folder / "storm")
    metrics, samples = saved(folder / "storm")
    assert metrics == expected[0]
    if left:
        # Killed while it saved samples: the journal is there, and the next run goes on from it.
        for place in folder.glob("storm/*/"):
            shutil.rmtree(place)
        return 0
    assert samples == expected[1]
    shutil.rmtree(folder / "storm")
    return 1
