"""The script that makes `.venv`, with a stand-in for pip and for the new environment's Python."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "environment.py"

# Plays the environment's Python: notes its arguments, fails where the test says so.
PYTHON = """#!/bin/sh
echo "$@" >> "{log}"
case "$*" in {failing}) exit 1;; esac
exit 0
"""


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The script, its folders in tmp_path, and `made.log()`, what the environment's Python did."""
    spec = importlib.util.spec_from_file_location("environment_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.ROOT, script.VENV = tmp_path, tmp_path / ".venv"
    script.STAMPS = {"": script.VENV / ".ready", "dev": script.VENV / ".ready-dev"}
    script.STAMP = script.STAMPS[""]
    for name in script.INPUTS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in ("TORCH", "EXTRA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(script.shutil, "which", lambda name: None)
    log = tmp_path / "log"
    log.touch()
    script.failing, script.created = "nothing", 0

    def create():
        script.created += 1
        (script.VENV / "bin").mkdir(parents=True, exist_ok=True)
        python = script.VENV / "bin" / "python"
        python.write_text(PYTHON.format(log=log, failing=script.failing))
        python.chmod(0o755)

    script.really_create = script.create
    monkeypatch.setattr(script, "create", create)
    script.log = lambda: log.read_text().splitlines()
    return script


def installs(script):
    return [line.split()[3] for line in script.log() if " pip install " in f" {line} "]


def test_torch_comes_before_the_project(made, tmp_path):
    assert made.main() == 0
    commands = [line for line in made.log() if line.startswith("-m pip install")]
    assert [line.split()[3] for line in commands] == [made.CPU_TORCH, "-e"]
    assert commands[1].split()[4] == f"{tmp_path}[cpu]"
    assert made.STAMP.read_text() == "cpu\n"


def test_the_tools_of_the_tests_come_when_they_are_asked_for(made, tmp_path):
    assert made.main() == 0
    assert made.main("dev") == 0
    assert any(f"{tmp_path}[cpu,dev]" in line for line in made.log())
    assert made.created == 1
    before = made.log()
    assert (made.main(), made.main("dev")) == (0, 0)
    assert made.log() == before


def test_the_tools_stay_when_the_package_is_installed_again(made, tmp_path):
    made.main("dev")
    later = made.STAMP.stat().st_mtime + 5
    os.utime(tmp_path / "setup.cfg", (later, later))
    assert made.main() == 0
    assert installs(made).count("-e") == 2
    assert sum(f"{tmp_path}[cpu,dev]" in line for line in made.log()) == 2


def test_a_second_call_starts_nothing(made):
    made.main()
    before = made.log()
    assert made.main() == 0
    assert made.log() == before


@pytest.mark.parametrize("name", ["setup.cfg", "pyproject.toml", "tools/build_commands.py"])
def test_a_changed_input_installs_again_without_starting_over(made, tmp_path, name):
    made.main()
    later = made.STAMP.stat().st_mtime + 5
    os.utime(tmp_path / name, (later, later))
    assert made.main() == 0
    assert len(installs(made)) == 4
    assert made.created == 1


def test_a_gpu_takes_the_other_extra_and_leaves_torch_to_vllm(made, tmp_path, monkeypatch):
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'GPU 0: H100'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(made.shutil, "which", lambda name: str(smi))
    assert made.main() == 0
    assert installs(made) == ["-e"]
    assert made.STAMP.read_text() == "gpu\n"


@pytest.mark.parametrize("body", ["exit 9", "echo none"])
def test_a_driver_without_a_gpu_counts_as_cpu(made, tmp_path, monkeypatch, body):
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\n{body}\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(made.shutil, "which", lambda name: str(smi))
    assert made.extra() == "cpu"


def test_the_user_may_choose(made, monkeypatch):
    monkeypatch.setenv("TORCH", "torch==2.12.0")
    monkeypatch.setenv("EXTRA", "cpu")
    assert made.main() == 0
    assert installs(made)[0] == "torch==2.12.0"


def test_broken_companions_are_removed_and_others_stay(made):
    made.failing = '*"import torchvision"*|*"import torchcodec"*'
    assert made.main() == 0
    removed = [line.split()[4] for line in made.log() if "uninstall" in line]
    assert removed == ["torchvision", "torchcodec"]


def test_companions_that_are_not_there_are_not_removed(made):
    made.failing = '*"pip show"*|*"import torchvision"*'
    assert made.main() == 0
    assert not any("uninstall" in line for line in made.log())


def test_where_pip_finds_no_torch_uv_is_asked(made):
    made.failing = '*"pip install torch"*'
    assert made.main() == 0
    [asked] = [line for line in made.log() if line.startswith("-m uv")]
    python = made.VENV / "bin" / "python"
    assert asked == f"-m uv pip install --python {python} --torch-backend=cpu {made.CPU_TORCH}"
    assert [what for what in installs(made) if what != "install"] == [made.CPU_TORCH, "uv", "-e"]


def test_where_pip_fails_on_a_gpu_uv_chooses_the_torch(made, tmp_path, monkeypatch):
    monkeypatch.setenv("EXTRA", "gpu")
    made.failing = '*"pip install -e"*"--no-compile"'
    assert made.main() == 0
    [asked] = [line for line in made.log() if line.startswith("-m uv")]
    assert asked.endswith(f"--torch-backend=auto -e {tmp_path}[gpu]")


def test_a_torch_that_nobody_finds_is_said_so_with_the_way_out(made, capfd):
    made.failing = '*"pip install torch"*|*"--torch-backend"*'
    assert made.main() == 1
    assert "make TORCH=" in capfd.readouterr().err
    assert not made.STAMP.exists()


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("  Downloading big_one-1.0-py3-none-any.whl (12.5 MB)\n", "big_one, 12.5 MB"),
        ("  Using cached https://x.org/torch-2.0-cp311.whl (1.2 GB)\n", "torch, 1.2 GB"),
        ("  Downloading small-1.0-py3-none-any.whl (500 kB)\n", ""),
        ("  Downloading small-1.0-py3-none-any.whl (9.9 MB)\n", ""),
        ("Installing collected packages: a, b, c\n", "unpacking 3 packages"),
        ("Requirement already satisfied: a\n", ""),
    ],
)
def test_what_a_line_of_pip_tells(made, line, shown):
    assert made.progress(line) == shown


