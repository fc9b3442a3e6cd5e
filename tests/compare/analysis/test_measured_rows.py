import math
from collections.abc import Callable
from typing import Any

import pytest
from lm_eval_runs import FakeTask, lines, ruler_task, voting_task

from iha_eval.compare.analysis.measured_rows import curves, depth_maps
from iha_eval.compare.inputs.pairing import Pairing
from iha_eval.compare.render.markdown import to_markdown
from iha_eval.compare.render.page import render
from iha_eval.errors import UserError
from iha_eval.statistics import (
    compare_paired,
    level,
    paired_difference,
    paired_p,
    smallest_difference,
    unpaired_difference,
    unpaired_p,
)

Report = Callable[..., dict[str, Any]]
Paired = Callable[..., Pairing]

A = [1.0] * 30 + [0.0] * 10
B = [1.0] * 15 + [0.0] * 25


def quiz(values: list[float | None], **common: Any) -> dict[str, FakeTask]:
    return {"quiz": FakeTask(lines("acc", values, **common))}


def _cell(report: dict[str, Any], table: int = 0, row: int = -1) -> dict[str, Any]:
    found: dict[str, Any] = report["tables"][table]["rows"][row]
    return found


def test_a_cell_says_what_the_statistics_say(report: Report) -> None:
    cell = _cell(report(quiz(A), quiz(B)))
    difference, p = compare_paired(A, B)
    found, levels = difference.estimate, (level(A), level(B))
    assert found is not None
    expected = {
        "n": 40,
        "n_baseline": 40,
        "left_out": 0,
        "iha": 0.75,
        "baseline": 0.375,
        "iha_low": levels[0].low,
        "iha_high": levels[0].high,
        "baseline_low": levels[1].low,
        "baseline_high": levels[1].high,
        "points": 37.5,
        "relative": 1.0,
        "low": found.low,
        "high": found.high,
        "method": found.method,
        "p": p.value,
        "p_method": "mid-p McNemar",
        "p_corrected": p.value,
        "correction": "Holm over 1 deciding row of all tables",
        "higher": 15,
        "lower": 0,
        "relative_low": found.relative_low,
        "relative_high": found.relative_high,
        "status": "ok",
        "clear_alone": False,
        "enough": None,
        "smallest": smallest_difference(difference),
        "word": "better",
    }
    assert {name: cell[name] for name in expected} == expected
    assert cell["sentence"].startswith("IHA is better than the baseline: 75.0 against 37.5")


def test_unpaired_cells_have_unpaired_numbers(report: Report) -> None:
    cell = _cell(report(quiz(A), quiz(B[:30], gold="43"), unpaired=True))
    found = unpaired_difference(A, B[:30]).estimate
    assert found is not None
    assert (cell["n"], cell["n_baseline"]) == (40, 30)
    assert (cell["low"], cell["high"]) == (found.low, found.high)
    assert cell["p"] == unpaired_p(A, B[:30]).value
    assert (cell["higher"], cell["paired"]) == (None, False)
    assert "unpaired, 40 and 30 questions" in cell["sentence"]


@pytest.mark.parametrize(("correction", "label"), [("holm", "Holm"), ("fdr", "Benjamini-Hochberg")])
def test_cells_of_a_table_are_one_family_and_headlines_another(
    report: Report, correction: str, label: str
) -> None:
    names = [f"ruler_mk_multikey_{v}_4k" for v in (1, 2)]
    ours = {names[0]: ruler_task(A), names[1]: ruler_task(B), "gsm8k_maj": voting_task([4, 0, 4])}
    theirs = {names[0]: ruler_task(B), names[1]: ruler_task(B), "gsm8k_maj": voting_task([0, 0, 4])}
    made = report(ours, theirs, correction=correction)
    rows = made["tables"][0]["rows"]
    family, deciding = rows[:-1], rows[-1]
    family_label = f"{label} over 3 other rows of this table"
    deciding_label = f"{label} over 3 deciding rows of all tables"
    table_label = f"{label} over 4 rows of this table"
    if correction == "holm":
        family_label += ", 2 of which could show a difference"
        deciding_label += ", 1 of which could show a difference"
    assert [row["correction"] for row in family] == [family_label] * 3
    assert made["tables"][1]["rows"][0]["correction"].startswith(table_label)
    assert deciding["correction"] == deciding_label
    assert [row["p_corrected"] for row in family][1] == 1.0
    if correction == "holm":
        # Of the three, one has no question on which the models differ.
        assert family[0]["p_corrected"] == 2 * family[0]["p"]
        assert deciding["p_corrected"] == deciding["p"]
    else:
        assert family[0]["p_corrected"] == pytest.approx(1.5 * family[0]["p"])
    difference = paired_difference(A, B)
    share = 0.05 / (2 if correction == "holm" else 3)
    assert family[0]["smallest"] == smallest_difference(difference, alpha=share)
    assert family[0]["smallest"] > smallest_difference(difference)  # type: ignore[operator]


