"""What the differences amount to: one sentence, and whether all agree.

For: what `iha-eval verify` prints, a table for people or JSON for programs, and its exit code.
Not for: how far two readings are apart (`compare.py`).
"""

import math
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from iha_eval.verify.compare import LARGEST_FACTOR, MEAN_FACTOR, ReadingDifference, pooled_mean
from iha_eval.verify.run import VerifyReport

#: Nats by which a token is clearly preferred: nobody would call the texts the same.
CLEAR = 1.0


@dataclass(frozen=True)
class VerifyVerdict:
    """The outcome.

    Attributes:
        agree: Whether every value is finite, every judged pair within its limit, in the mean
            too, and greedy text parts nowhere but at ties.
        sentence: The same in words, with what was not checked.
    """

    agree: bool
    sentence: str


def judge(report: VerifyReport) -> VerifyVerdict:
    """Sum a report up."""
    unchecked = f"; not checked: {'; '.join(report.unchecked)}" if report.unchecked else ""
    if broken := _broken(report):
        return VerifyVerdict(False, f"DISAGREE: {broken}{unchecked}.")
    failed = _failed(report)
    parted = [choice for choice in report.choices if not choice.tie]
    if failed:
        return VerifyVerdict(
            False, f"DISAGREE: {_worst(failed)}{_suspect(report, failed)}{unchecked}."
        )
    if parted:
        worst = max(parted, key=lambda choice: choice.gap)
        return VerifyVerdict(
            False,
            f"DISAGREE: after the prompt of {worst.prompt}, {worst.reading} generates another "
            f"token at step {worst.step + 1}, which it prefers by {worst.gap:.2g} nats{unchecked}.",
        )
    judged = [row for row in report.differences if row.limit is not None and row.count]
    largest = max(judged, key=lambda row: row.largest / row.limit.largest if row.limit else 0.0)
    base = f" and its base {report.against} give" if report.against else " gives"
    return VerifyVerdict(
        True,
        f"AGREE: {report.name}{base} the same log-probabilities{_rounding(report)} in "
        f"{_names(report)} (largest difference {largest.largest:.2g} nats, {_allowed(largest)}) "
        f"and {_greedy(report)}{unchecked}.",
    )


def pairs(report: VerifyReport) -> list[tuple[str, str]]:
    """The compared pairs, in order, each once."""
    return list(dict.fromkeys((row.first, row.second) for row in report.differences))


def of_pair(report: VerifyReport, pair: tuple[str, str]) -> list[ReadingDifference]:
    """Its differences, a prompt each."""
    return [row for row in report.differences if (row.first, row.second) == pair]


def _broken(report: VerifyReport) -> str:
    """Who gives what is no number, in which type; empty where nobody does."""
    readings = [reading for reading in report.readings if not reading.finite]
    names = list(
        dict.fromkeys(f"{reading.implementation} in {reading.dtype}" for reading in readings)
    )
    if not names:
        return ""
    give, them = ("gives", "it") if len(names) == 1 else ("give", "them")
    return f"{_listed(names)} {give} values that are not finite; trust no number from {them}"


def _rounding(report: VerifyReport) -> str:
    """Said only where the narrow type was judged; Transformers' own is the measure."""
    narrow = {reading.name for reading in report.readings if reading.dtype != "float32"}
    judged = any(row.first in narrow and row.limit and row.count for row in report.differences)
    return f" up to rounding of {report.dtype}" if judged else ""


def _greedy(report: VerifyReport) -> str:
    """What may be said of greedy text, with how much of the base's was judged."""
    ties = {(choice.prompt, choice.step) for choice in report.choices}
    widest = max((choice.gap for choice in report.choices), default=0.0)
    text = "the same greedy text"
    if widest > CLEAR:
        text = (
            f"greedy text that parts at {_counted(len(ties), 'place')}, by up to {widest:.2g} "
            f"nats, which {report.dtype} cannot tell apart"
        )
    elif ties:
        text += f" but at {_counted(len(ties), 'near-tie')}"
    if report.against is None or report.within is None:
        return text
    total = sum(len(sequence.answer) for sequence in report.sequences)
    judged = sum(
        max(0, min(len(sequence.answer), report.within + 1 - len(sequence.prompt.ids)))
        for sequence in report.sequences
    )
    if judged == total:
        return text
    return f"{text} (the base's judged at {judged or 'none'} of {total} generated tokens)"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"


def _failed(report: VerifyReport) -> list[ReadingDifference]:
    """The worst difference of each pair that is beyond its limit somewhere, or in the mean."""
    failed = []
    for pair in pairs(report):
        rows = of_pair(report, pair)
        limit = rows[0].limit
        worst = max(rows, key=lambda row: row.largest)
        mean_fails = limit is not None and pooled_mean(rows) > limit.mean
        if mean_fails or not all(row.agrees for row in rows):
            failed.append(worst)
    return failed


def _worst(failed: list[ReadingDifference]) -> str:
    worst = max(failed, key=lambda row: row.largest)
    return (
        f"{worst.first} and {worst.second} differ by {worst.largest:.2g} nats at token "
        f"{worst.token + 1} of the prompt of {worst.prompt} and what follows it "
        f"({_allowed(worst)})"
    )


