"""What the differences amount to: one sentence, and whether all agree.

For: the last line of `iha-eval verify`, and its exit code. Not for: tables (`show.py`).
"""

from collections import Counter
from dataclasses import dataclass

from iha_eval.verify.compare import Difference, pooled_mean
from iha_eval.verify.limits import LARGEST_FACTOR, MEAN_FACTOR
from iha_eval.verify.run import Report


@dataclass(frozen=True)
class Verdict:
    """The outcome.

    Attributes:
        agree: whether every judged pair is within its limit, in the mean too, and greedy text
            parts nowhere but at ties.
        sentence: the same in words, with what was not checked.
    """

    agree: bool
    sentence: str


def judge(report: Report) -> Verdict:
    """Sum a report up."""
    failed = _failed(report)
    parted = [one for one in report.choices if not one.tie]
    unchecked = f"; not checked: {'; '.join(report.unchecked)}" if report.unchecked else ""
    if failed:
        return Verdict(False, f"DISAGREE: {_worst(failed)}{_suspect(failed)}{unchecked}.")
    if parted:
        worst = max(parted, key=lambda one: one.gap)
        return Verdict(
            False,
            f"DISAGREE: after the prompt of {worst.prompt}, {worst.reading} generates another "
            f"token at step {worst.step + 1}, which it prefers by {worst.gap:.2g} nats{unchecked}.",
        )
    judged = [one for one in report.differences if one.limit is not None and one.count]
    largest = max(judged, key=lambda one: one.largest / one.limit.largest if one.limit else 0.0)
    ties = {(one.prompt, one.step) for one in report.choices}
    tied = f" but at {len(ties)} near-tie{'s' * (len(ties) > 1)}" if ties else ""
    base = f" and its base {report.against} give" if report.against else " gives"
    rounding = "" if report.dtype == "float32" else f" up to rounding of {report.dtype}"
    return Verdict(
        True,
        f"AGREE: {report.name}{base} the same log-probabilities{rounding} in {_names(report)} "
        f"(largest difference {largest.largest:.2g} nats, {_allowed(largest)}) and the same "
        f"greedy text{tied}{unchecked}.",
    )


def pairs(report: Report) -> list[tuple[str, str]]:
    """The compared pairs, in order, each once."""
    return list(dict.fromkeys((one.first, one.second) for one in report.differences))


def of_pair(report: Report, pair: tuple[str, str]) -> list[Difference]:
    """Its differences, a prompt each."""
    return [one for one in report.differences if (one.first, one.second) == pair]


def _failed(report: Report) -> list[Difference]:
    """The worst difference of each pair that is beyond its limit somewhere, or in the mean."""
    failed = []
    for pair in pairs(report):
        found = of_pair(report, pair)
        limit = found[0].limit
        worst = max(found, key=lambda one: one.largest)
        mean_fails = limit is not None and pooled_mean(found) > limit.mean
        if mean_fails or not all(one.agrees for one in found):
            failed.append(worst)
    return failed


def _worst(failed: list[Difference]) -> str:
    worst = max(failed, key=lambda one: one.largest)
    return (
        f"{worst.first} and {worst.second} differ by {worst.largest:.2g} nats at token "
        f"{worst.token + 1} of the prompt of {worst.prompt} and what follows it "
        f"({_allowed(worst)})"
    )


def _suspect(failed: list[Difference]) -> str:
    """Who is to blame, where one reading alone is in every pair that fails."""
    counts = Counter(name for one in failed for name in (one.first, one.second))
    always = [name for name, count in counts.items() if count == len(failed)]
    if len(failed) > 1 and len(always) == 1:
        return f"; {always[0]} is the one that differs, so trust no number from it"
    return "; trust no number from either before it is known which is right"


def _allowed(difference: Difference) -> str:
    assert difference.limit is not None
    limit = difference.limit
    if limit.largest == limit.mean:
        return f"allowed {limit.largest:.2g}"
    return (
        f"allowed {limit.largest:.2g} and {limit.mean:.2g} in the mean: {LARGEST_FACTOR:g} and "
        f"{MEAN_FACTOR:g} times what the type alone does to Transformers"
    )


def _names(report: Report) -> str:
    """The implementations that took part, without their variants."""
    names: list[str] = []
    for reading in report.readings:
        word = reading.name.removeprefix("base ").split()[0]
        if word not in names:
            names.append(word)
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
