from collections.abc import Callable
from typing import Any

from lm_eval_runs import FakeTask, lines, ruler_task, voting_task

from iha_eval.compare.analysis.curves import curves
from iha_eval.compare.analysis.depth import depth_maps
from iha_eval.compare.inputs.pairing import Pairing
from iha_eval.statistics import level

Paired = Callable[..., Pairing]


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
