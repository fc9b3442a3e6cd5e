"""What is found out about a folder, file by file."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from iha_eval.data import check
from iha_eval.data.check import FileState, check_all, complete
from iha_eval.data.known import GSM8K_TEST, GSM8K_TRAIN, MATH500_TEST
from iha_eval.data.rows import rows_sha256

ROWS = [{"question": "How many?", "answer": "#### 1"}]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The published training set, another test set, and a broken MATH-500."""
    train = replace(GSM8K_TRAIN, rows=1, sha256=rows_sha256(ROWS))
    monkeypatch.setattr(check, "FILES", (GSM8K_TEST, train, MATH500_TEST))
    for name, text in (
        ("gsm8k/test.jsonl", json.dumps(ROWS[0])),
        ("gsm8k/train.jsonl", json.dumps(ROWS[0])),
        ("math500/test.jsonl", "{"),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_every_state_is_told_apart(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    differs, matches, broken = check_all(folder)
    assert (differs.state, differs.rows, differs.expected_rows) == ("differs", 1, 1319)
    assert (differs.sha256, differs.source) == (
        rows_sha256(ROWS),
        str(folder / "gsm8k/test.jsonl"),
    )
    assert "is not the published GSM8K test set" in differs.note
    assert (matches.state, matches.rows, matches.note) == ("matches", 1, "")
    assert (broken.state, broken.rows, broken.sha256) == ("broken", None, None)
    assert "line 1 is not JSON" in broken.note
    # The notes say it already.
    assert not caplog.records


def test_a_missing_file_is_missing_not_broken(folder: Path) -> None:
    (folder / "math500/test.jsonl").unlink()
    missing = check_all(folder)[2]
    assert (missing.state, missing.rows) == ("missing", None)
    assert "does not exist: put the MATH-500 test set there" in missing.note


def test_warnings_come_back_afterwards(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    check_all(folder)
    check.sources.load_rows(GSM8K_TEST, folder)
    assert len(caplog.records) == 1


def finding(state: str, needed: bool) -> FileState:
    return FileState("a", "b", needed, state, 1, "c")


@pytest.mark.parametrize(
    ("test", "train", "done"),
    [
        ("matches", "matches", True),
        ("matches", "missing", True),
        ("matches", "broken", True),
        ("differs", "matches", False),
        ("missing", "matches", False),
        ("broken", "matches", False),
    ],
)
def test_test_files_decide(test: str, train: str, done: bool) -> None:
    findings = [finding("matches", True), finding(test, True), finding(train, False)]
    assert complete(findings) is done
