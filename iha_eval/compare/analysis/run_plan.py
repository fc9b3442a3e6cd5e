"""How many questions and answers a comparison needs, before it is run.

For: `iha-eval plan`: from an expected accuracy, or from two earlier runs of the same models.
Not for: the power of tests (iha_eval.statistics.power), nor for judging a finished comparison.

The variance of a question's difference has three parts. How hard a question is for both models
cancels out. How it suits one model more than the other stays, whatever the number of answers. What
is left is the draw of each answer, which k answers a question divide by k. Two runs with several
answers a question tell the parts apart. Without runs they are taken as shares of p (1 - p), the
variance of a single answer: 0.5 shared, 0.1 for the question and the model, 0.4 for the draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from scipy import stats

from iha_eval.compare.analysis.measured_rows import row_paired, row_scores
from iha_eval.compare.analysis.provenance import answer_cost
from iha_eval.compare.analysis.report_rows import PlannedRow, plan, row_name
from iha_eval.compare.analysis.score_checks import without_wrong_scores
from iha_eval.compare.inputs.pairing import SIDES, Pairing, Side
from iha_eval.data import GSM8K_TEST, MATH500_TEST
from iha_eval.errors import UserError
from iha_eval.ruler import TASKS
from iha_eval.ruler.definition import DOCUMENTS, LENGTHS
from iha_eval.statistics import ALPHA, required_questions
from iha_eval.statistics.power import MOST_QUESTIONS
from iha_eval.statistics.scores import Floats, is_binary

#: Shares of p (1 - p) without earlier runs: the question with the model, and the draw.
SUITS, DRAW = 0.1, 0.4

#: Benchmark -> its questions.
SIZES = {
    "GSM8K": GSM8K_TEST.rows,
    "MATH-500": MATH500_TEST.rows,
    "a RULER task at one length": DOCUMENTS,
    "ruler_mk": 3 * len(LENGTHS) * DOCUMENTS,
    "ruler_all": len(TASKS) * len(LENGTHS) * DOCUMENTS,
}


@dataclass(frozen=True)
class RequiredQuestions:
    """What one way of measuring needs.

    Attributes:
        what: The metric, and what it is taken over.
        samples: Answers to each question.
        questions: Questions; None above 16 million.
        available: Questions that the benchmark has; None without earlier runs.
        seen: The difference in the earlier runs, in points; None without.
        seconds: Time of each model, from the rates of its earlier run; empty without.
        tokens: Tokens of each model, the same way.
    """

    what: str
    samples: int
    questions: int | None
    available: int | None
    seen: float | None
    seconds: dict[Side, float]
    tokens: dict[Side, float]


def needs_by_accuracy(
    points: float, accuracy: float, samples: Sequence[int], power: float, comparisons: int
) -> list[RequiredQuestions]:
    """Questions by number of answers to each, for an expected accuracy.

    Args:
        points: The difference to be shown.
        accuracy: Expected share of right answers of the baseline, 0 to 1.
        samples: Numbers of answers to each question.
        power: Chance of showing it.
        comparisons: How many are read together (Bonferroni).

    Raises:
        UserError: No model can differ by so much from that accuracy.
    """
    share = points / 100
    if share > max(accuracy, 1 - accuracy):
        raise UserError(
            f"a baseline at {100 * accuracy:g}% leaves no room for a difference of {points:g} "
            "points, either way: give a smaller --difference."
        )
    # Half-way to the other model, which is below where there is no room above.
    middle = accuracy + share / 2 if accuracy + share <= 1 else accuracy - share / 2
    single = middle * (1 - middle)
    alpha = ALPHA / comparisons
    return [
        RequiredQuestions(
            "P@1, the mean over the answers" if k > 1 else "one answer a question",
            k,
            _questions(points, 2 * single * (SUITS + DRAW / k), k == 1, alpha, power),
            *(None, None, {}, {}),
        )
        for k in samples
    ]


def needs_by_runs(
    pairing: Pairing, points: float, samples: Sequence[int], power: float, comparisons: int
) -> list[RequiredQuestions]:
    """The same from two earlier runs, for each row by which a benchmark is judged.

    Args:
        pairing: The runs; tasks that are not paired are passed over.
        points: The difference to be shown.
        samples: Numbers of answers to each question, where a row is a mean over answers.
        power: Chance of showing it.
        comparisons: How many are read together (Bonferroni).

    Raises:
        UserError: No row of the runs is paired.
    """
    pairing = without_wrong_scores(pairing)
    rows = [
        row
        for benchmark in plan(pairing)
        for table in benchmark.tables
        for row in table.rows
        if row.decides and row_paired(pairing, row)
    ]
    alpha = ALPHA / comparisons
    needs = [need for row in rows for need in _of_row(pairing, row, points, samples, power, alpha)]
    if not needs:
        raise UserError("The runs have no paired row to plan by: run both on the same tasks.")
    return needs


def _of_row(
    pairing: Pairing,
    row: PlannedRow,
    points: float,
    samples: Sequence[int],
    power: float,
    alpha: float,
) -> list[RequiredQuestions]:
    scores = row_scores(pairing, row)
    both = ~(np.isnan(scores["iha"]) | np.isnan(scores["baseline"]))
    a, b = scores["iha"][both], scores["baseline"][both]
    if a.size < 2:
        return []
    drawn = _repeats(pairing, row)
    # Of P@1 and single answers the scores are means over what was drawn; a vote is one answer.
    averaged = row.metric == "p@1" and drawn > 1
    draw = _draw_variance(a, drawn) + _draw_variance(b, drawn) if averaged else 0.0
    suits = max(0.0, float((a - b).var(ddof=1)) - draw / drawn)
    what = row_name(row)
    cost = {side: answer_cost(pairing.runs[side]) for side in SIDES}
    binary = is_binary(a, b)
    needs = []
    for k in sorted({*samples, drawn}) if averaged else [drawn]:
        variance = suits + draw / k if averaged else suits
        questions = _questions(points, variance, binary, alpha, power)
        answers = None if questions is None else questions * k
        needs.append(
            RequiredQuestions(
                what,
                k,
                questions,
                int(a.size),
                100 * float((a - b).mean()),
                _times(answers, {side: c["seconds"] for side, c in cost.items() if c}),
                _times(answers, {side: c["tokens"] for side, c in cost.items() if c}),
            )
        )
    return needs


def _times(answers: int | None, each: dict[Side, float]) -> dict[Side, float]:
    return {} if answers is None else {side: answers * amount for side, amount in each.items()}


def _repeats(pairing: Pairing, row: PlannedRow) -> int:
    repeats: Any = pairing.runs["iha"].part("configs", row.columns[0].task).get("repeats")
    return repeats if isinstance(repeats, int) and repeats > 0 else 1


def _draw_variance(shares: Floats, drawn: int) -> float:
    """Variance of a single answer around its question's chance, from shares of `drawn` answers."""
    return float((shares * (1 - shares)).mean()) * drawn / (drawn - 1)


def _questions(
    points: float, variance: float, binary: bool, alpha: float, power: float
) -> int | None:
    share = abs(points) / 100
    if binary:
        # The mean square of 0/1 differences is the share of questions that differ.
        return required_questions(points, min(1.0, variance + share**2), alpha=alpha, power=power)
    reach = float(stats.norm.isf(alpha / 2) + stats.norm.ppf(power))
    # The square of a larger one is no float.
    questions = variance * min(reach / share, 1e100) ** 2
    return max(5, ceil(questions)) if questions <= MOST_QUESTIONS else None