def _suspect(report: VerifyReport, failed: list[ReadingDifference]) -> str:
    """Who is to blame: the only one in every pair that fails, and in none that agrees."""
    # Against a base, a checkpoint that differs may be what somebody wanted to know.
    own = [(row.first, row.second) for row in failed if not row.first.startswith("base ")]
    fails = {(row.first, row.second) for row in failed}
    sound = [
        pair
        for pair in pairs(report)
        if pair not in fails and any(row.limit and row.count for row in of_pair(report, pair))
    ]
    whose = {reading.name: reading.implementation for reading in report.readings}
    # vLLM's two readings may both be off, so that neither is in every pair, but vLLM is.
    for name in (str, whose.__getitem__):
        accused = [{name(first), name(second)} for first, second in own]
        cleared = {name(reading) for pair in sound for reading in pair}
        # Where no two agree, there is nothing to blame anybody by.
        suspects = set.intersection(*accused) - cleared if accused and cleared else set()
        if len(suspects) == 1:
            return f"; {suspects.pop()} is the one that differs, so trust no number from it"
    return "; trust no number from either before it is known which is right"


def _allowed(difference: ReadingDifference) -> str:
    assert difference.limit is not None
    limit = difference.limit
    if limit.largest == limit.mean:
        return f"allowed {limit.largest:.2g}"
    return (
        f"allowed {limit.largest:.2g} and {limit.mean:.2g} in the mean: {LARGEST_FACTOR:g} and "
        f"{MEAN_FACTOR:g} times what the type alone does to Transformers"
    )


def _names(report: VerifyReport) -> str:
    """The implementations that took part, without their variants."""
    every = (reading.implementation.removeprefix("base ") for reading in report.readings)
    return _listed(list(dict.fromkeys(every)))


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


GOOD, BAD = "green", "bold red"


def show(report: VerifyReport, verdict: VerifyVerdict, console: Console) -> None:
    """Print tables, notes and verdict."""
    console.print(table(report))
    if report.choices:
        console.print(choices_table(report))
    for note in report.notes:
        console.print(note, soft_wrap=True, highlight=False, markup=False)
    style = GOOD if verdict.agree else BAD
    console.print(verdict.sentence, style=style, soft_wrap=True, highlight=False, markup=False)


def table(report: VerifyReport) -> Table:
    """Largest difference per pair of readings and prompt, in nats."""
    shown = Table(
        title=escape(f"{report.name}: largest differences in log-probability (nats)"),
        caption="by length of the prompt in tokens; * beyond what is allowed; - not read by both",
        box=SIMPLE,
    )
    shown.add_column("readings", no_wrap=True)
    for sequence in report.sequences:
        shown.add_column(str(len(sequence.prompt.ids)), justify="right", no_wrap=True)
    shown.add_column("mean", justify="right", no_wrap=True)
    shown.add_column("allowed", justify="right", no_wrap=True)
    for pair in pairs(report):
        rows = of_pair(report, pair)
        limit = rows[0].limit
        mean = pooled_mean(rows)
        beyond = limit is not None and mean > limit.mean
        shown.add_row(
            escape(f"{pair[0]}\n{pair[1]}"),
            *map(_cell, rows),
            _marked(_number(mean), beyond),
            "measure" if limit is None else _number(limit.largest),
        )
    return shown


def choices_table(report: VerifyReport) -> Table:
    """Where greedy text parts, or would but for a tie."""
    shown = Table(title="other greedy tokens than the reference's")
    for name in ("reading", "prompt", "step", "prefers it by (nats)", "judged"):
        shown.add_column(name, no_wrap=True)
    for choice in report.choices:
        judged = "near-tie: no failure" if choice.tie else _marked("differs", True)
        shown.add_row(
            escape(choice.reading), choice.prompt, str(choice.step + 1), _number(choice.gap), judged
        )
    return shown


def as_json(report: VerifyReport, verdict: VerifyVerdict) -> dict[str, Any]:
    """Everything as JSON's own types; what is not finite is null."""
    return {
        "checkpoint": report.name,
        "fingerprint": report.fingerprint,
        "against": report.against,
        "dtype": report.dtype,
        "agree": verdict.agree,
        "verdict": verdict.sentence,
        "not_checked": report.unchecked,
        "notes": report.notes,
        "allowed": {
            "largest": _finite(report.limit.largest),
            "mean": _finite(report.limit.mean),
            "near_tie": _finite(report.limit.tie),
        },
        "prompts": [
            {
                "name": sequence.prompt.name,
                "tokens": len(sequence.prompt.ids),
                "generated": list(sequence.answer),
            }
            for sequence in report.sequences
        ],
        "readings": [
            {"name": reading.name, "dtype": reading.dtype, "seconds": round(reading.seconds, 3)}
            for reading in report.readings
        ],
        "differences": [_difference(row) for row in report.differences],
        "greedy": [
            {
                "reading": choice.reading,
                "prompt": choice.prompt,
                "step": choice.step,
                "gap": _finite(choice.gap),
                "near_tie": choice.tie,
            }
            for choice in report.choices
        ],
    }


def _difference(row: ReadingDifference) -> dict[str, Any]:
    return {
        "first": row.first,
        "second": row.second,
        "prompt": row.prompt,
        "largest": _finite(row.largest),
        "mean": _finite(row.mean),
        "token": row.token,
        "tokens": row.count,
        "judged": row.limit is not None,
        "agrees": row.agrees,
    }


def _cell(row: ReadingDifference) -> str:
    return _marked(_number(row.largest), not row.agrees) if row.count else "-"


def _number(value: float) -> str:
    """Two digits in little room: 2.4e-6."""
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits}e{int(power)}" if power else digits


def _marked(text: str, beyond: bool) -> str:
    return f"[{BAD}]{text}*[/]" if beyond else text


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
