"""What stands at the top of a report of what was compared, and of what was not."""

from collections.abc import Callable
from typing import Any

import pytest
from lm_eval_runs import FakeTask, lines, ruler_task, voting_task

from iha_eval.compare.analysis.headlines import headlines
from iha_eval.compare.analysis.measured_rows import measure_together
from iha_eval.compare.analysis.provenance import provenance
from iha_eval.compare.analysis.report_rows import plan
from iha_eval.compare.inputs.pairing import Pairing
from iha_eval.compare.render.page import BADGES

Report = Callable[..., dict[str, Any]]
Paired = Callable[..., Pairing]

CELLS = [f"ruler_mk_multikey_{v}_4k" for v in (1, 2, 3)]
RULER = {name: ruler_task([1.0, 0.0]) for name in CELLS}


def _told(report: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["word"], one["sentence"]) for one in report["headlines"]]


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        ({"gsm8k_maj": voting_task([4], k=8)}, "the runs differ there: repeats (4 against 8), k"),
        ({}, "the baseline run does not have it."),
        ({"gsm8k_maj": FakeTask([])}, "samples_gsm8k_maj_"),
    ],
    ids=["refused", "absent", "broken"],
)
def test_a_benchmark_that_is_not_compared_has_a_sentence(
    report: Report, theirs: dict[str, FakeTask], why: str
) -> None:
    ours = {**RULER, "gsm8k_maj": voting_task([4])}
    if not theirs.get("gsm8k_maj", ours["gsm8k_maj"]).samples:
        theirs = {"gsm8k_maj": FakeTask([], ours["gsm8k_maj"].config, ours["gsm8k_maj"].metadata)}
    made = report(ours, {**RULER, **theirs})
    assert [one["label"] for one in made["headlines"]] == ["RULER multi-key retrieval", "GSM8K"]
    word, sentence = _told(made)[1]
    assert word == "not compared"
    assert word in BADGES
    assert sentence.startswith("GSM8K: not compared, gsm8k_maj: ")
    assert why in sentence
    assert sentence.endswith(".")
    assert made["provenance"]["pairing"]["tasks_not_compared"] == ["gsm8k_maj"]


def test_a_benchmark_of_which_a_part_is_compared_says_what_is_not(report: Report) -> None:
    made = report(RULER, {**RULER, CELLS[0]: ruler_task([2.0, 0.0])})
    [(word, sentence)] = _told(made)
    assert word == "not enough data"
    assert sentence.startswith("RULER multi-key retrieval: not enough data to tell IHA (")
    assert " string match, all that were compared (2 of 3 cells): " in sentence
    assert sentence.endswith(f" Not compared: {CELLS[0]}.")


def test_tasks_with_the_same_reason_share_a_sentence(report: Report) -> None:
    theirs = {CELLS[0]: ruler_task([1.0, 0.0], [1.0, 1.0])}
    quiz = {"quiz": FakeTask(lines("acc", [1.0]))}
    made = report({**RULER, **quiz}, {CELLS[0]: FakeTask([], theirs[CELLS[0]].config), **quiz})
    assert _told(made)[1][1].startswith(f"RULER multi-key retrieval: not compared, {CELLS[0]}: ")
    assert _told(made)[1][1].endswith("; 2 more for other reasons.")


def test_a_benchmark_without_a_score_to_compare_says_so(report: Report) -> None:
    tasks = {**RULER, "wiki": FakeTask(lines("ppl", [9.5]))}
    assert _told(report(tasks, tasks))[1] == (
        "not compared",
        "wiki: not compared, wiki: ppl left out, for it is not a score from 0 to 1 on each "
        "document of which more is better.",
    )


def test_lm_evals_own_task_of_a_name_of_ours_is_another_benchmark(report: Report) -> None:
    theirs = {"gsm8k": FakeTask(lines("exact_match", [1.0]))}
    made = report({"gsm8k_maj": voting_task([4]), **theirs}, theirs)
    assert [one["label"] for one in made["headlines"]] == ["gsm8k", "GSM8K"]
    assert _told(made)[1][0] == "not compared"


MODELS: dict[Any, dict[str, Any]] = {
    "iha": {"name": "a", "fingerprint": "1" * 64},
    "baseline": {"name": "b", "fingerprint": "2" * 64},
}


def _voted(paired: Paired, ours: list[int], theirs: list[int], **models: Any) -> dict[str, Any]:
    """The headline of GSM8K, of questions with so many of four answers right."""
    pairing = paired({"gsm8k_maj": voting_task(ours)}, {"gsm8k_maj": voting_task(theirs)})
    benchmarks = plan(pairing)
    [rows] = measure_together([(pairing, benchmarks)], "holm", 5.0)
    [headline] = headlines(benchmarks, rows, pairing, {**MODELS, **models})
    return headline


def test_p_at_1_and_the_majority_stand_in_one_sentence(paired: Paired) -> None:
    """The majority is often equal where P@1 is not."""
    made = _voted(paired, [4] * 60 + [1] * 60, [3] * 60 + [0] * 60)
    assert made["word"] == "better"
    assert made["decided_by"] == "P@1, gsm8k_maj; Maj@4, gsm8k_maj"
    start = "GSM8K: IHA (a) is better than the baseline (b) at P@1, one training run each. P@1, "
    assert made["sentence"].startswith(start)
    assert "+25.0 points" in made["sentence"]
    assert "Maj@4, gsm8k_maj: 50.0 against 50.0, +0.0 points" in made["sentence"]


def test_a_claim_that_holds_everywhere_names_no_metric(paired: Paired) -> None:
    made = _voted(paired, [0] * 60, [4] * 60)
    start = "GSM8K: IHA (a) is worse than the baseline (b), one training run each. "
    assert (made["word"], made["sentence"].startswith(start)) == ("worse", True)


def test_metrics_that_point_apart_are_mixed(paired: Paired) -> None:
    made = _voted(paired, [2] * 60 + [2] * 100, [3] * 60 + [0] * 100)
    assert made["word"] == "mixed"
    assert made["word"] in BADGES
    assert "is better than the baseline (b) at P@1 and worse at Maj@4," in made["sentence"]


def test_one_checkpoint_is_not_two_training_runs(paired: Paired) -> None:
    made = _voted(paired, [4, 0], [4, 0], baseline=MODELS["iha"])
    start = (
        "GSM8K: not enough data to tell IHA (a 11111111) from the baseline (a 11111111), which are "
        "one checkpoint. "
    )
    assert made["sentence"].startswith(start)


def test_nothing_has_no_hashes() -> None:
    nothing = provenance(Pairing({}, (), False, ()), (), "holm", 1.0, None)
    assert nothing["pairing"]["hashes"] == "not compared"
    assert nothing["pairing"]["tasks_not_compared"] == []
