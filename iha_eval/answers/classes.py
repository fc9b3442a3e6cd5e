"""One question's answers, judged: which are right, and which wrong ones mean the same.

For: `judge`, whose result every score is computed from.
Not for: reading or comparing single answers (`extract`, `equivalence`), nor scores (`votes`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from iha_eval.answers.equivalence import Comparer, Verdict, default_comparer
from iha_eval.answers.extract import Kind, extract
from iha_eval.answers.read import read
from iha_eval.answers.shapes import Shape
from iha_eval.errors import UserError


@dataclass(frozen=True)
class Judged:
    """The answers to one question.

    Attributes:
        answers: The final answer each generation states, in their order; None if there is none that
            can be read.
        right: Whether each equals the gold answer, in the same order; False where there is none.
        wrong: Sizes of the classes of equal wrong answers, largest first.
        unparseable: How many generations state no answer that can be read.
        undecided: Comparisons of two different answers that ran into their limit of time or memory;
            they count as not equal.
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

    Two wrong answers are in one class if a chain of equal answers connects them, so neither the
    order of the generations nor a comparison that came out undecided between two members matters.

    Args:
        outputs: What the model wrote, one text per generation.
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
    compare = (comparer or default_comparer()).compare
    answers = tuple(extract(output, kind) for output in outputs)
    shapes = [None if answer is None else read(answer) for answer in answers]
    counts = Counter(shape for shape in shapes if shape is not None)
    verdicts = {shape: compare(shape, target) for shape in counts}
    wrong = sorted(
        (shape for shape in counts if verdicts[shape] is not Verdict.EQUAL),
        key=lambda shape: shape.form,
    )
    classes, undecided = _classes(wrong, comparer or default_comparer())
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
        undecided=undecided + sum(verdict is Verdict.UNDECIDED for verdict in verdicts.values()),
    )


def _classes(shapes: Sequence[Shape], comparer: Comparer) -> tuple[list[list[Shape]], int]:
    """Group shapes connected by equality.

    Returns:
        The groups, and how many comparisons came out undecided.
    """
    groups: list[list[Shape]] = []
    undecided = 0
    for shape in shapes:
        joined, apart = [shape], []
        for group in groups:
            equal = False
            for member in group:
                verdict = comparer.compare(shape, member)
                undecided += verdict is Verdict.UNDECIDED
                if verdict is Verdict.EQUAL:
                    equal = True
                    break
            if equal:
                joined += group
            else:
                apart.append(group)
        groups = [*apart, joined]
    return groups, undecided
