import math
from collections.abc import Callable

import pytest
from lm_eval_runs import FakeTask, lines, ruler_task

from iha_eval.compare.analysis.plan import plan
from iha_eval.compare.analysis.score_checks import missing_scores
from iha_eval.compare.inputs.pairing import Pairing

Paired = Callable[..., Pairing]

CELLS = ("ruler_mk_multikey_1_4k", "ruler_mk_multikey_2_4k")


def quiz(values: list[float | None], **common: str) -> dict[str, FakeTask]:
    return {"quiz": FakeTask(lines("acc", values, **common))}


def told(pairing: Pairing) -> list[str]:
    return missing_scores(pairing, plan(pairing))


@pytest.mark.parametrize("none", [None, math.nan], ids=["null", "NaN"])
def test_a_question_without_a_score_among_others_is_told(paired: Paired, none: float) -> None:
    assert told(paired(quiz([1.0, none, 1.0, none]), quiz([1.0, 0.0, none, none]))) == [
        "quiz, acc: 3 of 4 questions have no score on one side (IHA 2, baseline 2), not a number "
        "or missing, and are left out."
    ]


def test_questions_with_scores_are_not_worth_a_word(paired: Paired) -> None:
    assert told(paired(quiz([1.0, 0.0]), quiz([1.0, 0.0]))) == []


def test_documents_of_one_run_are_another_matter(paired: Paired) -> None:
    assert told(paired(quiz([1.0, 0.0]), quiz([1.0]))) == []


def test_each_run_counts_for_itself_where_they_are_not_paired(paired: Paired) -> None:
    made = paired(quiz([1.0, None]), quiz([1.0, 0.0, math.nan], gold="43"), unpaired=True)
    [sentence] = told(made)
    assert "2 of 5 questions have no score on one side (IHA 1, baseline 1)" in sentence


def test_metrics_that_lack_the_same_share_a_sentence_and_sums_add_none(paired: Paired) -> None:
    theirs = ruler_task([1.0, 0.0, math.nan], [1.0, math.nan, math.nan])
    ours = {name: ruler_task([1.0, 0.0, 1.0]) for name in CELLS}
    made = paired(ours, {CELLS[0]: ruler_task([math.nan, 0.0, 0.0]), CELLS[1]: theirs})
    assert [sentence.partition(" questions")[0] for sentence in told(made)] == [
        f"{CELLS[0]}, string_match, first_answer: 1 of 3",
        f"{CELLS[1]}, string_match: 1 of 3",
        f"{CELLS[1]}, first_answer: 2 of 3",
    ]
