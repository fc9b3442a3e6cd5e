"""`iha-eval grade`: a file of answers, the samples of a run, JSON, mistakes."""

import json
from pathlib import Path
from typing import Any

import pytest
from lm_eval_runs import FakeTask, line, write_run

from iha_eval.cli import main

ROWS: list[dict[str, Any]] = [
    {"bench": "math", "gold": "1/2", "output": r"\boxed{0.5}", "expected": True, "kind": "a"},
    {"bench": "gsm8k", "gold": "18", "output": "#### 17", "expected": True, "kind": "b"},
    {"bench": "gsm8k", "gold": "18", "output": "I cannot say.", "expected": False, "kind": "b"},
    {"bench": "gsm8k", "gold": "12", "output": "#### 12", "cut": True},
]


def write(folder: Path, rows: list[Any]) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_rows_are_graded_in_their_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grade", write(tmp_path, ROWS), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["answers"] == [
        {"extracted": "0.5", "right": True, "undecided": False},
        {"extracted": "17", "right": False, "undecided": False},
        {"extracted": None, "right": False, "undecided": False},
        {"extracted": None, "right": False, "undecided": False},
    ]
    assert found["missed"] == 1
    assert found["kinds"] == {
        "a": {"rows": 1, "false_positives": 0, "false_negatives": 0},
        "b": {"rows": 2, "false_positives": 0, "false_negatives": 1},
    }


def test_the_table_names_what_is_not_as_expected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["grade", write(tmp_path, ROWS)]) == 1
    out = capsys.readouterr().out
    assert "1: right: '0.5', gold '1/2'\n" in out
    assert "2: wrong: '17', gold '18'  (expected: right)\n" in out
    assert "4 rows: 1 right, 1 not as expected" in out


def test_verdicts_as_expected_exit_with_zero(tmp_path: Path) -> None:
    assert main(["grade", write(tmp_path, [ROWS[0], ROWS[2], ROWS[3]])]) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no rows"),
        ("{", "line 1: this is no JSON"),
        ("[1]", "line 1: this is no JSON object"),
        ("[" * 100_000, "line 1: this is no JSON"),
        ('{"bench": "math", "gold": "1", "output": "\0"}', "line 1: this is no JSON"),
        ('{"bench": "math", "gold": 1, "output": "1"}', "line 1: 'gold' is 1; give a text"),
        ('{"bench": "math", "gold": "1"}', "line 1: 'output' is None"),
        ('{"bench": "chess", "gold": "1", "output": ""}', "bench is 'chess'; give math or gsm8k"),
        ('{"bench": "math", "gold": "", "output": ""}', "line 1: The gold answer ''"),
        ('{"bench": "math", "gold": "1", "output": "", "cut": 3}', "'cut' is 3; give true"),
    ],
)
def test_a_broken_file_is_one_sentence(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["grade", str(path)])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def voted(doc_id: int, answers: list[str], share: float, **doc: Any) -> dict[str, Any]:
    scores = {"p@1": share, "maj@1": share, "pass@1": share, "maj@2": share, "pass@2": share}
    scores |= {"unparseable": 0.0, "cut": 0.0, "undecided": 0.0}
    return line(doc_id, scores, answers=answers, problem="?", **doc)


@pytest.fixture
def run(tmp_path: Path) -> str:
    math = {"subject": "Algebra", "level": 1, "unique_id": "x"}
    tasks = {
        "math500_maj": FakeTask(
            [
                voted(0, [r"\boxed{>9}", r"\boxed{9}"], 1.0, answer="9", **math),
                voted(1, [r"\boxed{4}", r"\boxed{5}"], 0.5, answer="4", **math),
            ],
            metadata={"votes": [1, 2]},
        ),
        "gsm8k_5shot_em": FakeTask(
            [line(0, {"exact_match": 0.0, "cut": 1.0}, answers=["#### 7"], problem="?", answer="7")]
        ),
        "gsm8k": FakeTask(
            [line(0, {"exact_match": 1.0}, answers=["It is 7."], question="?", answer="x\n#### 7")]
        ),
        "poems": FakeTask([line(0, {"acc": 1.0})]),
    }
    return str(write_run(tmp_path, tasks, group_subtasks={"iha_math": ["math500_maj"]}))


def test_a_run_is_graded_anew(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grade", run, "--json"]) == 0
    tasks = json.loads(capsys.readouterr().out)["tasks"]
    assert set(tasks) == {"math500_maj", "gsm8k_5shot_em", "gsm8k"}
    voting = tasks["math500_maj"]
    assert voting["scores"]["p@1"] == 0.5
    assert voting["scores"]["pass@2"] == 1.0
    assert voting["scores"]["maj@2"] == 0.5
    assert voting["before"]["p@1"] == 0.75
    assert voting["changed"] == [
        {"doc_id": 0, "gold": "9", "metric": "p@1", "before": 1.0, "after": 0.5}
    ]
    # Cut by its budget, and a number at the very end may be half of one.
    assert tasks["gsm8k_5shot_em"]["scores"]["exact_match"] == 0.0
    assert tasks["gsm8k"]["scores"]["exact_match"] == 1.0


def test_a_run_says_which_verdicts_changed(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grade", run, "--tasks", "iha_math"]) == 0
    out = capsys.readouterr().out
    assert "math500_maj, 2 questions" in out
    assert "0.5000  (was 0.7500)" in out
    assert "document 0, gold '9': p@1 1 -> 0.5" in out
    assert "gsm8k" not in out


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ("chess", "has no samples of 'chess'; it has those of gsm8k, gsm8k_5shot_em, math500_maj"),
        ("poems", "document 0 has no answer of GSM8K or MATH"),
    ],
)
def test_tasks_that_cannot_be_graded_are_named(
    tasks: str, message: str, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["grade", run, "--tasks", tasks])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_questions_with_some_cut_answers_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = voted(0, ["#### 7", "#### 7 apples"], 1.0, answer="7")
    sample["cut"] = 0.5
    run = write_run(tmp_path, {"gsm8k_maj": FakeTask([sample])})
    assert main(["grade", str(run)]) == 0
    assert "1 questions have some answers that the budget cut" in capsys.readouterr().out
