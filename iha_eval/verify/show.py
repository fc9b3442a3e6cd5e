"""A report as a table for people, and as JSON for machines.

For: `iha-eval verify`. Not for: deciding anything (`report.py`).
"""

import math
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from iha_eval.verify.compare import Difference, pooled_mean
from iha_eval.verify.report import Verdict, of_pair, pairs
from iha_eval.verify.run import Report

GOOD, BAD = "green", "bold red"


def show(report: Report, verdict: Verdict, console: Console) -> None:
    """Print tables, notes and verdict."""
    console.print(table(report))
    if report.choices:
        console.print(choices_table(report))
    for note in report.notes:
        console.print(note, soft_wrap=True, highlight=False, markup=False)
    style = GOOD if verdict.agree else BAD
    console.print(verdict.sentence, style=style, soft_wrap=True, highlight=False, markup=False)


def table(report: Report) -> Table:
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
        found = of_pair(report, pair)
        limit = found[0].limit
        mean = pooled_mean(found)
        beyond = limit is not None and mean > limit.mean
        shown.add_row(
            escape(f"{pair[0]}\n{pair[1]}"),
            *map(_cell, found),
            _marked(_number(mean), beyond),
            "measure" if limit is None else _number(limit.largest),
        )
    return shown


def choices_table(report: Report) -> Table:
    """Where greedy text parts, or would but for a tie."""
    shown = Table(title="other greedy tokens than the reference's")
    for name in ("reading", "prompt", "step", "prefers it by (nats)", "judged"):
        shown.add_column(name, no_wrap=True)
    for one in report.choices:
        judged = "near-tie: no failure" if one.tie else _marked("differs", True)
        shown.add_row(escape(one.reading), one.prompt, str(one.step + 1), _number(one.gap), judged)
    return shown


def as_json(report: Report, verdict: Verdict) -> dict[str, Any]:
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
            {"name": one.prompt.name, "tokens": len(one.prompt.ids), "generated": list(one.answer)}
            for one in report.sequences
        ],
        "readings": [
            {"name": one.name, "dtype": one.dtype, "seconds": round(one.seconds, 3)}
            for one in report.readings
        ],
        "differences": [_difference(one) for one in report.differences],
        "greedy": [
            {
                "reading": one.reading,
                "prompt": one.prompt,
                "step": one.step,
                "gap": _finite(one.gap),
                "near_tie": one.tie,
            }
            for one in report.choices
        ],
    }


def _difference(one: Difference) -> dict[str, Any]:
    return {
        "first": one.first,
        "second": one.second,
        "prompt": one.prompt,
        "largest": _finite(one.largest),
        "mean": _finite(one.mean),
        "token": one.token,
        "tokens": one.count,
        "judged": one.limit is not None,
        "agrees": one.agrees,
    }


def _cell(one: Difference) -> str:
    return _marked(_number(one.largest), not one.agrees) if one.count else "-"


def _number(value: float) -> str:
    """Two digits in little room: 2.4e-6."""
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits}e{int(power)}" if power else digits


def _marked(text: str, beyond: bool) -> str:
    return f"[{BAD}]{text}*[/]" if beyond else text


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
