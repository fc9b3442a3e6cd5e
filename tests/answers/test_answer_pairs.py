"""The pairs of answers in pairs.jsonl, each with whether they are equal and why."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from iha_eval.answers.equivalence import Comparer
from iha_eval.answers.votes import judge

PAIRS = [
    json.loads(line)
    for line in (Path(__file__).parent / "pairs.jsonl").read_text("utf-8").splitlines()
]


def as_generation(answer: str, kind: str) -> str:
    return f"#### {answer}" if kind == "number" else f"So we get $\\boxed{{{answer}}}$."


def taken_for_equal(pair: dict[str, Any], comparer: Comparer, turned: bool = False) -> bool:
    one, gold = (pair["b"], pair["a"]) if turned else (pair["a"], pair["b"])
    judged = judge([as_generation(one, pair["kind"])], gold, pair["kind"], comparer)
    assert judged.unparseable == judged.undecided == 0, pair
    return judged.correct == 1


@pytest.mark.parametrize("turned", [False, True], ids=["as written", "turned round"])
def test_no_pair_comes_out_wrong(
    comparer: Comparer, turned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    # A gold answer of GSM8K is a bare number, so those pairs have only one direction.
    pairs = [pair for pair in PAIRS if not turned or pair["kind"] == "math"]
    wrong = [pair for pair in pairs if taken_for_equal(pair, comparer, turned) != pair["equal"]]
    counts = Counter("negative" if pair["equal"] else "positive" for pair in wrong)
    with capsys.disabled():
        print(
            f"\n{len(pairs)} pairs: {counts['positive']} false positives, "
            f"{counts['negative']} false negatives"
        )
    assert wrong == []


def test_there_are_enough_pairs_of_both_kinds_each_with_a_reason() -> None:
    equal = sum(pair["equal"] for pair in PAIRS)
    assert equal >= 110
    assert len(PAIRS) - equal >= 110
    assert all(pair["reason"] and pair["kind"] in ("math", "number") for pair in PAIRS)
    assert len({(pair["a"], pair["b"]) for pair in PAIRS}) == len(PAIRS)
