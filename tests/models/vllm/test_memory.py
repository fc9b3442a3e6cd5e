from pathlib import Path

import pytest

from iha_eval.models.vllm.devices import free_memory


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    file = tmp_path / "meminfo"
    file.write_text("MemTotal:  4000 kB\nMemAvailable:   1000 kB\n")
    return file


def test_this_machine_has_some() -> None:
    assert 0 < free_memory() < 2**50


def test_without_a_control_group_the_machines_counts(machine: Path, tmp_path: Path) -> None:
    assert free_memory(machine, tmp_path / "none") == 1000 * 1024


@pytest.mark.parametrize(
    ("most", "held", "expected"),
    [
        ("500000", 100_000, 400_000),
        ("max", 100_000, 1_024_000),
        ("50", 100, 0),
        ("9999999", 0, 1_024_000),
    ],
    ids=["limited", "unlimited", "exhausted", "above the machine's"],
)
def test_a_control_group_limits(
    machine: Path, tmp_path: Path, most: str, held: int, expected: int
) -> None:
    (tmp_path / "memory.max").write_text(f"{most}\n")
    (tmp_path / "memory.stat").write_text(f"anon {held}\nfile 777\n")
    assert free_memory(machine, tmp_path) == expected


def test_without_the_kernels_account_half_of_the_memory_counts(tmp_path: Path) -> None:
    assert free_memory(tmp_path / "none", tmp_path / "none") > 0
