"""`iha-eval data check`: table, JSON, exit codes, mistakes."""

import json
from pathlib import Path

import pytest

from iha_eval.cli import data, main
from iha_eval.data import check
from iha_eval.data.check import FileState


def finding(name: str, state: str, needed: bool = True, note: str = "") -> FileState:
    found = ("missing", "broken")
    rows, sha = (None, None) if state in found else (7, "ab" * 32)
    return FileState(name, f"the {name}", needed, state, 9, "cd" * 32, rows, sha, None, note)


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> list[FileState]:
    """What the folder is said to hold; and the folders asked for."""
    found: list[FileState] = []
    monkeypatch.delenv("IHA_EVAL_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(check, "check_all", lambda folder: found)
    return found


def test_the_table_shows_each_file_and_notes_say_how_to_mend(
    findings: list[FileState], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    findings += [
        finding("a.jsonl", "matches"),
        finding("b.jsonl", "missing", needed=False, note="put [it] there"),
    ]
    assert main(["data", "check", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines()]
    assert ["a.jsonl", "tasks", "7 of 9", "abababababab", "matches"] in rows
    assert ["b.jsonl", "few-shot", "- of 9", "-", "missing"] in rows
    assert "b.jsonl: put [it] there" in printed.splitlines()
    assert "a.jsonl:" not in printed


@pytest.mark.parametrize("state", ["differs", "missing", "broken"])
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["table", "json"])
def test_exit_code_1_unless_all_test_files_match(
    findings: list[FileState], state: str, form: list[str], tmp_path: Path
) -> None:
    findings += [finding("a.jsonl", "matches"), finding("b.jsonl", state)]
    assert main(["data", "check", str(tmp_path), *form]) == 1


def test_json_has_everything(
    findings: list[FileState], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    findings += [finding("a.jsonl", "matches")]
    assert data.main(["check", "--json", str(tmp_path)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["place"], printed["ok"]) == (str(tmp_path), True)
    assert printed["files"][0]["sha256"] == "ab" * 32
    assert printed["files"][0]["expected_rows"] == 9


def test_the_folder_is_the_argument_else_the_variable_else_the_hub(
    findings: list[FileState],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[Path | None] = []
    monkeypatch.setattr(check, "check_all", lambda folder: asked.append(folder) or [])
    argument = tmp_path / "argument"
    argument.mkdir()
    data.main(["check"])
    monkeypatch.setenv("IHA_EVAL_DATA", str(tmp_path))
    data.main(["check"])
    data.main(["check", str(argument)])
    assert asked == [None, tmp_path, argument]
    assert "data in Hugging Face hub" in capsys.readouterr().out


def test_what_is_no_folder_ends_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["data", "check", "/nowhere/at/all"])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("iha-eval: FOLDER is '/nowhere/at/all', which is not a folder")
    assert said.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["chek"], ["check", "--jsn"]])
def test_usage_is_shown_for_anything_else(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        data.main(arguments)
    assert caught.value.code == 2
    assert "usage: iha-eval data" in capsys.readouterr().err
