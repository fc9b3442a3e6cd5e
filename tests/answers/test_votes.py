import itertools
import random
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iha_eval.answers.equivalence import Comparer
from iha_eval.answers.votes import Judged, judge, maj_at_k, pass_at_k, share_right
from iha_eval.errors import UserError


def judged(right: int, wrong: tuple[int, ...] = (), blank: int = 0) -> Judged:
    sizes = [right, *wrong, blank]
    return Judged(
        answers=tuple("x" for size in sizes for _ in range(size)),
        right=(True,) * right + (False,) * (sum(wrong) + blank),
        wrong=tuple(sorted(wrong, reverse=True)),
        unparseable=blank,
        undecided=0,
    )


def voters(right: int, wrong: tuple[int, ...], blank: int) -> list[int | None]:
    """Who votes for what: class 0 is right, None does not vote."""
    named = [0] * right + [i + 1 for i, size in enumerate(wrong) for _ in range(size)]
    return [*named, *[None] * blank]


def credit(votes: tuple[int | None, ...]) -> Fraction:
    """What a vote earns, written down as plainly as possible."""
    tally = {name: votes.count(name) for name in votes if name is not None}
    leaders = [name for name, count in tally.items() if count == max(tally.values())]
    return Fraction(int(0 in leaders), len(leaders) or 1)


def enumerated(right: int, wrong: tuple[int, ...], blank: int, k: int) -> float:
    earned = [credit(votes) for votes in combinations(voters(right, wrong, blank), k)]
    return float(sum(earned, Fraction(0)) / len(earned))


CLASSES = st.tuples(
    st.integers(0, 5), st.lists(st.integers(1, 4), max_size=4).map(tuple), st.integers(0, 3)
).filter(lambda sizes: 1 <= sizes[0] + sum(sizes[1]) + sizes[2] <= 10)


@given(CLASSES, st.data())
@settings(max_examples=150, deadline=None)
def test_the_vote_equals_the_mean_over_every_choice(
    sizes: tuple[int, tuple[int, ...], int], data: st.DataObject
) -> None:
    right, wrong, blank = sizes
    k = data.draw(st.integers(1, right + sum(wrong) + blank), label="k")
    assert maj_at_k(judged(right, wrong, blank), k) == enumerated(right, wrong, blank, k)


@given(CLASSES, st.data())
@settings(max_examples=100, deadline=None)
def test_pass_at_k_equals_the_share_of_choices_with_a_right_answer(
    sizes: tuple[int, tuple[int, ...], int], data: st.DataObject
) -> None:
    right, wrong, blank = sizes
    k = data.draw(st.integers(1, right + sum(wrong) + blank), label="k")
    choices = list(combinations(voters(right, wrong, blank), k))
    hits = sum(0 in choice for choice in choices)
    assert pass_at_k(judged(right, wrong, blank), k) == float(Fraction(hits, len(choices)))


@given(st.integers(0, 16), st.lists(st.integers(1, 6), max_size=5).map(tuple), st.integers(0, 8))
def test_one_vote_is_one_answer(right: int, wrong: tuple[int, ...], blank: int) -> None:
    if right + sum(wrong) + blank == 0:
        blank = 1
    one = judged(right, wrong, blank)
    assert maj_at_k(one, 1) == pass_at_k(one, 1) == share_right(one)


@pytest.mark.parametrize(
    ("right", "wrong", "blank", "k", "expected"),
    [
        (2, (2,), 0, 4, 0.5),
        (1, (1, 1, 1), 0, 4, 0.25),
        (1, (), 3, 4, 1.0),
        (0, (), 4, 4, 0.0),
        (0, (2, 2), 0, 4, 0.0),
        (3, (2,), 0, 5, 1.0),
        (2, (3,), 0, 5, 0.0),
        (1, (2, 1), 0, 2, 1 / 4),
    ],
    ids=[
        "tie of two",
        "tie of four",
        "blanks do not vote",
        "only blanks",
        "no right answer",
        "majority right",
        "majority wrong",
        "half of the six pairs tie with the right one",
    ],
)
def test_votes_worked_out_by_hand(
    right: int, wrong: tuple[int, ...], blank: int, k: int, expected: float
) -> None:
    assert maj_at_k(judged(right, wrong, blank), k) == pytest.approx(expected, abs=1e-15)


