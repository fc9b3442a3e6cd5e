import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from iha_eval.answers import sympy_pool as workers_module
from iha_eval.answers.sympy_pool import Workers
from iha_eval.errors import UserError

ENDLESS = "10 ^{10 ^{10 ^{10}}}"


@pytest.fixture(scope="module")
def hasty() -> Iterator[Workers]:
    workers = Workers(limit=0.3)
    yield workers
    workers.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_answers_and_keeps_a_spare(hasty: Workers) -> None:
    assert hasty.ask("x + 1", "1 + x") is True
    assert hasty.ask("x + 1", "2 + x") is False
    assert len(set(hasty.pids)) == 2
    assert all(map(alive, hasty.pids))


def test_an_endless_question_is_undecided_and_the_spare_takes_over(hasty: Workers) -> None:
    hasty.ask("x", "x")
    current, spare = hasty.pids
    assert hasty.ask(ENDLESS, "5") is None
    assert not alive(current)
    assert hasty.ask("x y", "y x") is True
    assert hasty.pids[0] == spare


def test_a_text_that_cannot_be_read_is_not_tried_again(hasty: Workers) -> None:
    hasty.ask(ENDLESS, "5")
    killed = hasty.killed
    assert hasty.ask("x", ENDLESS) is None
    assert hasty.ask(ENDLESS, "7") is None
    assert hasty.killed == killed


def test_a_worker_killed_from_outside_is_replaced_and_asked_again(hasty: Workers) -> None:
    hasty.ask("x", "x")
    killed, current = hasty.killed, hasty.pids[0]
    os.kill(current, signal.SIGKILL)
    while running(current):
        time.sleep(0.01)
    assert hasty.ask("a b", "b a") is True
    assert hasty.killed == killed + 1


def test_a_stopped_worker_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "_PATIENCE", 0.5)
    workers = Workers(limit=1.0)
    try:
        workers.ask("x", "x")
        os.kill(workers.pids[0], signal.SIGSTOP)
        assert workers.ask("a b", "b a") is None
        assert workers.killed == 1
    finally:
        workers.close()


def test_memory_is_bounded() -> None:
    """With no memory beyond its start, a worker dies of a question that is easy otherwise."""
    terms = [f"x ^{{{power}}}" for power in range(300)]
    question = " + ".join(terms), " + ".join(reversed(terms))
    workers = Workers(limit=100.0, memory=1 << 20)
    try:
        assert workers.ask(*question) is None
        assert workers.killed == 2
    finally:
        workers.close()


def test_threads_may_ask_at_once(hasty: Workers) -> None:
    found: dict[int, bool | None] = {}

    def ask(number: int) -> None:
        found[number] = hasty.ask(f"{number} x", f"x \\cdot {number + number % 2}")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: number % 2 == 0 for number in range(8)}


def test_an_interrupted_question_leaves_no_answer_behind(
    hasty: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty.ask("x", "x")
    worker = hasty._current
    assert worker is not None

    def interrupted(until: float) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(worker, "_line", interrupted)
    with pytest.raises(KeyboardInterrupt):
        hasty.ask("c d", "d c")
    assert hasty.ask("c", "d") is False


def test_a_forked_child_leaves_its_parents_workers_alone(hasty: Workers) -> None:
    hasty.ask("x", "x")
    before = hasty.pids
    owner = hasty._owner
    try:
        hasty._owner = owner + 1
        hasty.close()
        assert all(map(alive, before))
        # As the child it has workers of its own.
        assert hasty.ask("x y", "y x") is True
        assert not set(before) & set(hasty.pids)
    finally:
        for pid in before:
            os.kill(pid, signal.SIGKILL)


def test_workers_end_with_the_evaluation_or_when_closed() -> None:
    code = (
        "from iha_eval.answers.sympy_pool import Workers\n"
        "workers = Workers()\n"
        "workers.close()\n"
        "workers.ask('x', 'x')\n"
        "print(*workers.pids, end=' ')\n"
        "workers.close()\n"
        "assert workers.pids == []\n"
        "assert workers.ask('x y', 'y x')\n"
        "print(*workers.pids)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(set(pids)) == 4
    assert not any(map(alive, pids))


def test_workers_end_when_the_evaluation_is_killed() -> None:
    code = (
        "import os, signal\n"
        "from iha_eval.answers.sympy_pool import Workers\n"
        "workers = Workers()\n"
        "workers.ask('x y', 'y x')\n"
        "print(*workers.pids, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2
    until = time.monotonic() + 60
    while any(map(running, pids)):
        assert time.monotonic() < until
        time.sleep(0.05)


def running(pid: int) -> bool:
    """Whether a process is there and no zombie; orphans may have nobody who buries them."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def fake_package(folder: Path, text: str) -> str:
    (folder / "math_verify.py").write_text(text)
    return str(folder)


def test_a_missing_math_verify_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = fake_package(tmp_path, "raise ImportError('broken antlr')")
    monkeypatch.setenv("PYTHONPATH", broken, prepend=os.pathsep)
    workers = Workers()
    try:
        with pytest.raises(UserError, match=r"cannot be imported \(broken antlr\)"):
            workers.ask("x y", "y x")
    finally:
        workers.close()


def test_workers_that_die_at_their_start_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = fake_package(tmp_path, "import os\nos._exit(1)")
    monkeypatch.setenv("PYTHONPATH", dying, prepend=os.pathsep)
    workers = Workers()
    try:
        with pytest.raises(RuntimeError, match="died one after another"):
            workers.ask("x y", "y x")
    finally:
        workers.close()


def test_a_module_of_the_users_folder_is_not_taken_for_the_librarys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_package(tmp_path, "raise ImportError('the wrong one')")
    monkeypatch.chdir(tmp_path)
    workers = Workers()
    try:
        assert workers.ask("x y", "y x") is True
    finally:
        workers.close()
