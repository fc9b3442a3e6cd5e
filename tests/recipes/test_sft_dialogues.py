"""`recipes/sft/dialogues.py`: the forms of training rows, and what is said of broken ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from iha_eval.answers import extract
from iha_eval.errors import UserError
from recipes.sft.dialogues import dialogue, read

ASKED = [{"role": "user", "content": "2+2?"}]
ANSWERED = [{"role": "assistant", "content": "4"}]
SYSTEM = [{"role": "system", "content": "Be brief."}]


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        pytest.param({"messages": ASKED + ANSWERED}, ASKED, id="messages"),
        pytest.param(
            {
                "conversations": [
                    {"from": "human", "value": "2+2?"},
                    {"from": "gpt", "value": "4"},
                ]
            },
            ASKED,
            id="conversations",
        ),
        pytest.param(
            {
                "system": "Be brief.",
                "conversations": [
                    {"from": "user", "value": "2+2?"},
                    {"from": "assistant", "value": "4"},
                ],
            },
            SYSTEM + ASKED,
            id="conversations-system",
        ),
        pytest.param({"prompt": "2+2?", "completion": "4"}, ASKED, id="prompt-completion"),
        pytest.param(
            {"messages": SYSTEM + ASKED + ANSWERED + ASKED + ANSWERED},
            SYSTEM + ASKED + ANSWERED + ASKED,
            id="several-turns",
        ),
    ],
)
def test_the_forms(row: dict[str, Any], prompt: list[dict[str, str]]) -> None:
    assert dialogue(row, "row 1") == {"prompt": prompt, "completion": ANSWERED}


def test_gsm8k_is_learnt_as_it_is_asked_and_read() -> None:
    row = {"question": "How many?", "answer": "3+4=<<3+4=7>>7 apples\n#### 7"}
    made = dialogue(row, "row 1")
    [asked], [answered] = made["prompt"], made["completion"]
    assert asked["content"].startswith("How many?\n\n")
    assert "\\boxed{}" in asked["content"]
    assert answered["content"].startswith("3+4=7 apples\n")
    assert extract(answered["content"], "number") == "7"


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        pytest.param({"text": "x"}, "row 1 is in no known form", id="no-form"),
        pytest.param([1], "row 1 is in no known form", id="list"),
        pytest.param({"question": "a", "answer": "b"}, "no known form", id="answer-without-final"),
        pytest.param({"messages": ASKED}, "does not end with an answer", id="no-answer"),
        pytest.param({"messages": ANSWERED}, "does not end with an answer", id="no-question"),
        pytest.param({"messages": []}, "does not end with an answer", id="empty"),
        pytest.param({"messages": [{"role": "user"}]}, "without 'role' and 'content'", id="half"),
        pytest.param(
            {"messages": [{"role": "tool", "content": "x"}]}, "role='tool'", id="other-role"
        ),
    ],
)
def test_broken_rows(row: object, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        dialogue(row, "row 1")


def test_a_file_names_the_line_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = json.dumps({"prompt": "a", "completion": "b"})
    path.write_text(f"{good}\n\n{{}}\n")
    rows = read(str(path))
    assert next(rows)["completion"][0]["content"] == "b"
    with pytest.raises(UserError, match="line 3 is in no known form"):
        next(rows)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"\n\n{", "line 3 is not JSON"), (b"\xff\xff", "is not UTF-8")],
    ids=["json", "utf8"],
)
def test_a_file_of_something_else(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        list(read(str(path)))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        list(read(str(tmp_path / "a.jsonl")))


def test_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"prompt": "a", "completion": "b"}, {"text": "c"}]
    monkeypatch.setattr("datasets.load_dataset", lambda name, split: rows)
    found = read("hub:some/where")
    assert next(found)["prompt"][0]["content"] == "a"
    with pytest.raises(UserError, match="hub:some/where, row 2"):
        next(found)


def test_the_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, split: str) -> None:
        raise ConnectionError(f"{name} {split}")

    monkeypatch.setattr("datasets.load_dataset", fail)
    with pytest.raises(UserError, match="some/where cannot be had from the hub"):
        list(read("hub:some/where"))