def test_a_silent_installer_is_said_to_be_at_work_and_errors_come_last(made, monkeypatch, capfd):
    monkeypatch.setattr(made, "PATIENCE", 0.2)
    code = "import time; print('ERROR: no such thing'); time.sleep(0.5); print('other'); exit(3)"
    assert made.watch([sys.executable, "-c", code]) == 3
    shown = capfd.readouterr()
    assert "still at work (" in shown.out
    assert shown.err == "ERROR: no such thing\n"


def test_an_environment_beyond_repair_is_built_again(made):
    made.failing = '*"pip install -e"*'
    made.create()
    made.failing = "nothing"
    assert made.main() == 0
    assert made.created == 2
    assert made.STAMP.is_file()


def test_a_new_environment_that_fails_is_not_built_again(made, capfd):
    made.failing = '*"pip install -e"*'
    assert made.main() == 1
    assert made.created == 1
    assert "pip could not install iha-eval[cpu]" in capfd.readouterr().err


def test_a_half_made_environment_is_replaced(made):
    made.VENV.mkdir()
    assert made.main() == 0
    assert made.created == 1


def test_an_environment_without_pip_is_replaced(made):
    made.failing = '*"pip --version"*'
    made.create()
    made.failing = "nothing"
    assert made.main() == 0
    assert made.created == 2


def test_what_does_not_import_is_no_environment(made, capfd):
    made.failing = '*"import torch, transformers"*'
    assert made.main() == 1
    assert "does not import what it should" in capfd.readouterr().err
    assert not made.STAMP.exists()


def test_a_python_that_cannot_make_environments_is_said_so(made, monkeypatch):
    monkeypatch.setattr(made.sys, "executable", "/bin/false")
    with pytest.raises(made.SetupError, match="python3-venv"):
        made.really_create()


def test_an_old_python_is_refused_with_the_way_out(made):
    with pytest.raises(made.SetupError, match=r"is Python 3\.10, and .* 3\.11: .*make PYTHON="):
        made.check_python((3, 10))
    made.check_python((3, 11))


def test_two_calls_at_once_take_turns(made, tmp_path):
    lock = tmp_path / "lock"
    waiting = (
        "import importlib.util as u, pathlib, sys\n"
        f"s = u.spec_from_file_location('e', {str(SCRIPT)!r}); m = u.module_from_spec(s)\n"
        "s.loader.exec_module(m)\n"
        "print('waiting', flush=True)\n"
        f"with m.only_one(pathlib.Path({str(lock)!r})): print('in', flush=True)\n"
    )
    with made.only_one(lock):
        other = subprocess.Popen([sys.executable, "-c", waiting], stdout=subprocess.PIPE, text=True)
        assert other.stdout.readline() == "waiting\n"
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=0.5)
    assert other.communicate()[0] == "in\n"


def test_an_error_that_is_not_called_one_is_shown_too(made, capfd):
    assert made.watch([sys.executable, "-c", "print('no such option'); exit(2)"]) == 2
    assert capfd.readouterr().err == "no such option\n"


def test_pip_takes_the_options_that_it_is_given(made, monkeypatch):
    """By the real pip, which refuses an unknown option before it does anything."""
    monkeypatch.setattr(made, "VENV", Path(sys.prefix))
    made.pip("nothing", ["uninstall", "-y", "a-package-that-is-not-there"])
    made.pip("pip", ["install", "pip"])
