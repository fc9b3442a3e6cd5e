"""What the differences amount to: one sentence, and whether all agree.

For: the last line of `iha-eval verify`, and its exit code. Not for: tables (`show.py`).
"""

from dataclasses import dataclass

from iha_eval.verify.compare import Difference, pooled_mean
from iha_eval.verify.limits import LARGEST_FACTOR, MEAN_FACTOR
from iha_eval.verify.run import Report

CLEAR = 1.0
"""Nats by which a token is clearly preferred: nobody would call the texts the same."""


@dataclass(frozen=True)
class Verdict:
    """The outcome.

    Attributes:
        agree: whether every value is finite, every judged pair within its limit, in the mean
            too, and greedy text parts nowhere but at ties.
        sentence: the same in words, with what was not checked.
    """

    agree: bool
    sentence: str


def judge(report: Report) -> Verdict:
    """Sum a report up."""
    unchecked = f"; not checked: {'; '.join(report.unchecked)}" if report.unchecked else ""
    if broken := _broken(report):
        return Verdict(False, f"DISAGREE: {broken}{unchecked}.")
    failed = _failed(report)
    parted = [one for one in report.choices if not one.tie]
    if failed:
        return Verdict(False, f"DISAGREE: {_worst(failed)}{_suspect(report, failed)}{unchecked}.")
    if parted:
        worst = max(parted, key=lambda one: one.gap)
        return Verdict(
            False,
            f"DISAGREE: after the prompt of {worst.prompt}, {worst.reading} generates another "
            f"token at step {worst.step + 1}, which it prefers by {worst.gap:.2g} nats{unchecked}.",
        )
    judged = [one for one in report.differences if one.limit is not None and one.count]
    largest = max(judged, key=lambda one: one.largest / one.limit.largest if one.limit else 0.0)
    base = f" and its base {report.against} give" if report.against else " gives"
    return Verdict(
        True,
        f"AGREE: {report.name}{base} the same log-probabilities{_rounding(report)} in "
        f"{_names(report)} (largest difference {largest.largest:.2g} nats, {_allowed(largest)}) "
        f"and {_greedy(report)}{unchecked}.",
    )


def pairs(report: Report) -> list[tuple[str, str]]:
    """The compared pairs, in order, each once."""
    return list(dict.fromkeys((one.first, one.second) for one in report.differences))


def of_pair(report: Report, pair: tuple[str, str]) -> list[Difference]:
    """Its differences, a prompt each."""
    return [one for one in report.differences if (one.first, one.second) == pair]


def _broken(report: Report) -> str:
    """Who gives what is no number, in which type; empty where nobody does."""
    readings = [one for one in report.readings if not one.finite]
    names = list(dict.fromkeys(f"{one.implementation} in {one.dtype}" for one in readings))
    if not names:
        return ""
    give, them = ("gives", "it") if len(names) == 1 else ("give", "them")
    return f"{_listed(names)} {give} values that are not finite; trust no number from {them}"


def _rounding(report: Report) -> str:
    """Said only where the narrow type was judged; Transformers' own is the measure."""
    narrow = {one.name for one in report.readings if one.dtype != "float32"}
    judged = any(one.first in narrow and one.limit and one.count for one in report.differences)
    return f" up to rounding of {report.dtype}" if judged else ""


def _greedy(report: Report) -> str:
    """What may be said of greedy text, with how much of the base's was judged."""
    ties = {(one.prompt, one.step) for one in report.choices}
    widest = max((one.gap for one in report.choices), default=0.0)
    said = "the same greedy text"
    if widest > CLEAR:
        said = (
            f"greedy text that parts at {_counted(len(ties), 'place')}, by up to {widest:.2g} "
            f"nats, which {report.dtype} cannot tell apart"
        )
    elif ties:
        said += f" but at {_counted(len(ties), 'near-tie')}"
    if report.against is None or report.within is None:
        return said
    total = sum(len(one.answer) for one in report.sequences)
    judged = sum(
        max(0, min(len(one.answer), report.within + 1 - len(one.prompt.ids)))
        for one in report.sequences
    )
    if judged == total:
        return said
    return f"{said} (the base's judged at {judged or 'none'} of {total} generated tokens)"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"


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


def _suspect(report: Report, failed: list[Difference]) -> str:
    """Who is to blame: the only one in every pair that fails, and in none that agrees."""
    # Against a base, a checkpoint that differs may be what somebody wanted to know.
    own = [(one.first, one.second) for one in failed if not one.first.startswith("base ")]
    fails = {(one.first, one.second) for one in failed}
    sound = [
        pair
        for pair in pairs(report)
        if pair not in fails and any(one.limit and one.count for one in of_pair(report, pair))
    ]
    whose = {one.name: one.implementation for one in report.readings}
    # vLLM's two readings may both be off, so that neither is in every pair, but vLLM is.
    for name in (str, whose.__getitem__):
        accused = [{name(first), name(second)} for first, second in own]
        cleared = {name(reading) for pair in sound for reading in pair}
        # Where no two agree, there is nothing to blame anybody by.
        suspects = set.intersection(*accused) - cleared if accused and cleared else set()
        if len(suspects) == 1:
            return f"; {suspects.pop()} is the one that differs, so trust no number from it"
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
    every = (one.implementation.removeprefix("base ") for one in report.readings)
    return _listed(list(dict.fromkeys(every)))


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
