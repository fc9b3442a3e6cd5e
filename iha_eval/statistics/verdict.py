"""One word and one sentence for a comparison.

For: the rows and the top of a report.
Not for: computing anything; difference, corrected p-value and smallest difference come in.
"""

from dataclasses import dataclass
from typing import Literal

from iha_eval.statistics.difference import Difference, Estimate
from iha_eval.statistics.power import enough_questions
from iha_eval.statistics.scores import ALPHA
from iha_eval.util.numbers import p_relation, plain_points
from iha_eval.util.text import counted

Word = Literal["better", "worse", "no significant difference", "not enough data"]

#: Points that matter: a difference a comparison should be able to rule out before it says "none".
MARGIN = 5.0


@dataclass(frozen=True)
class Verdict:
    """What a comparison comes to.

    Attributes:
        word: `better` or `worse` (than the baseline), `no significant difference`, or
            `not enough data`.
        sentence: The same with its numbers, plain text to be escaped by whoever prints it.
        numbers: The numbers of the sentence alone.
        clear_alone: Whether the interval leaves 0 out although the p-value, corrected for the
            number of comparisons, does not.
        enough: Questions that would do, where these do not; None elsewhere.
    """

    word: Word
    sentence: str
    numbers: str
    clear_alone: bool = False
    enough: int | None = None


def verdict(
    difference: Difference,
    p: float | None,
    smallest: float | None,
    *,
    names: tuple[str, str] = ("the model", "the baseline"),
    margin: float = MARGIN,
    alpha: float = ALPHA,
    comparisons: int = 1,
) -> Verdict:
    """Judge a difference: better or worse if p is at most `alpha`, else none or not enough data.

    "No significant difference" is a claim of its own, that of equivalence: the whole 95% interval
    lies within `margin` points of 0, and 0 lies in it. Otherwise there is not enough data to tell.
    A row whose interval leaves 0 out while its corrected p is above `alpha` is clear alone, but not
    among all that were compared, and says so.

    The margin of 5 points is about the gain that the paper reports for GSM8K (4.8 points at P@1,
    5.8 at Maj@16); 500 questions on which 14% of the answers differ have an interval of +-3.3.

    Args:
        difference: The difference, of model a less the baseline; its interval and the p-value that
            was corrected agree (`agreeing`).
        p: Its p-value, corrected for the number of comparisons read together; None if untested.
        smallest: Smallest difference the questions could have shown, in points, as
            `smallest_difference` has it; None if none.
        names: What to call the model and the baseline.
        margin: Points that matter, above 0.
        alpha: Two-sided level.
        comparisons: How many comparisons p is corrected for.
    """
    a, b = names
    estimate = difference.estimate
    if estimate is None or p is None:
        missing = "no scores to compare"
        return Verdict(
            "not enough data", f"Not enough data to tell {a} from {b}: {missing}.", missing
        )
    numbers = _numbers(difference, estimate, p)
    if p <= alpha and estimate.points != 0:
        word: Word = "better" if estimate.points > 0 else "worse"
        return Verdict(word, f"{upper_first(a)} is {word} than {b}: {numbers}.", numbers)
    has_zero = estimate.low <= 0 <= estimate.high
    if has_zero and -margin < estimate.low and estimate.high < margin:
        numbers += f"; the interval stays within {margin:g} points"
        text = f"No significant difference between {a} and {b}: {numbers}."
        return Verdict("no significant difference", text, numbers)
    enough = enough_questions(difference, margin, alpha=alpha / comparisons)
    if has_zero:
        numbers += f"; {_could_show(difference, smallest)}"
        numbers += f"; about {enough:,} would tell {margin:g} points from none"
    else:
        numbers += f"; clear alone, not among {comparisons} comparisons"
        numbers += f"; about {enough:,} questions would make a difference of that size clear"
    text = f"Not enough data to tell {a} from {b}: {numbers}."
    return Verdict("not enough data", text, numbers, not has_zero, enough)


def _numbers(difference: Difference, estimate: Estimate, p: float) -> str:
    questions = counted(difference.n_b, "question")
    sizes = questions if difference.paired else f"unpaired, {difference.n_a:,} and {questions}"
    left_out = f" ({difference.left_out} left out)" if difference.left_out else ""
    shown = difference_in_words(
        estimate.mean_a, estimate.mean_b, (estimate.points, estimate.low, estimate.high), p
    )
    return f"{shown}, {sizes}{left_out}"


def difference_in_words(
    mean_a: float, mean_b: float, points: tuple[float, float, float], p: float
) -> str:
    """Both means, their difference with its interval, and the corrected p-value, for a sentence.

    Args:
        mean_a: From 0 to 1.
        mean_b: From 0 to 1.
        points: The difference in points and both ends of its 95% interval.
        p: The corrected p-value.
    """
    difference, low, high = map(plain_points, points)
    return (
        f"{100 * mean_a:.1f} against {100 * mean_b:.1f}, {difference} points "
        f"(95% interval {low} to {high}), corrected p {p_relation(p)}"
    )


def _could_show(difference: Difference, smallest: float | None) -> str:
    if smallest is None:
        return "so few questions cannot show a difference of any size"
    many = "these questions" if max(difference.n_a, difference.n_b) > 1 else "this question"
    return f"{many} could have shown a difference of {smallest:.1f} points (at 80% power)"


def upper_first(name: str) -> str:
    """A name at the start of a sentence."""
    return name[:1].upper() + name[1:]
