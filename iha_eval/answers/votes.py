"""The answers to one question: which are right, which wrong ones mean the same, and their votes.

For: `judge`, whose result every score is computed from, and P@1, pass@k and Maj@k, exactly: they
are expected scores over every choice of k of the n answers that were drawn. Nothing is sampled, so
the order of the answers never matters.
Not for: reading or comparing single answers (`extract`, `equivalence`), nor averaging over
questions.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import comb

from iha_eval.answers.equivalence import Comparer, Equality, default_comparer
from iha_eval.answers.extract import Kind, extract
from iha_eval.answers.read import Expression, Named, Shape, fitting, read, unit_of
from iha_eval.errors import UserError

_BY_FORM = Comparer(lambda *_: None)


@dataclass(frozen=True)
class Judged:
    """The answers to one question.

    Attributes:
        answers: The final answer each generation states, in their order; None if there is none that
            can be read.
        right: Whether each equals the gold answer, in the same order; False where there is none.
        wrong: Sizes of the classes of equal wrong answers, largest first.
        unparseable: How many generations state no answer that can be read.
        undecided: Comparisons of two different answers that ran into their limit of time or memory,
            or were not begun because too many before had; they count as not equal.
    """

    answers: tuple[str | None, ...]
    right: tuple[bool, ...]
    wrong: tuple[int, ...]
    unparseable: int
    undecided: int

    @property
    def correct(self) -> int:
        """How many answers are right."""
        return sum(self.right)


def judge(
    outputs: Sequence[str], gold: str, kind: Kind, comparer: Comparer | None = None
) -> Judged:
    """Compare the answers to one question with the gold answer, and the wrong ones with each other.

    Wrong answers are in one class if all of them equal each other, found in the order of their
    forms; so neither the order of the generations nor a chain of equalities such as x = 5, 5, y = 5
    matters. An answer that could not be compared with the gold answer is in a class of its own, and
    after one undecided comparison form and exact value alone decide about an answer. Where the gold
    answer is no equation, the value counts that an answer's equation ends in.

    Args:
        outputs: What the model wrote, one text per generation. One that tells that its budget cut
            it, see iha_eval.current_model, must state its answer in so many words.
        gold: The gold answer alone, as the data set gives it.
        kind: `number` for GSM8K, `math` for MATH; decides how the answer is found in a text.
        comparer: Who compares; the one of this process if not given.

    Raises:
        UserError: If the gold answer cannot be read.
    """
    target = read(gold)
    if target is None:
        raise UserError(
            f"The gold answer {gold[:80]!r} cannot be read as an answer; "
            f"give a non-empty one of at most 1000 characters."
        )
    answers = tuple(
        extract(output, kind, cut=getattr(output, "cut", None) is True) for output in outputs
    )
    unit = unit_of(gold)
    shapes = [None if answer is None else fitting(answer, target, unit) for answer in answers]
    counts = Counter(shape for shape in shapes if shape is not None)
    sparing = _Sparing(comparer or default_comparer())
    # The shortest first, because those are most likely to be decided.
    ordered = sorted(counts, key=lambda shape: (len(shape.form), shape.form))
    verdicts = {shape: sparing.compare(shape, target) for shape in ordered}
    different = [shape for shape in ordered if verdicts[shape] is Equality.DIFFERENT]
    alone = [[shape] for shape in ordered if verdicts[shape] is Equality.UNDECIDED]
    classes = _classes(different, sparing) + alone
    return Judged(
        answers=tuple(
            answer if shape is not None else None
            for answer, shape in zip(answers, shapes, strict=True)
        ),
        right=tuple(shape is not None and verdicts[shape] is Equality.EQUAL for shape in shapes),
        wrong=tuple(
            sorted((sum(counts[shape] for shape in group) for group in classes), reverse=True)
        ),
        unparseable=shapes.count(None),
        undecided=sparing.undecided,
    )


class _Sparing:
    """Compares for one question, without algebra about shapes that came out undecided.

    Attributes:
        undecided: How many comparisons did so far.
    """

    def __init__(self, comparer: Comparer) -> None:
        self._comparer = comparer
        self._given_up: set[Shape] = set()
        self.undecided = 0

    def compare(self, left: Shape, right: Shape) -> Equality:
        """As Comparer.compare, where `left` is the shape to give up on."""
        if left in self._given_up:
            return _BY_FORM.compare(left, right)
        verdict = self._comparer.compare(left, right)
        if verdict is Equality.UNDECIDED:
            self.undecided += 1
            self._given_up.add(left)
        return verdict

    def number(self, shape: Shape) -> complex | None:
        """As Comparer.number; None where that hits a limit."""
        try:
            return self._comparer.number(shape)
        except TimeoutError:
            self.undecided += 1
            self._given_up.add(shape)
            return None


def _classes(shapes: Sequence[Shape], sparing: _Sparing) -> list[list[Shape]]:
    """Group shapes that all equal each other, each with the first group that it fits in.

    Two exact values are never compared, and of the rest only those whose numbers are close, so that
    many different answers cost little more than their sorting.
    """
    groups: list[list[Shape]] = []
    placed: dict[Shape, int] = {}
    near = _Neighbors(shapes, sparing)
    for shape in shapes:
        candidates = {placed[other] for other in near.of(shape) if other in placed}
        for place in sorted(candidates):
            if all(sparing.compare(shape, member) is Equality.EQUAL for member in groups[place]):
                groups[place].append(shape)
                break
        else:
            place = len(groups)
            groups.append([shape])
        placed[shape] = place
    return groups


class _Neighbors:
    """Which shapes may equal a given one."""

    def __init__(self, shapes: Sequence[Shape], sparing: _Sparing) -> None:
        self._numbers: dict[Shape, float] = {}
        self._loose: list[Shape] = []
        for shape in shapes:
            number = sparing.number(shape)
            if number is not None:
                # Any weight other than a simple one: x + i y must not be near x - i y.
                self._numbers[shape] = number.real + 0.7390851332 * number.imag
            elif not _only_form(shape):
                self._loose.append(shape)
        exact: list[Shape] = []
        open_: list[Shape] = []
        for shape in self._numbers:
            (exact if _is_exact(shape) else open_).append(shape)
        self._lists = tuple(
            (shapes, [self._numbers[shape] for shape in shapes])
            for shapes in (sorted(some, key=self._numbers.__getitem__) for some in (exact, open_))
        )
        self._by_form = {shape.form: shape for shape in shapes}

    def of(self, shape: Shape) -> list[Shape]:
        """The shapes that may equal it, itself perhaps among them."""
        number = self._numbers.get(shape)
        if number is None:
            if _only_form(shape):
                return [other for other in self._loose if isinstance(other, Named)]
            inner = self._by_form.get(shape.value.form) if isinstance(shape, Named) else None
            return [*self._loose, *self._lists[1][0], *([inner] if inner else [])]
        neighbors = [] if _is_exact(shape) else [*self._loose]
        for shapes, numbers in self._lists[_is_exact(shape) :]:
            reach = _REACH * abs(number)
            neighbors += shapes[
                bisect_left(numbers, number - reach) : bisect_right(numbers, number + reach)
            ]
        return neighbors


#: A share by which the numbers of two equal answers may differ, by rounding.
_REACH = 1e-8


def _is_exact(shape: Shape) -> bool:
    """Whether it is a plain number, which equals another one only in its form."""
    return isinstance(shape, Expression) and shape.value is not None


def _only_form(shape: Shape) -> bool:
    """Whether it is a word or the like, which equals only what is written the same."""
    return isinstance(shape, Expression) and shape.value is None and shape.latex is None


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
            for other_votes, ways in enumerate(row):
                rest = k - votes - other_votes
                credit += Fraction(comb(right, votes) * ways * comb(blank, rest), tied + 1)
    return credit / comb(right + sum(wrong) + blank, k)


def _choices(sizes: tuple[int, ...], most: int, room: int) -> list[list[int]]:
    """Ways to choose answers of wrong classes, none of which gets more than `most` votes.

    Returns:
        A table [tied, others]: the number of ways in which exactly `tied` classes get `most` votes
        and all wrong classes together get `other_votes`, for `other_votes` from 0 to `room`.
    """
    table = [[1] + [0] * room]
    for size in sizes:
        grown = [[0] * (room + 1) for _ in range(len(table) + 1)]
        for votes in range(min(size, most, room) + 1):
            ways, step = comb(size, votes), int(votes == most)
            for tied, row in enumerate(table):
                for other_votes in range(room + 1 - votes):
                    grown[tied + step][other_votes + votes] += row[other_votes] * ways
        table = grown
    return table
