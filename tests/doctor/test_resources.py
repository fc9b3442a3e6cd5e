"""What the machine has to offer."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from iha_eval.doctor import resources
from iha_eval.doctor.finding import Finding, run
from iha_eval.doctor.machine import Gpu, Machine

Make = Callable[..., Machine]
GIB = 2**30


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture(autouse=True)
def plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four cores, and room in /dev/shm."""
    monkeypatch.setattr(Machine, "cores", 4)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(9 * GIB, 0, 9 * GIB))


def by_name(machine: Machine) -> dict[str, Finding]:
    return {one.name: one for one in run(resources.CHECKS, machine)}


def test_a_machine_without_a_gpu(machine: Make) -> None:
    found = by_name(machine())
    assert {one.status for one in found.values()} == {"ok"}
    assert {name: one.what for name, one in found.items()} == {
        "device": "CPU, 4 cores; no NVIDIA GPU answers",
        "memory": "16.0 of 32.0 GiB free",
        "/dev/shm": "9.0 GiB free",
        "C compiler": "/usr/bin/gcc",
    }


def test_gpus_are_listed_and_one_that_is_taken_is_named(gpu_machine: Make) -> None:
    taken = Gpu("NVIDIA H100", 80 * GIB, 30 * GIB, (9, 0))
    found = by_name(gpu_machine(gpu=taken))
    assert found["GPU 0"].what == "NVIDIA H100, 30 of 80 GiB free, compute capability 9.0"
    assert found["GPU 0 memory"].status == "warning"
    assert "gpu_memory_utilization=0.4" in found["GPU 0 memory"].remedy
    free = dataclasses.replace(taken, free=79 * GIB)
    assert "GPU 0 memory" not in by_name(gpu_machine(gpu=free))


def test_little_memory_within_a_containers_limit(machine: Make) -> None:
    made = machine()
    group = made.root / "sys/fs/cgroup"
    (group / "memory.max").write_text(f"{8 * GIB}\n")
    (group / "memory.stat").write_text(f"anon {5 * GIB}\n")
    found = by_name(made)["memory"]
    assert (found.status, found.what) == (
        "warning",
        "3.0 of 32.0 GiB free: vLLM alone takes 2",
    )


def test_a_cache_larger_than_what_is_free(machine: Make) -> None:
    found = by_name(machine(environ={"VLLM_CPU_KVCACHE_SPACE": "17"}))
    assert found["VLLM_CPU_KVCACHE_SPACE"].status == "problem"
    assert found["VLLM_CPU_KVCACHE_SPACE"].what == "asks for 17 GiB, and 16.0 are free"
    enough = by_name(machine(environ={"VLLM_CPU_KVCACHE_SPACE": "4"}))
    assert "VLLM_CPU_KVCACHE_SPACE" not in enough


@pytest.mark.parametrize("value", ["abc", "1.5", "4GiB", " "])
def test_a_cache_whose_size_is_no_number(value: str, machine: Make) -> None:
    found = by_name(machine(environ={"VLLM_CPU_KVCACHE_SPACE": value}))["VLLM_CPU_KVCACHE_SPACE"]
    assert found.status == "problem"
    assert found.what.startswith(f"is {value!r}, but vLLM reads a whole number of GiB")
    assert found.remedy.startswith("unset it")


@pytest.mark.parametrize(("value", "problem"), [("-1", True), ("", False), ("0", False)])
def test_a_cache_of_nothing_or_less(value: str, problem: bool, machine: Make) -> None:
    found = by_name(machine(environ={"VLLM_CPU_KVCACHE_SPACE": value}))
    assert ("VLLM_CPU_KVCACHE_SPACE" in found) is problem


def test_memory_that_the_kernel_says_nothing_of(machine: Make) -> None:
    made = machine()
    (made.root / "proc/meminfo").unlink()
    assert " of " not in by_name(made)["memory"].what


@pytest.mark.parametrize(
    ("quota", "environ", "status"),
    [
        ("200000 100000", {}, "warning"),
        ("200000 100000", {"OMP_NUM_THREADS": "2"}, None),
        ("400000 100000", {}, None),
        ("max 100000", {}, None),
        ("", {}, None),
    ],
    ids=["half", "half-known", "all", "no-limit", "no-file"],
)
def test_cores_against_what_a_container_may_spend(
    quota: str, environ: dict[str, str], status: str | None, machine: Make
) -> None:
    made = machine(environ=environ)
    (made.root / "sys/fs/cgroup/cpu.max").write_text(quota)
    found = by_name(made).get("cores")
    assert (found and found.status) == status
    if found:
        assert found.remedy == "set OMP_NUM_THREADS=2"


def test_shared_memory_that_is_small_or_missing(
    machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = machine()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2**26, 0, 2**26))
    small = by_name(made)["/dev/shm"]
    assert (small.status, small.what.startswith("0.06 GiB free")) == ("warning", True)
    assert "--shm-size" in small.remedy
    monkeypatch.undo()
    (made.root / "dev/shm").rmdir()
    missing = by_name(made)["/dev/shm"]
    assert (missing.status, "is not there" in missing.what) == ("warning", True)


@pytest.mark.parametrize(
    ("kind", "fields", "status", "what"),
    [
        ("machine", {"which": lambda name: None}, "note", "none found"),
        ("gpu_machine", {"which": lambda name: None}, "problem", "Triton and torch.compile"),
        ("machine", {"environ": {"CC": "icc"}}, "note", "CC=icc is no program"),
        ("machine", {"environ": {"CC": "gcc"}}, "ok", "/usr/bin/gcc"),
    ],
    ids=["none-cpu", "none-gpu", "named-missing", "named"],
)
def test_the_compiler(
    kind: str, fields: dict[str, Any], status: str, what: str, request: pytest.FixtureRequest
) -> None:
    make: Make = request.getfixturevalue(kind)
    found = by_name(make(**fields))["C compiler"]
    assert found.status == status
    assert what in found.what


def test_a_folder_is_asked_for_its_room(machine: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: asked.append(path) or Usage(9 * GIB, 0, 9 * GIB)
    )
    made = machine()
    by_name(made)
    assert asked == [made.root / "dev/shm"]
