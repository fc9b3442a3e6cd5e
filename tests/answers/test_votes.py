import random
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iha_eval.answers.classes import Judged
from iha_eval.answers.votes import maj_at_k, pass_at_k, share_right
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
