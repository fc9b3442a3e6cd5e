"""One word and one sentence for a comparison.

For: the top of a report.
Not for: computing anything; difference, corrected p-value and smallest difference come in.
"""

from dataclasses import dataclass
from typing import Literal

from iha_eval.statistics.difference import Difference, Estimate
from iha_eval.statistics.scores import ALPHA

Word = Literal["better", "worse", "no significant difference", "not enough data"]

#: Points that matter: a difference a comparison should be able to show before it says "none".
MARGIN = 5.0


@dataclass(frozen=True)
class Verdict:
    """What a comparison comes to.

    Attributes:
        word: `better` or `worse` (than the baseline), `no significant difference`, or
            `not enough data`.
        sentence: The same with its numbers, plain text to be escaped by whoever prints it.
    """

    word: Word
    sentence: str


def verdict(
    difference: Difference,
    p: float | None,
    smallest: float | None,
    *,
    names: tuple[str, str] = ("the model", "the baseline"),
    margin: float = MARGIN,
    alpha: float = ALPHA,
) -> Verdict:
    """Judge a difference: better or worse if p is at most `alpha`, else none or not enough data.

    Without a significant difference there are two ways to be entitled to "no significant
    difference": the questions could have shown a difference of `margin` points (`smallest` is no
    more than that), or the whole interval lies within `margin` points of 0. Otherwise there is not
    enough data to tell.

    The margin of 5 points is what one cell of 500 questions can show while the models disagree on
    no more than 14% of them; it is about the gain that the paper reports for
    GSM8K (4.8 points at P@1, 5.8 at Maj@16).

    Args:
        difference: The difference, of model a less the baseline.
        p: Its p-value, corrected for the number of comparisons read together; None if untested.
        smallest: Smallest difference the questions could have shown, in points, as
            `smallest_difference` has it; None if none.
        names: What to call the model and the baseline.
        margin: Points that matter, above 0.
        alpha: Two-sided level.
    """
    a, b = names
    found = difference.estimate
    if found is None or p is None:
        return Verdict(
            "not enough data", f"Not enough data to tell {a} from {b}: no scores to compare."
        )
    numbers = _numbers(difference, found, p)
    if p <= alpha and found.points != 0:
        word: Word = "better" if found.points > 0 else "worse"
        return Verdict(word, f"{_upper(a)} is {word} than {b}: {numbers}.")
    shown = _could_show(difference, smallest)
    if smallest is not None and smallest <= margin:
        text = f"No significant difference between {a} and {b}: {numbers}; {shown}."
        return Verdict("no significant difference", text)
    if -margin < found.low and found.high < margin:
        text = (
            f"No significant difference between {a} and {b}: {numbers}; "
            f"the interval stays within {margin:g} points."
        )
        return Verdict("no significant difference", text)
    return Verdict("not enough data", f"Not enough data to tell {a} from {b}: {numbers}; {shown}.")


def _numbers(difference: Difference, found: Estimate, p: float) -> str:
    sizes = (
        _questions(difference.n_a)
        if difference.paired
        else f"unpaired, {difference.n_a} and {_questions(difference.n_b)}"
    )
    left_out = f" ({difference.left_out} left out)" if difference.left_out else ""
    return (
        f"{100 * found.mean_a:.1f} against {100 * found.mean_b:.1f}, "
        f"{_signed(found.points)} points "
        f"(95% interval {_signed(found.low)} to {_signed(found.high)}), "
        f"corrected p {_p(p)}, {sizes}{left_out}"
    )


def _could_show(difference: Difference, smallest: float | None) -> str:
    if smallest is None:
        return "so few questions cannot show a difference of any size"
    many = "these questions" if max(difference.n_a, difference.n_b) > 1 else "this question"
    return f"{many} could have shown a difference of {smallest:.1f} points (at 80% power)"


def _questions(count: int) -> str:
    return "1 question" if count == 1 else f"{count} questions"


def _signed(points: float) -> str:
    # Adding 0.0 turns -0.0 into 0.0.
    return f"{round(points, 1) + 0.0:+.1f}"


def _p(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}" if p < 0.1 else f"= {p:.2f}"


def _upper(name: str) -> str:
    return name[:1].upper() + name[1:]
