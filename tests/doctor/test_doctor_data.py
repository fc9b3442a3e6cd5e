"""Data that tasks read, and the cache folder."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from iha_eval.data.check import FileState
from iha_eval.doctor import data
from iha_eval.doctor.finding import Finding, run
from iha_eval.doctor.machine import Machine

Make = Callable[..., Machine]


def by_name(machine: Machine) -> dict[str, Finding]:
    return {one.name: one for one in run(data.CHECKS, machine)}


def test_nothing_is_asked_of_the_network(machine: Make) -> None:
    found = by_name(machine())
    assert found["GSM8K, MATH-500"].what == (
        "IHA_EVAL_DATA is not set: they are asked from the Hugging Face hub (not tried here)"
    )
    assert found["essays"].status == "note"


def test_offline_the_essays_are_missed(machine: Make) -> None:
    found = by_name(machine(environ={"HF_HUB_OFFLINE": "1", "IHA_EVAL_CACHE": "/nowhere/cache"}))
    assert "from the local cache alone" in found["GSM8K, MATH-500"].what
    assert found["essays"].status == "warning"
    assert "King James" in found["essays"].what


def test_essays_that_are_kept(machine: Make, tmp_path: Path) -> None:
    copy = tmp_path / "cache" / "haystacks" / "paul_graham_essays.txt"
    copy.parent.mkdir(parents=True)
    copy.write_text("two words")
    found = by_name(machine())["essays"]
    assert (found.status, found.what) == ("ok", f"kept in {copy}")


def state(file: str, state: str, needed: bool = True) -> FileState:
    return FileState(file, file, needed, state, 1, "ab", note=f"mend {file}")


def test_each_file_that_is_not_the_published_one(
    machine: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [state("a", "matches"), state("b", "differs"), state("c", "missing", needed=False)]
    asked: list[Path] = []
    monkeypatch.setattr(data, "check_all", lambda folder: asked.append(folder) or states)
    found = by_name(machine(environ={"IHA_EVAL_DATA": str(tmp_path)}))
    assert asked == [tmp_path]
    assert (found["b"].status, found["b"].what, found["b"].remedy) == (
        "problem",
        "differs",
        "mend b",
    )
    assert (found["c"].status, found["c"].what) == ("note", "missing")
    assert "a" not in found
    assert "GSM8K, MATH-500" not in found


def test_all_published(machine: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "check_all", lambda folder: [state("a", "matches")])
    found = by_name(machine(environ={"IHA_EVAL_DATA": str(tmp_path)}))["GSM8K, MATH-500"]
    assert (found.status, found.what) == ("ok", f"the published ones, in {tmp_path}")


def test_a_folder_that_is_none_is_a_problem(machine: Make) -> None:
    found = by_name(machine(environ={"IHA_EVAL_DATA": "/nowhere/at/all"}))["benchmarks"]
    assert found.status == "problem"
    assert "IHA_EVAL_DATA is '/nowhere/at/all', which is not a folder" in found.what


def test_a_cache_folder_that_can_be_made(machine: Make, tmp_path: Path) -> None:
    """Looking leaves nothing behind."""
    found = by_name(machine())["cache folder"]
    assert (found.status, found.what) == ("ok", str(tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()


def test_a_cache_folder_that_cannot(machine: Make, tmp_path: Path) -> None:
    """A file is where the folder should be."""
    (tmp_path / "file").write_text("")
    found = by_name(machine(environ={"IHA_EVAL_CACHE": str(tmp_path / "file" / "cache")}))
    assert found["cache folder"].status == "warning"
    assert "cannot be written (Not a directory)" in found["cache folder"].what
    assert "set IHA_EVAL_CACHE" in found["cache folder"].remedy


def test_the_usual_cache_folder(machine: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IHA_EVAL_CACHE", os.devnull + "/below")
    assert by_name(machine(environ={}))["cache folder"].status == "warning"
