import itertools
import random

import pytest

from iha_eval.answers.classes import Judged, judge
from iha_eval.answers.equivalence import Comparer
from iha_eval.errors import UserError


def boxed(*answers: str) -> list[str]:
    return [f"\\boxed{{{answer}}}" for answer in answers]


def test_classes_of_one_question(comparer: Comparer) -> None:
    outputs = [*boxed("1,000", "$1{,}000$", "999", "x=999", r"2\sqrt{2}", r"\sqrt{8}"), "no idea"]
    judged = judge(outputs, "1000", "math", comparer)
    assert judged == Judged(
        answers=("1,000", "$1{,}000$", "999", "x=999", r"2\sqrt{2}", r"\sqrt{8}", None),
        right=(True, True, False, False, False, False, False),
        wrong=(2, 2),
        unparseable=1,
        undecided=0,
    )
    assert judged.correct == 2


def test_a_chain_of_equal_answers_is_no_class(comparer: Comparer) -> None:
    for answers in itertools.permutations(("x=5", "5", "y=5", "9")):
        assert judge(boxed(*answers), "7", "math", comparer).wrong == (2, 1, 1)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        (r"3 \cdot 4 = 12", "12"),
        (r"\sqrt{16}=4", "4"),
        (r"\binom52=10", "10"),
        ("f(2)=5", "5"),
        ("a+b=5", "5"),
        ("5=x", "5"),
        (r"2\sqrt2\approx2.83", r"2\sqrt2"),
        (r"x = 2\sqrt2\approx2.83", r"2\sqrt2"),
        (r"x \approx 2.83", "2.83"),
        (r"\text{Answer: }9", "9"),
        ("2x=y", "y=2x"),
        (r"\{\}", r"\emptyset"),
        (r"\textbf{(C)}\ 12", "12"),
        (r"\textbf{(C)}\ 12", "C"),
        (r"\sin30^\circ", r"\frac{1}{2}"),
        (r"12\text{ million}", "12000000"),
    ],
)
def test_an_answer_says_more_than_its_value(answer: str, gold: str, comparer: Comparer) -> None:
    assert judge(boxed(answer), gold, "math", comparer).right == (True,)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("2x=4y", "4y"),
        ("a+b=5", "x+y=5"),
        ("3<5", "5"),
        ("x+=5", "4"),
        (r"\sin30", r"\frac{1}{2}"),
        (r"12\text{ million}", "12"),
    ],
)
def test_what_is_another_answer_still(answer: str, gold: str, comparer: Comparer) -> None:
    assert judge(boxed(answer), gold, "math", comparer).right == (False,)


def test_order_makes_no_difference(comparer: Comparer) -> None:
    outputs = boxed(*["5"] * 3, *["6", "6.0", "x=6"], "7", r"\frac{14}{2}", "8", "(1,2)", "..")
    reference = judge(outputs, "5", "math", comparer)
    generator = random.Random(1)
    for _ in range(20):
        generator.shuffle(outputs)
        judged = judge(outputs, "5", "math", comparer)
        assert (judged.wrong, judged.correct, judged.unparseable) == (
            reference.wrong,
            reference.correct,
            reference.unparseable,
        )
    assert (reference.wrong, reference.correct, reference.unparseable) == ((3, 2, 1, 1), 3, 1)


def test_an_undecided_answer_is_compared_with_the_gold_answer_alone() -> None:
    judged = judge(boxed("xa", "xa", "xb", "5"), "5", "math", Comparer(lambda *_: None))
    assert (judged.undecided, judged.right) == (2, (False, False, False, True))
    assert judged.wrong == (2, 1)


def test_numbers(comparer: Comparer) -> None:
    outputs = ["#### 18", "The answer is $18.00.", "18 - 3 = 15", "no"]
    judged = judge(outputs, "18", "number", comparer)
    assert (judged.right, judged.wrong, judged.unparseable) == (
        (True, True, False, False),
        (1,),
        1,
    )


def test_no_outputs_make_an_empty_judgment(comparer: Comparer) -> None:
    assert judge([], "5", "math", comparer) == Judged((), (), (), 0, 0)


@pytest.mark.parametrize("gold", ["", " $$ ", "x" * 1001], ids=["empty", "dollars", "too long"])
def test_a_gold_answer_that_cannot_be_read_is_refused(gold: str, comparer: Comparer) -> None:
    with pytest.raises(UserError, match="cannot be read as an answer"):
        judge(["5"], gold, "math", comparer)


def test_the_comparer_of_the_process_is_used_if_none_is_given() -> None:
    assert judge(boxed("5", "6"), "5", "math").right == (True, False)
