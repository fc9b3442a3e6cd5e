from collections.abc import Callable
from typing import Any

import pytest
from lm_eval_runs import FakeTask, line, lines, ruler_task, voting_task

from iha_eval.compare.analysis import disagreements as module
from iha_eval.compare.analysis.disagreements import disagreements
from iha_eval.compare.analysis.report_rows import plan
from iha_eval.compare.inputs.pairing import Pairing

Paired = Callable[..., Pairing]
Found = dict[str, Any]

CELL = "ruler_mk_multikey_2_4k"


def _found(pairing: Pairing) -> Found:
    return disagreements(pairing, plan(pairing))


def _places(found: Found) -> list[tuple[str, int, str]]:
    return [(row["task"], row["doc_id"], row["direction"]) for row in found["rows"]]


def test_questions_whose_scores_differ_are_shown(paired: Paired) -> None:
    made = _found(paired({CELL: ruler_task([1.0, 1.0, 0.0])}, {CELL: ruler_task([0.0, 1.0, 1.0])}))
    assert (made["total"], made["shown"]) == (2, 2)
    assert made["rows"][0] == {
        "task": CELL,
        "doc_id": 0,
        "direction": "iha",
        "metric": "string_match",
        "gold": "1234500",
        "prompt": "Long text with 1234500 in it. What number?",
        "iha_output": " 1234500.",
        "baseline_output": " 123450x.",
        "iha_score": 1.0,
        "baseline_score": 0.0,
    }
    assert _places(made)[1] == (CELL, 2, "baseline")


def test_each_task_is_judged_by_one_metric(paired: Paired) -> None:
    tasks = ({"m": voting_task([4, 3, 0]), "n": voting_task([1, 2], votes=(1, 2))} for _ in "ab")
    other = {"m": voting_task([4, 1, 1]), "n": voting_task([1, 1], votes=(1, 2))}
    made = _found(paired(next(tasks), other))
    assert [(row["task"], row["doc_id"], row["metric"]) for row in made["rows"]] == [
        ("m", 1, "maj@4"),
        ("n", 1, "maj@2"),
    ]


def test_all_answers_to_a_question_are_shown(paired: Paired) -> None:
    made = _found(paired({"m": voting_task([4])}, {"m": voting_task([0])}))
    [row] = made["rows"]
    assert row["iha_output"].startswith("[1 of 4] so it is 42\n\n[2 of 4] so it is 42\n\n")
    assert row["baseline_output"].endswith("[4 of 4] so it is 3")


def test_unpaired_runs_have_no_questions_in_common(paired: Paired) -> None:
    theirs = ruler_task([0.0])
    theirs.samples[0]["target_hash"] = "another"
    made = paired({CELL: ruler_task([1.0])}, {CELL: theirs}, unpaired=True)
    assert _found(made) == {"total": 0, "shown": 0, "rows": []}


def test_only_the_filter_that_decides_counts(paired: Paired) -> None:
    def both(strict: float, loose: float) -> dict[str, FakeTask]:
        scores = {"strict": strict, "loose": loose}
        return {"q": FakeTask([line(0, {"acc": n}, filter_name=f) for f, n in scores.items()])}

    assert _found(paired(both(1.0, 1.0), both(1.0, 0.0)))["total"] == 0
    assert _found(paired(both(1.0, 1.0), both(0.0, 1.0)))["total"] == 1


def test_models_that_agree_have_none(paired: Paired) -> None:
    made = paired({CELL: ruler_task([1.0, None])}, {CELL: ruler_task([1.0, 1.0])})
    assert _found(made) == {"total": 0, "shown": 0, "rows": []}


def test_each_task_and_direction_has_its_turn(
    paired: Paired, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 5)
    ours = {"a": FakeTask(lines("acc", [1.0] * 9)), "b": FakeTask(lines("acc", [0.5, 0.0, 1.0]))}
    theirs = {"a": FakeTask(lines("acc", [0.0] * 9)), "b": FakeTask(lines("acc", [0.0, 1.0, 0.0]))}
    made = _found(paired(ours, theirs))
    assert (made["total"], made["shown"]) == (12, 5)
    # Of b's two in one direction, the larger difference was taken first; both had their turn.
    assert _places(made) == [
        *(("a", 0, "iha"), ("a", 1, "iha")),
        *(("b", 0, "iha"), ("b", 1, "baseline"), ("b", 2, "iha")),
    ]


def test_the_largest_differences_come_first(
    paired: Paired, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 1)
    ours, theirs = ({"a": FakeTask(lines("acc", v))} for v in ([0.5, 1.0, 1.0], [0.0] * 3))
    assert _places(_found(paired(ours, theirs))) == [("a", 1, "iha")]


def test_texts_fit_into_a_page(paired: Paired, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 30_000)
    # Escaped, an ampersand is five characters.
    common = {"prompt": "&" * 100_000, "answers": ["&" * 100_000]}
    ours, theirs = ({"a": FakeTask(lines("acc", [v] * 9, **common))} for v in (1.0, 0.0))
    made = _found(paired(ours, theirs))
    assert (made["total"], made["shown"]) == (9, 0)
    monkeypatch.setattr(module, "MOST_BYTES", 120_000)
    made = _found(paired(ours, theirs))
    assert made["shown"] == 2
    assert all(len(row["prompt"]) < 2100 and len(row["iha_output"]) < 4100 for row in made["rows"])


def test_the_needle_of_a_long_prompt_is_kept(paired: Paired) -> None:
    prompt = "x" * 50_000 + " is: 7654321." + "y" * 50_000
    ours, theirs = (
        [line(0, {"acc": v}, prompt=prompt, gold=["7654321"], outputs=["7654321"])]
        for v in (1.0, 0.0)
    )
    [row] = _found(paired({"a": FakeTask(ours)}, {"a": FakeTask(theirs)}))["rows"]
    assert "is: 7654321." in row["prompt"]
    assert row["gold"] == "7654321"


CHOICES = [["-1.5", "False"], ["-2.5", "True"]]
CHAT = {"gen_args_0": {"arg_0": [{"role": "user"}]}}


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("arguments", None, {"prompt": ""}),
        ("arguments", CHAT, {"prompt": '[{"role": "user"}]'}),
        ("resps", None, {"iha_output": "null"}),
        ("resps", [], {"iha_output": ""}),
        (
            "resps",
            CHOICES,
            {"iha_output": "[1 of 4] -1.5\n\n[2 of 4] False\n\n[3 of 4] -2.5\n\n[4 of 4] True"},
        ),
        ("doc", "text", {"gold": "42"}),
        ("target", {"a": 1}, {"gold": '{"a": 1}'}),
    ],
    ids=["no prompt", "chat", "no output", "no outputs", "choices", "document", "target"],
)
def test_samples_of_other_shapes_are_shown_as_they_are(
    paired: Paired, field: str, value: object, shown: dict[str, str]
) -> None:
    ours, theirs = lines("acc", [1.0]), lines("acc", [0.0])
    ours[0][field] = value
    [row] = _found(paired({"a": FakeTask(ours)}, {"a": FakeTask(theirs)}))["rows"]
    assert {name: row[name] for name in shown} == shown