@pytest.mark.parametrize("none", [None, math.nan])
def test_questions_without_a_score_are_counted(report: Report, none: float | None) -> None:
    cell = _cell(report(quiz([*A, none]), quiz([*B, 1.0])))
    assert (cell["n"], cell["left_out"]) == (40, 1)
    assert cell["iha"] == 0.75
    assert "(1 left out)" in cell["sentence"]


def test_missing_documents_are_counted(report: Report) -> None:
    made = report(quiz(A), quiz(B[:20]))
    cell = _cell(made)
    assert (cell["n"], cell["left_out"], cell["iha"]) == (20, 20, 1.0)
    assert "lacks documents 20, 21, 22 and 17 more" in made["warnings"][0]


def test_no_score_at_all_is_said_in_words(report: Report) -> None:
    task = "ruler_mk_multikey_1_4k"
    made = report({task: ruler_task([None, math.nan])}, {task: ruler_task([1.0, 0.0])})
    cell = _cell(made)
    assert (cell["n"], cell["left_out"], cell["status"]) == (0, 2, "empty")
    assert [cell[name] for name in ("iha", "points", "low", "p", "smallest")] == [None] * 5
    assert made["headlines"][0]["word"] == "not enough data"
    assert (
        f"{task}, string_match, first_answer: no score on one side for 2 of 2 questions (IHA 2, "
        "baseline 0): not a number or missing, left out."
    ) in made["warnings"]


def test_a_row_over_a_task_that_cannot_be_paired_is_unpaired(report: Report) -> None:
    names = [f"ruler_mk_multikey_{v}_4k" for v in (1, 2)]
    theirs = ruler_task([*B, math.nan])
    for sample in theirs.samples:
        sample["target_hash"] = "another"
    made = report(
        {names[0]: ruler_task(A), names[1]: ruler_task(A)},
        {names[0]: ruler_task(B), names[1]: theirs},
        unpaired=True,
    )
    paired, unpaired, *pooled = made["tables"][0]["rows"]
    assert [row["paired"] for row in (paired, unpaired, *pooled)] == [True, False, False, False]
    assert paired["p"] == paired_p(A, B).value
    assert unpaired["p"] == unpaired_p(A, B).value
    assert (unpaired["n"], unpaired["n_baseline"], unpaired["left_out"]) == (40, 40, 1)
    assert pooled[0]["p"] == unpaired_p(A + A, B + B).value
    assert made["paired"] is False
    assert {row["task"] for row in made["disagreements"]["rows"]} == {names[0]}
    assert made["disagreements"]["total"] == 15
    assert made["provenance"]["pairing"] == {
        "tasks": 2,
        "documents": 80,
        "hashes": "equal where paired",
        "unpaired_tasks": [names[1]],
        "tasks_not_compared": [],
    }


def test_models_that_agree_on_all_questions(report: Report) -> None:
    cell = _cell(report(quiz(A), quiz(A)))
    assert (cell["status"], cell["points"], cell["p"]) == ("constant", 0.0, 1.0)
    assert cell["low"] < 0 < cell["high"]
    assert cell["word"] == "not enough data"


def test_models_that_agree_on_very_many_questions_do_not_differ(report: Report) -> None:
    assert _cell(report(quiz(A * 20), quiz(A * 20)))["word"] == "no significant difference"


def test_one_question(report: Report) -> None:
    cell = _cell(report(quiz([1.0]), quiz([0.0])))
    assert (cell["status"], cell["n"], cell["word"]) == ("single", 1, "not enough data")


@pytest.mark.parametrize(
    ("margin", "word"), [(1.0, "not enough data"), (10.0, "no significant difference")]
)
def test_the_margin_is_the_users(report: Report, margin: float, word: str) -> None:
    assert _cell(report(quiz(A * 3), quiz(A * 3), margin=margin))["word"] == word


def test_a_score_out_of_range_is_refused(report: Report) -> None:
    task = "ruler_mk_multikey_1_4k"
    with pytest.raises(UserError, match="string_match=2 where a score from 0 to 1 belongs"):
        report({task: ruler_task([2.0])}, {task: ruler_task([1.0])})


def test_papers_numbers_do_not_stand_beside_a_part(report: Report) -> None:
    tasks = {f"ruler_mk_multikey_{v}_16k": ruler_task([1.0]) for v in (1, 2, 3)}
    rows = report(tasks, dict(list(tasks.items())[:2]))["tables"][0]["rows"]
    assert [row["paper"] for row in rows if row["variant"] is None] == [None, None]


