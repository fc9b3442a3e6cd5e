"""One question's answers, judged: which are right, and which wrong ones mean the same.

For: `judge`, whose result every score is computed from.
Not for: reading or comparing single answers (`extract`, `equivalence`), nor scores (`votes`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from iha_eval.answers.equivalence import Comparer, Verdict, default_comparer
from iha_eval.answers.extract import Kind, extract
from iha_eval.answers.read import fitting, read
from iha_eval.answers.shapes import Shape
from iha_eval.errors import UserError

#: Undecided comparisons that one question may cost; each takes a worker its whole limit.
UNDECIDED = 3

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
    after UNDECIDED undecided comparisons form and exact value alone decide. Where the gold answer
    is no equation, the value counts that an answer's equation ends in.

    Args:
        outputs: What the model wrote, one text per generation. One that tells that its budget cut
            it, see iha_eval.generated, must state its answer in so many words.
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
    shapes = [None if answer is None else fitting(answer, target) for answer in answers]
    counts = Counter(shape for shape in shapes if shape is not None)
    sparing = _Sparing(comparer or default_comparer())
    # The shortest first, because those are most likely to be decided.
    ordered = sorted(counts, key=lambda shape: (len(shape.form), shape.form))
    verdicts = {shape: sparing.compare(shape, target) for shape in ordered}
    different = [shape for shape in ordered if verdicts[shape] is Verdict.DIFFERENT]
    alone = [[shape] for shape in ordered if verdicts[shape] is Verdict.UNDECIDED]
    classes = _classes(different, sparing) + alone
    return Judged(
        answers=tuple(
            answer if shape is not None else None
            for answer, shape in zip(answers, shapes, strict=True)
        ),
        right=tuple(shape is not None and verdicts[shape] is Verdict.EQUAL for shape in shapes),
        wrong=tuple(
            sorted((sum(counts[shape] for shape in group) for group in classes), reverse=True)
        ),
        unparseable=shapes.count(None),
        undecided=sparing.undecided,
    )


class _Sparing:
    """Compares for one question, without algebra once too many comparisons came out undecided.

    Attributes:
        undecided: How many did so far.
    """

    def __init__(self, comparer: Comparer) -> None:
        self._comparer = comparer
        self.undecided = 0

    def compare(self, one: Shape, other: Shape) -> Verdict:
        """As Comparer.compare."""
        comparer = self._comparer if self.undecided < UNDECIDED else _BY_FORM
        verdict = comparer.compare(one, other)
        self.undecided += verdict is Verdict.UNDECIDED
        return verdict


def _classes(shapes: Sequence[Shape], sparing: _Sparing) -> list[list[Shape]]:
    """Group shapes that all equal each other, each with the first group that it fits in."""
    groups: list[list[Shape]] = []
    for shape in shapes:
        for group in groups:
            if all(sparing.compare(shape, member) is Verdict.EQUAL for member in group):
                group.append(shape)
                break
        else:
            groups.append([shape])
    return groups
