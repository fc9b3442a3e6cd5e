"""The gold answers of all of GSM8K and MATH-500, where the data is at hand."""

import json
import re
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest

from iha_eval.answers.equivalence import Comparer, Equality
from iha_eval.answers.extract import Kind
from iha_eval.answers.read import read
from iha_eval.answers.votes import judge

pytestmark = pytest.mark.data


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    text = (folder / name / "test.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def failures(golds: list[tuple[str, list[str]]], kind: Kind, comparer: Comparer) -> list[str]:
    """The gold answers that any of their own generations is not right about."""
    return [gold for gold, outputs in golds if not all(judge(outputs, gold, kind, comparer).right)]


def test_every_gsm8k_answer_equals_itself(data_folder: Path, comparer: Comparer) -> None:
    golds = []
    for row in rows(data_folder, "gsm8k"):
        gold = row["answer"].rpartition("####")[2].strip().replace(",", "")
        grouped = f"{int(gold):,}"
        outputs = [row["answer"], f"#### {grouped}", f"So it is $\\boxed{{{gold}}}$."]
        outputs += [f"The answer is ${grouped}.", f"In all that makes {gold} of them."]
        outputs += [f"So it is **{gold}**.\n\nLet me know if you have questions!"]
        outputs += [f"The final answer is:\n\\[\n{gold}\n\\]", f"#### {gold}\n\nQ: 1 + 1\n#### 2"]
        golds.append((gold, outputs))
    assert len(golds) == 1319
    assert failures(golds, "number", comparer) == []


def test_every_math500_answer_equals_itself(data_folder: Path, comparer: Comparer) -> None:
    golds = []
    for row in rows(data_folder, "math500"):
        gold = row["answer"]
        outputs = [row["solution"], f"So we get $\\boxed{{{gold}}}$.", f"Answer: ${gold}$"]
        outputs += [f"The final answer is:\n\\[\n{gold}\n\\]", f"The answer is\n\n$$\n{gold}\n$$\n"]
        outputs += [f"Hence\n$$\n{gold}\n$$", f"Hence\n\n\\[ {gold} \\]\n\nI hope this helps!"]
        golds.append((gold, [*outputs, f"The final answer is ${gold}$. I hope it is correct."]))
    assert len(golds) == 500
    assert failures(golds, "math", comparer) == []


def test_no_two_different_math500_answers_are_taken_for_equal(
    data_folder: Path, comparer: Comparer
) -> None:
    """All 42,195 pairs of forms, and all rows that have the same form."""
    golds = [row["answer"] for row in rows(data_folder, "math500")]
    forms: dict[str, list[str]] = {}
    for gold in golds:
        forms.setdefault(read(gold).form, []).append(gold)  # type: ignore[union-attr]
    shapes = [read(same[0]) for same in forms.values()]
    verdicts = {
        (one.form, other.form): comparer.compare(one, other)  # type: ignore[union-attr, arg-type]
        for one, other in combinations(shapes, 2)
    }
    assert len(verdicts) == 42_195
    assert Equality.UNDECIDED not in verdicts.values()
    equal = [pair for pair, verdict in verdicts.items() if verdict is Equality.EQUAL]
    # The same answer with the name of the unknown.
    assert equal == [("=5", "x\x1f=5")] or equal == [("x\x1f=5", "=5")]
    written = {tuple(sorted(pair)) for same in forms.values() for pair in pairwise(same)}
    different = {pair for pair in written if bare(pair[0]) != bare(pair[1])}
    # All of them are equal: a list without order, a thousands comma, a unit that is asked for.
    assert different == {("-2,1", "1,-2"), ("10,\\!080", "10080"), ("15", "15\\mbox{ cm}^2")}


def bare(answer: str) -> str:
    """An answer without layout, degrees and type, in a way that shares nothing with ours."""
    answer = re.sub(r"\\frac(\d)(\d)", r"\\frac{\1}{\2}", answer.replace("dfrac", "frac"))
    return re.sub(r"\\left|\\right|\^\\circ|\\!|\\\$|\s|,(?=\d{3}$)", "", answer)
