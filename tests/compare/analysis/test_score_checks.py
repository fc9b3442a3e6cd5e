import math
from collections.abc import Callable

import pytest
from lm_eval_runs import FakeTask, lines, ruler_task, voting_task

from iha_eval.compare.analysis.report_rows import plan
from iha_eval.compare.analysis.score_checks import missing_scores, without_wrong_scores
from iha_eval.compare.inputs.pairing import Pairing
from iha_eval.errors import UserError

Paired = Callable[..., Pairing]

CELLS = ("ruler_mk_multikey_1_4k", "ruler_mk_multikey_2_4k")

GOOD = {CELLS[0]: ruler_task([1.0]), "gsm8k_maj": voting_task([4])}


def quiz(values: list[float | None], **common: str) -> dict[str, FakeTask]:
    return {"quiz": FakeTask(lines("acc", values, **common))}


def told(pairing: Pairing) -> list[str]:
    return missing_scores(pairing, plan(pairing))


@pytest.mark.parametrize("none", [None, math.nan], ids=["null", "NaN"])
def test_a_question_without_a_score_among_others_is_told(paired: Paired, none: float) -> None:
    assert told(paired(quiz([1.0, none, 1.0, none]), quiz([1.0, 0.0, none, none]))) == [
        "quiz, acc: no score on one side for 3 of 4 questions (IHA 2, baseline 2): not a number "
        "or missing, left out."
    ]


def test_questions_with_scores_are_not_worth_a_word(paired: Paired) -> None:
    assert told(paired(quiz([1.0, 0.0]), quiz([1.0, 0.0]))) == []


def test_documents_of_one_run_are_another_matter(paired: Paired) -> None:
    assert told(paired(quiz([1.0, 0.0]), quiz([1.0]))) == []


def test_each_run_counts_for_itself_where_they_are_not_paired(paired: Paired) -> None:
    made = paired(quiz([1.0, None]), quiz([1.0, 0.0, math.nan], gold="43"), unpaired=True)
    [sentence] = told(made)
    assert "no score on one side for 2 of 5 questions (IHA 1, baseline 1)" in sentence


def test_metrics_that_lack_the_same_share_a_sentence_and_sums_add_none(paired: Paired) -> None:
    theirs = ruler_task([1.0, 0.0, math.nan], [1.0, math.nan, math.nan])
    ours = {name: ruler_task([1.0, 0.0, 1.0]) for name in CELLS}
    made = paired(ours, {CELLS[0]: ruler_task([math.nan, 0.0, 0.0]), CELLS[1]: theirs})
    assert [sentence.partition(" question")[0] for sentence in told(made)] == [
        f"{CELLS[0]}, string_match, first_answer: no score on one side for 1 of 3",
        f"{CELLS[1]}, string_match: no score on one side for 1 of 3",
        f"{CELLS[1]}, first_answer: no score on one side for 2 of 3",
    ]


@pytest.mark.parametrize("side", ["iha", "baseline"])
@pytest.mark.parametrize(
    ("task", "bad", "words"),
    [
        (CELLS[0], ruler_task([1.5]), "string_match=1.5"),
        (CELLS[0], ruler_task([1.0], [-1.0]), "first_answer=-1"),
        ("gsm8k_maj", voting_task([6]), "p@1=1.5"),
    ],
    ids=["ruler", "second metric", "gsm8k"],
)
def test_the_task_alone_is_left_out(
    paired: Paired, side: str, task: str, bad: FakeTask, words: str
) -> None:
    wrong = {**GOOD, task: bad}
    made = without_wrong_scores(
        paired(wrong, GOOD) if side == "iha" else paired(GOOD, wrong),
    )
    assert [one.name for one in made.tasks] == [name for name in GOOD if name != task]
    assert words in made.refused[task]
    assert made.warnings[0] == f"NOT COMPARED: {task}: {made.refused[task]}"


def test_good_scores_and_those_of_other_tasks_stay(paired: Paired) -> None:
    tasks = {**GOOD, "wiki": FakeTask(lines("ppl", [9.5])), "odd": ruler_task([None])}
    made = paired(tasks, tasks)
    assert without_wrong_scores(made) is made


def test_nothing_else_is_an_error(paired: Paired) -> None:
    bad = {CELLS[0]: ruler_task([2.0])}
    with pytest.raises(UserError, match="string_match=2 where a score from 0 to 1 belongs"):
        without_wrong_scores(paired(bad, bad))
