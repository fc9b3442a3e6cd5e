"""Child processes: nothing is left behind whoever is killed, no stray file is imported."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from iha_eval.util.process import Tree, environment, in_words, python


def alive(pid: int) -> bool:
    try:
        # Nobody may have asked for its exit code yet.
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def wait_for(condition: object, seconds: float = 20.0) -> bool:
    assert callable(condition)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return False


# Four generations: each one but the last starts the next, in a way of its own: a process
# in a session of its own, one that is forked without exec, one that is deaf to SIGTERM.
FAMILY = """
import os, pathlib, signal, subprocess, sys, time
folder = pathlib.Path(sys.argv[1])
generation = int(sys.argv[2])
def note():
    (folder / f"{generation}.new").write_text(str(os.getpid()))
    (folder / f"{generation}.new").rename(folder / str(generation))
note()
if generation == 0:
    from iha_eval.util.process import end_with_me
    end_with_me()
if generation == 1 and os.fork() == 0:
    generation = 2
    note()
    os.setsid()
if generation == 3:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
elif generation != 1:
    subprocess.Popen([sys.executable, __file__, str(folder), str(generation + 1)],
                     start_new_session=generation == 2)
time.sleep(120)
"""


@pytest.fixture
def family(tmp_path: Path) -> list[int]:
    """Process ids of four generations, the eldest first."""
    program = tmp_path / "family.py"
    program.write_text(FAMILY)
    subprocess.Popen([sys.executable, str(program), str(tmp_path), "0"], env=environment())
    assert wait_for(lambda: (tmp_path / "3").exists())
    return [int((tmp_path / str(generation)).read_text()) for generation in range(4)]


def test_after_kill_9_nothing_is_left(family: list[int]) -> None:
    assert all(map(alive, family))
    os.kill(family[0], signal.SIGKILL)
    assert wait_for(lambda: not any(map(alive, family)))


def test_those_between_may_be_gone_already(family: list[int]) -> None:
    os.kill(family[1], signal.SIGKILL)
    os.kill(family[2], signal.SIGKILL)
    os.kill(family[0], signal.SIGKILL)
    assert wait_for(lambda: not any(map(alive, family)))


def test_a_fork_alone_is_found_by_its_open_file(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from iha_eval.util.process import end_with_me; end_with_me()\n"
        "child = os.fork()\n"
        "if child: print(child, flush=True)\n"
        "os.setsid() if not child else None\n"
        "time.sleep(120)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment(), text=True
    )
    assert parent.stdout
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    assert wait_for(lambda: not alive(child))
    parent.stdout.close()


def test_a_tree_is_ended_and_others_are_not(tmp_path: Path) -> None:
    trees = [Tree(), Tree()]
    children = []
    for number, tree in enumerate(trees):
        (tmp_path / str(number)).mkdir()
        program = tmp_path / "family.py"
        program.write_text(FAMILY)
        children.append(
            subprocess.Popen(
                [sys.executable, str(program), str(tmp_path / str(number)), "1"],
                env=environment(tree.variables),
                start_new_session=True,
            )
        )
        assert wait_for(lambda: (tmp_path / str(number) / "3").exists())  # noqa: B023
    families = [
        [int((tmp_path / str(number) / str(generation)).read_text()) for generation in (1, 2, 3)]
        for number in range(2)
    ]
    trees[0].end(children[0], 5.0)
    assert not any(map(alive, families[0]))
    assert all(map(alive, families[1]))
    # Also where the child itself has ended by then.
    children[1].kill()
    children[1].wait()
    trees[1].end(children[1], 5.0)
    assert not any(map(alive, families[1]))


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, ""), (5, "exit code 5"), (-9, "ended by SIGKILL"), (-40, "ended by signal 40")],
)
def test_ends_in_words(code: int, words: str) -> None:
    assert in_words(code) == words


def test_nothing_is_imported_from_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('a stray file was run')")
    (tmp_path / "datasets.py").write_text("raise SystemExit('a stray file was run')")
    for command in (
        python("json.tool", "--help"),
        # And what a child starts itself, or a program that knows nothing of -P.
        [sys.executable, "-m", "json.tool", "--help"],
        [sys.executable, "-c", "import json, iha_eval"],
    ):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_a_checkout_that_is_the_working_folder_is_still_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import iha_eval

    checkout = Path(iha_eval.__file__).parents[1]
    monkeypatch.chdir(checkout)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path)])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert environment()["PYTHONPATH"] == str(checkout)
    assert environment({"PYTHONSAFEPATH": ""})["PYTHONSAFEPATH"] == ""
