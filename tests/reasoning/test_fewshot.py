"""Worked examples: ours hold water, those of the training set are rewritten, N is kept."""

import re
from pathlib import Path

import pytest

from iha_eval.answers import Kind, judge
from iha_eval.errors import UserError
from iha_eval.reasoning.fewshot import (
    GSM8K_EXAMPLES,
    MATH_EXAMPLES,
    OWN,
    TRAIN,
    Example,
    examples_record,
    first,
    from_gsm8k,
    train_examples,
)

OURS = [
    *(pytest.param(one, "number", id=f"GSM8K {n}") for n, one in enumerate(GSM8K_EXAMPLES, 1)),
    *(pytest.param(one, "math", id=f"MATH {n}") for n, one in enumerate(MATH_EXAMPLES, 1)),
]


def test_there_are_eight_of_each_kind() -> None:
    assert len(GSM8K_EXAMPLES) == len(MATH_EXAMPLES) == 8
    assert len({one.problem for one in (*GSM8K_EXAMPLES, *MATH_EXAMPLES)}) == 16


@pytest.mark.parametrize(("example", "kind"), OURS)
def test_the_extracted_answer_is_the_stated_one(example: Example, kind: Kind) -> None:
    judged = judge([example.solution], example.answer, kind)
    assert judged.answers[0] is not None
    assert judged.right == (True,)


@pytest.mark.parametrize("example", GSM8K_EXAMPLES, ids=lambda example: example.answer)
def test_every_sum_in_our_solutions_is_right(example: Example) -> None:
    sums = re.findall(r"(\d+(?: [+*/-] \d+)+) = (\d+)", example.steps)
    assert sums
    for left, right in sums:
        assert eval(left) == int(right)
    assert re.findall(r"\d+", example.steps).count(example.answer) >= 1


def test_a_training_row_is_rewritten() -> None:
    answer = "Half of 48 is <<48/2=24>>24.\nSo 48+24 = $<<48+24=72>>72 in all.\n#### 1,072"
    example = from_gsm8k("How many? ", answer)
    assert example.document == {
        "problem": "How many?",
        "solution": "Half of 48 is 24.\nSo 48+24 = $72 in all.\nThe answer is \\boxed{1,072}.",
        "answer": "1,072",
    }


def test_a_seed_orders_the_training_set(data: Path) -> None:
    one, again, other = (train_examples(data, seed) for seed in (1, 1, 2))
    assert one == again != other
    assert len(one) == 40
    assert {example.problem for example in one} == {example.problem for example in other}
    assert all("(train)" in example.problem for example in one)


@pytest.mark.parametrize("count", [0, 1, 8])
def test_the_first_are_taken(count: int) -> None:
    assert first(GSM8K_EXAMPLES, count, "t") == list(GSM8K_EXAMPLES[:count])


@pytest.mark.parametrize("count", [9, -1])
def test_more_than_there_are_is_refused(count: int) -> None:
    with pytest.raises(UserError, match=f"num_fewshot={count} is not possible for t, which has 8"):
        first(GSM8K_EXAMPLES, count, "t")


def test_the_record_knows_which_examples_they_were() -> None:
    record = examples_record(GSM8K_EXAMPLES[:5], OWN, 1234)
    assert (record["source"], record["count"], len(record["sha256"])) == ("own", 5, 64)
    assert "seed" not in record
    assert record["sha256"] != examples_record(GSM8K_EXAMPLES[:4], OWN, 1234)["sha256"]
    assert record["sha256"] != examples_record(GSM8K_EXAMPLES[4::-1], OWN, 1234)["sha256"]
    assert examples_record(GSM8K_EXAMPLES[:5], TRAIN, 7)["seed"] == 7
    assert examples_record([], OWN, 1234) == {"source": "none", "count": 0}
