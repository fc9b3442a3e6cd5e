"""`iha-eval plan`: how many questions, answers, hours and tokens a comparison needs.

For: the command line only. Not for: the numbers (iha_eval.compare.analysis.run_plan).
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from iha_eval.cli._argument_types import positive, positive_real
from iha_eval.errors import UserError
from iha_eval.util.text import clean

if TYPE_CHECKING:
    from iha_eval.compare.analysis.run_plan import RequiredQuestions

SUMMARY = "plan --difference POINTS: questions, answers, hours and tokens that a comparison needs"


def main(arguments: Sequence[str]) -> int:
    """Print what a comparison needs.

    Returns:
        0.

    Raises:
        UserError: The numbers or the runs are none that can be planned with.
    """
    # Slow to import, and not needed for the help of `iha-eval`.
    from iha_eval.compare.analysis.run_plan import needs_by_accuracy, needs_by_runs
    from iha_eval.compare.inputs.pairing import pair
    from iha_eval.compare.inputs.runs import load_run

    options = _parser().parse_args(arguments)
    _check(options)
    given = (options.samples, options.power, options.comparisons)
    if options.runs:
        pairing = pair(*map(load_run, options.runs))
        needs = needs_by_runs(pairing, options.difference, *given)
    else:
        needs = needs_by_accuracy(options.difference, options.accuracy / 100, *given)
    if options.json:
        print(json.dumps([asdict(need) for need in needs], indent=1))
        return 0
    for line in _lines(needs, options):
        print(clean(line))
    return 0


def _check(options: argparse.Namespace) -> None:
    if (options.accuracy is None) == (options.runs is None):
        raise UserError(
            "plan by what is expected or by what was seen: give --accuracy PERCENT, or --runs RUN "
            "BASELINE_RUN of two earlier runs."
        )
    if options.accuracy is not None and not 0 <= options.accuracy <= 100:
        raise UserError(f"--accuracy {options.accuracy:g}: give a percentage from 0 to 100.")
    if options.difference > 100:
        raise UserError(f"--difference {options.difference:g}: give points, 100 at most.")
    if not 0.05 < options.power < 1:
        raise UserError(f"--power {options.power:g}: give a chance from 0.05 to 1, such as 0.8.")


def _lines(needs: Sequence["RequiredQuestions"], options: argparse.Namespace) -> list[str]:
    many = f", corrected for {options.comparisons} comparisons" * (options.comparisons > 1)
    lines = [
        f"To show a difference of {options.difference:g} points with a chance of "
        f"{100 * options.power:g}% (two-sided test at 5%{many}):"
    ]
    for need in needs:
        questions = "more than 16 million" if need.questions is None else f"{need.questions:,}"
        lines.append(f"  {need.what}: {questions} questions with {_answers(need.samples)} each")
        lines += [f"    {line}" for line in _of_runs(need)]
    return [*lines, *_notes(needs, by_runs=bool(options.runs))]


def _answers(count: int) -> str:
    return "1 answer" if count == 1 else f"{count} answers"


def _of_runs(need: "RequiredQuestions") -> list[str]:
    from iha_eval.util.numbers import duration, plain_points

    lines = []
    if need.available is not None and need.seen is not None:
        lines.append(
            f"the runs had {need.available:,} questions and differed by "
            f"{plain_points(need.seen)} points"
        )
    if need.seconds:
        names = {"iha": "IHA", "baseline": "baseline"}
        parts = [
            f"{names[side]} {duration(seconds)} and {need.tokens[side]:,.0f} tokens"
            for side, seconds in need.seconds.items()
        ]
        lines.append(f"at the rates of the runs: {'; '.join(parts)}".replace("\u00a0", " "))
    return lines


def _notes(needs: Sequence["RequiredQuestions"], *, by_runs: bool) -> list[str]:
    from iha_eval.compare.analysis.run_plan import DRAW, SIZES, SUITS

    most = max((need.questions or 0 for need in needs), default=0)
    sizes = ", ".join(f"{name} {size:,}" for name, size in SIZES.items())
    notes = [f"There are: {sizes} questions."]
    if most > SIZES["a RULER task at one length"]:
        notes.append(
            "More RULER documents are drawn with --metadata '{\"documents\": N}' (of each task "
            "at each length)."
        )
    if not by_runs:
        notes.append(
            f"Assumed of a single answer: {100 * (1 - SUITS - DRAW):.0f}% of its variance is the "
            f"question's, for both models alike, {100 * SUITS:.0f}% the question's for one model, "
            f"{100 * DRAW:.0f}% the draw's. Two earlier runs tell better: --runs."
        )
    return notes


def _samples(text: str) -> list[int]:
    return [positive(part) for part in text.split(",")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="iha-eval plan", description=SUMMARY)
    parser.add_argument(
        "--difference",
        type=positive_real,
        required=True,
        metavar="POINTS",
        help="the difference that is to be shown",
    )
    parser.add_argument(
        "--accuracy", type=float, metavar="PERCENT", help="expected accuracy of the baseline"
    )
    parser.add_argument(
        "--runs",
        type=Path,
        nargs=2,
        metavar=("RUN", "BASELINE_RUN"),
        help="two earlier runs, which tell how questions and answers vary, and the rates",
    )
    parser.add_argument(
        "--power", type=float, default=0.8, metavar="CHANCE", help="chance of showing it (0.8)"
    )
    parser.add_argument(
        "--samples",
        type=_samples,
        default=[1, 4, 16],
        metavar="K,K",
        help="answers a question, for P@1 (1,4,16)",
    )
    parser.add_argument(
        "--comparisons",
        type=positive,
        default=1,
        metavar="N",
        help="comparisons that p-values are corrected for (1)",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    return parser