def test_papers_numbers_stand_beside_ours(report: Report) -> None:
    variants = {f"ruler_mk_multikey_{v}_16k": ruler_task([1.0]) for v in (1, 2, 3)}
    tasks = {**variants, "gsm8k_maj": voting_task([4], k=16, votes=(1, 16))}
    made = report(tasks, tasks)
    by_label = {
        row["label"]: row["paper"] for table in made["tables"] for row in table["rows"][::-1]
    }
    ruler = made["tables"][0]["rows"][3]
    assert ruler["label"] == "all variants, 16k"
    assert (ruler["paper"]["relative"], ruler["paper"]["iha"]) == (1.12, None)
    assert made["tables"][1]["rows"][3]["paper"] is None
    assert by_label["multikey_1, 16k"] is None
    assert by_label["P@1"]["iha"] == pytest.approx(0.343)
    assert by_label["Maj@16"]["baseline"] == pytest.approx(0.484)
    assert by_label["Maj@16"]["relative"] == pytest.approx(5.8 / 48.4)
    assert by_label["pass@16"] is None
    page, markdown = render(made), to_markdown(made)
    for text in (page, markdown):
        assert "Talking Heads 29.3" in text
        assert "the abstract 10-20%" in text


def test_a_curve_has_all_votes_with_their_intervals(paired: Paired) -> None:
    ours, theirs = ({"m": voting_task(right)} for right in ([4, 3, 0], [0, 4, 1]))
    maj, passed = curves(paired(ours, theirs))
    assert (maj["task"], maj["label"], maj["metric"]) == ("m", "m: Maj@k", "maj")
    assert maj["k"] == [1, 2, 4]
    assert maj["iha"] == [7 / 12, 7 / 12, 2 / 3]
    at_4 = level([0.0, 1.0, 0.0])
    assert (maj["baseline"][2], maj["baseline_low"][2]) == (at_4.mean, at_4.low)
    assert maj["baseline_high"][2] == at_4.high
    assert passed["label"] == "m: pass@k"
    assert passed["iha"][1] == (1 + 1 - 1 / 16 + 0) / 3


def test_curves_are_of_questions_that_both_have(paired: Paired) -> None:
    [maj, _] = curves(paired({"m": voting_task([4, 0])}, {"m": voting_task([4])}))
    assert maj["iha"] == [1.0, 1.0, 1.0]


def test_one_vote_is_no_curve(paired: Paired) -> None:
    task = {"m": voting_task([1], k=1, votes=(1,)), "q": FakeTask(lines("acc", [1.0]))}
    assert curves(paired(task, task)) == []


def test_depths_fall_into_ten_bins(paired: Paired) -> None:
    values = [1.0, 0.0, 1.0, 0.0, 1.0]
    ours = {
        "ruler_mk_multikey_1_4k": ruler_task(values),
        "ruler_mk_multikey_2_4k": ruler_task([0.0] * 5),
        "ruler_mk_multikey_1_8k": ruler_task([1.0, 1.0]),
    }
    theirs = {**ours, "ruler_mk_multikey_1_8k": ruler_task([0.0, 1.0])}
    string_match, first_answer = depth_maps(paired(ours, theirs))
    assert string_match["metric"], first_answer["metric"] == ("string_match", "first_answer")
    assert string_match["lengths"] == [4096, 8192]
    assert string_match["depths"] == [5.0, 15.0, 25.0, 35.0, 45.0, 55.0, 65.0, 75.0, 85.0, 95.0]
    # Depths 0, 25, 50, 75 and 100%, twice at 4k; 0 and 100% at 8k.
    column = [row[0] for row in string_match["n"]]
    assert column == [2, 0, 2, 0, 0, 2, 0, 2, 0, 2]
    assert [row[1] for row in string_match["n"]] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert [row[0] for row in string_match["iha"]][:3] == [0.5, None, 0.0]
    assert [row[1] for row in string_match["baseline"]] == [0.0, *[None] * 8, 1.0]


def test_documents_without_depth_have_no_map(paired: Paired) -> None:
    def without() -> dict[str, FakeTask]:
        task = ruler_task([1.0])
        for sample in task.samples:
            del sample["doc"]["depth"]
        return {"ruler_mk_multikey_1_4k": task, "q": FakeTask(lines("acc", [1.0], depth=50))}

    assert depth_maps(paired(without(), without())) == []


def test_unpaired_maps_have_all_documents(paired: Paired) -> None:
    name = "ruler_mk_multikey_1_4k"
    tasks: list[dict[str, Any]] = [{name: ruler_task(v)} for v in ([1.0, 1.0], [0.0, 0.5, 1.0])]
    made = depth_maps(paired(*tasks, unpaired=True))[0]
    assert sum(row[0] for row in made["n"]) == 2
    assert [row[0] for row in made["baseline"]][5] == 0.5
