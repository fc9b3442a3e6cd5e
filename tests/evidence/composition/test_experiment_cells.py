"""Cells: which there are, running only what is missing, and files that do not fit."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from iha_eval.errors import UserError
from iha_eval.evidence.composition import cells
from iha_eval.evidence.composition.relations import QUICK_TASKS, TASKS
from iha_eval.evidence.composition.training import QUICK

SETTINGS = replace(QUICK, examples=(16, 8, 8))
FEW = [cell for cell in cells.grid(QUICK_TASKS, [4]) if cell.model == "MHA"]


def test_every_combination_is_a_cell_of_its_own() -> None:
    grid = cells.grid(TASKS, [0, 1, 2])
    assert len({cell.name for cell in grid}) == len(grid) == 2 * 3 * 2 * 3
    assert {cell.rate for cell in grid} == {1e-3, 1e-4}
    assert grid[0].name == "ternary-mha-lr0.001-seed0"
    # Whole seeds first.
    assert [cell.seed for cell in grid] == sorted(cell.seed for cell in grid)


def test_only_missing_cells_are_run(tmp_path: Path) -> None:
    said: list[str] = []
    first = cells.run_all(FEW, SETTINGS, tmp_path, 1, said.append)
    assert said[0] == f"0 of 4 cells are there in {tmp_path}"
    assert said[-1] == f"{FEW[-1].name} is done, 0 to go"
    assert said[1].startswith(f"{FEW[0].name}: ")
    (tmp_path / f"{FEW[1].name}.json").unlink()
    kept = (tmp_path / f"{FEW[0].name}.json").stat().st_mtime_ns
    said.clear()
    again = cells.run_all(FEW, SETTINGS, tmp_path, 1, said.append)
    assert said[0] == f"3 of 4 cells are there in {tmp_path}"
    assert sum("is done" in text for text in said) == 1
    assert (tmp_path / f"{FEW[0].name}.json").stat().st_mtime_ns == kept
    assert [one["test"] for one in again] == [one["test"] for one in first]
    assert [(one["task"], one["learning_rate"], one["seed"]) for one in first] == [
        (cell.task.name, cell.rate, 4) for cell in FEW
    ]


def quiet(text: str) -> None:
    """Can be sent to another process."""


@pytest.mark.long
def test_another_process_gives_what_this_one_does(tmp_path: Path) -> None:
    for jobs in (1, 2):
        (tmp_path / f"{jobs}").mkdir()
    one, two = (
        cells.run_all(FEW[:1], SETTINGS, tmp_path / f"{jobs}", jobs, quiet) for jobs in (1, 2)
    )
    assert [cell["history"] for cell in one] == [cell["history"] for cell in two]


def test_a_cell_of_other_settings_is_refused(tmp_path: Path) -> None:
    cells.run_all(FEW[:1], SETTINGS, tmp_path, 1, quiet)
    with pytest.raises(UserError, match=r"lr0\.001-seed4\.json was made with other settings"):
        cells.read(FEW[0], QUICK, tmp_path)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", json.dumps({"setting": 1})], ids=["empty", "list", "bare", "other"]
)
def test_a_file_that_is_no_cell_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / f"{FEW[0].name}.json").write_text(content)
    with pytest.raises(UserError, match="is not a finished cell of this experiment: remove it"):
        cells.read(FEW[0], SETTINGS, tmp_path)
