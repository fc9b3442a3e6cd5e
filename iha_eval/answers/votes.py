"""What k answers to one question are worth: P@1, pass@k and Maj@k, exactly.

For: turning the sizes of answer classes into expected scores over every choice of k of the n
answers that were drawn. Nothing is sampled, so the order of the answers never matters.
Not for: finding the classes (`classes`), nor averaging over questions.
"""

from fractions import Fraction
from functools import lru_cache
from math import comb

from iha_eval.answers.classes import Judged
from iha_eval.errors import UserError


def share_right(judged: Judged) -> float:
    """P@1: the share of the answers that are right, 0 to 1; unparseable ones count as not right.

    Raises:
        UserError: If there are no answers.
    """
    _check(judged, 1)
    return judged.correct / len(judged.answers)


def pass_at_k(judged: Judged, k: int) -> float:
    """The chance that at least one of k answers, drawn without replacement, is right.

    Args:
        judged: The n judged answers to one question.
        k: Answers drawn, from 1 to n.

    Returns:
        1 - C(n - c, k) / C(n, k) for c right answers, the unbiased estimate.

    Raises:
        UserError: If k is not from 1 to n.

    Source: Chen et al., "Evaluating Large Language Models Trained on Code", eq. 1,
        arXiv:2107.03374.
    """
    _check(judged, k)
    total = len(judged.answers)
    return float(1 - Fraction(comb(total - judged.correct, k), comb(total, k)))


def maj_at_k(judged: Judged, k: int) -> float:
    """The credit that a vote over k answers, drawn without replacement, is expected to get.

    Answers vote for their class. The right class earns 1 if it has the most votes, 1/t if it shares
    the most with t - 1 others, which is what a random tie-break earns on average. Unparseable
    answers can be drawn but vote for nothing; a vote without voters earns 0.

    Args:
        judged: The n judged answers to one question.
        k: Answers drawn, from 1 to n.

    Returns:
        The mean credit over all C(n, k) choices, computed in integers and rounded once, at the end.

    Raises:
        UserError: If k is not from 1 to n.
    """
    _check(judged, k)
    return float(_expected_credit(judged.correct, judged.wrong, judged.unparseable, k))


def _check(judged: Judged, k: int) -> None:
    total = len(judged.answers)
    if not 1 <= k <= total:
        raise UserError(
            f"A score over k={k} answers cannot be had from {total} answers to a question; "
            f"ask for k from 1 to the number of answers drawn."
        )


@lru_cache(maxsize=4096)
def _expected_credit(right: int, wrong: tuple[int, ...], blank: int, k: int) -> Fraction:
    """Mean credit over all choices of k; the arguments are class sizes and unparseable answers."""
    credit = Fraction(0)
    # The right class wins or ties with `votes` votes; the others may have that many at most.
    for votes in range(1, min(right, k) + 1):
        chosen = _choices(wrong, votes, k - votes)
        for tied, row in enumerate(chosen):
            for others, ways in enumerate(row):
                rest = k - votes - others
                credit += Fraction(comb(right, votes) * ways * comb(blank, rest), tied + 1)
    return credit / comb(right + sum(wrong) + blank, k)


def _choices(sizes: tuple[int, ...], most: int, room: int) -> list[list[int]]:
    """Ways to choose answers of wrong classes, none of which gets more than `most` votes.

    Returns:
        A table [tied, others]: the number of ways in which exactly `tied` classes get `most` votes
        and all wrong classes together get `others`, for `others` from 0 to `room`.
    """
    table = [[1] + [0] * room]
    for size in sizes:
        grown = [[0] * (room + 1) for _ in range(len(table) + 1)]
        for votes in range(min(size, most, room) + 1):
            ways, step = comb(size, votes), int(votes == most)
            for tied, row in enumerate(table):
                for others in range(room + 1 - votes):
                    grown[tied + step][others + votes] += row[others] * ways
        table = grown
    return table
