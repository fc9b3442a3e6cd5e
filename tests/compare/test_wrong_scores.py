"""Scores that cannot be: the task is left out, and only that."""

from collections.abc import Callable

import pytest
from lm_eval_runs import FakeTask, lines, ruler_task, voting_task

from iha_eval.compare.analysis.wrong_scores import without_wrong_scores
from iha_eval.compare.inputs.pairing import Pairing
from iha_eval.errors import UserError

Paired = Callable[..., Pairing]

CELL = "ruler_mk_multikey_1_4k"
GOOD = {CELL: ruler_task([1.0]), "gsm8k_maj": voting_task([4])}


@pytest.mark.parametrize("side", ["iha", "baseline"])
@pytest.mark.parametrize(
    ("task", "bad", "words"),
    [
        (CELL, ruler_task([1.5]), "string_match=1.5"),
        (CELL, ruler_task([1.0], [-1.0]), "first_answer=-1"),
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
    bad = {CELL: ruler_task([2.0])}
    with pytest.raises(UserError, match="string_match=2 where a score from 0 to 1 belongs"):
        without_wrong_scores(paired(bad, bad))
