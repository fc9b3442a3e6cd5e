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


def test_wrong_answers_are_joined_by_chains_in_any_order() -> None:
    """a=b and b=c make one class even where a and c come out undecided."""

    def ask(one: str, other: str) -> bool | None:
        pair = {one, other}
        if pair <= {"x a", "x b"} or pair <= {"x b", "x c"}:
            return True
        return None if pair == {"x a", "x c"} else False

    for answers in itertools.permutations(("xa", "xb", "xc", "xe")):
        judged = judge(boxed(*answers), "7", "math", Comparer(ask))
        assert judged.wrong == (3, 1)


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


def test_undecided_comparisons_are_counted_once_per_pair_of_answers() -> None:
    judged = judge(boxed("xa", "xa", "xb", "5"), "5", "math", Comparer(lambda one, other: None))
    # xa and xb each against the gold answer, and against each other.
    assert (judged.undecided, judged.right) == (3, (False, False, False, True))


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