def test_the_vote_over_sixteen_agrees_with_many_shuffled_runs() -> None:
    right, wrong, blank, k = 6, (5, 3), 2, 8
    generator, runs = random.Random(0), 20_000
    pool = voters(right, wrong, blank)
    earned = [float(credit(tuple(generator.sample(pool, k)))) for _ in range(runs)]
    mean = sum(earned) / runs
    error = (sum((x - mean) ** 2 for x in earned) / runs / runs) ** 0.5
    assert abs(mean - maj_at_k(judged(right, wrong, blank), k)) < 4 * error


@pytest.mark.parametrize("k", [-1, 0, 5], ids=lambda k: f"k={k} of 4")
@pytest.mark.parametrize("score", [maj_at_k, pass_at_k], ids=["maj", "pass"])
def test_more_or_fewer_votes_than_answers_are_refused(score, k: int) -> None:
    with pytest.raises(UserError, match=rf"k={k} answers cannot be had from 4 answers"):
        score(judged(2, (2,)), k)


def test_no_answers_have_no_share() -> None:
    with pytest.raises(UserError, match="from 0 answers"):
        share_right(judged(0))


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


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [
        (r"50\%", r"\frac12", True),
        ("25%", "0.25", True),
        (r"0.25\%", "0.25", False),
        (r"\frac13\%", r"\frac13", False),
        (r"1/3 \approx 33.3\%", r"\frac13", True),
        # Above one the sign is a unit.
        (r"15\%", "15", True),
        ("0.15", "15", False),
    ],
)
def test_percent_is_a_hundredth_where_the_gold_answer_is_a_share(
    answer: str, gold: str, right: bool, comparer: Comparer
) -> None:
    assert judge(boxed(answer), gold, "math", comparer).right == (right,)


@pytest.mark.parametrize(
    "answers",
    [
        (r"\text{no solution}", r"\emptyset", r"\text{does not exist}", r"\{\}", "DNE"),
        (r"\sqrt2", "2^{1/2}", r"\frac{2}{\sqrt2}"),
        (r"3, 5, \text{ and } 7", "3, 5, and 7", r"\{7,5,3\}"),
        (r"x<2 \text{ or } x>3", r"(-\infty,2)\cup(3,\infty)", r"(-\infty,2)\bigcup(3,\infty)"),
        ("x=5", "5"),
        (r"\frac12\begin{pmatrix}2\\4\end{pmatrix}", r"\begin{pmatrix}1\\[4pt]2\end{pmatrix}"),
        ("3+4i", r"3+4\text{i}", "4i+3"),
    ],
)
def test_spellings_of_one_answer_are_one_class(
    answers: tuple[str, ...], comparer: Comparer
) -> None:
    assert judge(boxed(*answers), "11", "math", comparer).wrong == (len(answers),)


def test_bounds_and_their_number_are_different_classes(comparer: Comparer) -> None:
    answers = (">9", r"\ge 9", r"\ne 9", "9+", "9", "3-4i", "3+4i", r"\frac{1}{300!}", "x")
    assert judge(boxed(*answers), "11", "math", comparer).wrong == (1,) * len(answers)


def test_undecided_answers_do_not_keep_later_ones_apart() -> None:
    def ask(one: str, other: str) -> bool | None:
        return None if "hard" in one + other else "y" in one and "y" in other

    # Letters, as the oracle sees them; "h a r d" is what no limit allows.
    comparer = Comparer(lambda one, other: None if "z" in one + other else ask(one, other))
    hard = [f"z^{{{n}}}" for n in range(2, 12)]
    judged = judge(boxed(*hard, "ya", "yb", "yc"), "g", "math", comparer)
    assert judged.wrong == (3, *[1] * 10)
    # Each of the hard ones is given up after one comparison.
    assert judged.undecided == 10


@pytest.mark.parametrize("template", ["{}", "{}.5", "({},1)", "10000000{}"])
def test_many_different_answers_are_not_compared_pair_by_pair(template: str) -> None:
    asked = []
    comparer = Comparer(lambda *texts: bool(asked.append(texts)))
    answers = boxed(*(template.format(n) for n in range(1000, 3000)))
    assert judge(answers, "-1", "math", comparer).wrong == (1,) * 2000
    assert len(asked) < 4000


def test_multiples_of_a_wrong_equation_are_one_class(comparer: Comparer) -> None:
    answers = boxed("y=2x", "2x-y=0", "2y=4x", "y=3x")
    assert judge(answers, "y=5x", "math", comparer).wrong == (3, 1)
