"""Outputs with a gold answer and the verdict a careful person gives: none is judged otherwise.

`cases.jsonl` follows public reports of users of several graders; `debatable` marks what such a
person could see either way. `variations.jsonl` holds other cases of the same kinds, and
`styles.jsonl` whole outputs in the styles of five families of models, graded by hand first.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from iha_eval.answers.equivalence import Comparer
from iha_eval.answers.votes import judge
from iha_eval.current_model import GeneratedText

FOLDER = Path(__file__).parent
KINDS: dict[str, Any] = {"math": "math", "math500": "math", "gsm8k": "number", "number": "number"}


def rows(name: str) -> list[dict[str, Any]]:
    text = (FOLDER / name).read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def wrong(listed: list[dict[str, Any]], comparer: Comparer) -> list[dict[str, Any]]:
    found = []
    for row in listed:
        output = GeneratedText(row["output"], cut=row.get("cut"))
        judged = judge([output], row["gold"], KINDS[row["bench"]], comparer)
        if judged.right[0] != row["expected"] or judged.undecided:
            found.append({**row, "extracted": judged.answers[0]})
    return found


@pytest.mark.parametrize("name", ["cases.jsonl", "variations.jsonl", "styles.jsonl"])
def test_no_case_is_judged_wrongly(name: str, comparer: Comparer) -> None:
    listed = [row for row in rows(name) if not row.get("debatable")]
    assert wrong(listed, comparer) == []


def test_most_debatable_cases_are_judged_as_expected(
    comparer: Comparer, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = [row for row in rows("cases.jsonl") if row.get("debatable")]
    missed = wrong(listed, comparer)
    with capsys.disabled():
        print(f"\n{len(listed)} debatable cases: {len(missed)} not as expected")
    assert len(missed) <= 24


def test_there_are_enough_cases_of_each_kind() -> None:
    verdicts = Counter(row["expected"] for row in rows("cases.jsonl"))
    assert min(verdicts.values()) > 300
    assert len(rows("variations.jsonl")) > 200
    styles = rows("styles.jsonl")
    assert len(styles) >= 60
    assert min(Counter(row["style"] for row in styles).values()) >= 12
    assert all(row["reason"] for row in styles)
