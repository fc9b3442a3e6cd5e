from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval_runs import FakeTask, line, lines, ruler_task, samples_file, voting_task, write_run

from iha_eval.compare.inputs.pairing import Pairing, pair
from iha_eval.compare.inputs.runs import load_run
from iha_eval.compare.inputs.samples import read_samples
from iha_eval.errors import UserError

Paired = Callable[..., Pairing]


MORE = {"more": FakeTask(lines("acc", [1.0]))}


def quiz(values: list[float | None], **common: Any) -> dict[str, FakeTask]:
    return {"quiz": FakeTask(lines("acc", values, **common))}


def test_equal_documents_are_paired(paired: Paired) -> None:
    made = paired(quiz([1.0, 0.0, 1.0]), quiz([0.0, 0.0, 1.0]))
    assert made.paired
    assert made.documents == 3
    assert made.warnings == ()
    assert made.task("quiz").scores("iha", "none", "acc") == [1.0, 0.0, 1.0]
    assert made.task("quiz").scores("baseline", "none", "acc") == [0.0, 0.0, 1.0]


def test_pairs_do_not_depend_on_the_order_of_lines(paired: Paired) -> None:
    turned = {"quiz": FakeTask(lines("acc", [1.0, 0.0, 0.5])[::-1])}
    made = paired(quiz([1.0, 0.0, 0.5]), turned).task("quiz")
    assert made.scores("iha", "none", "acc") == made.scores("baseline", "none", "acc")


def test_a_filter_is_paired_with_itself(paired: Paired) -> None:
    both = [line(0, {"acc": n}, filter_name=f) for n, f in ((1.0, "strict"), (0.0, "loose"))]
    made = paired({"quiz": FakeTask(both)}, {"quiz": FakeTask(both[::-1])}).task("quiz")
    assert made.filters == ["strict", "loose"]
    for side in ("iha", "baseline"):
        assert made.scores(side, "strict", "acc") == [1.0]


def test_documents_of_one_side_are_told_and_have_no_score_on_the_other(paired: Paired) -> None:
    made = paired(quiz([1.0, 1.0]), quiz([0.0, 0.0, 0.0, 0.0, 0.0, 0.0]))
    assert made.documents == 2
    assert made.task("quiz").scores("iha", "none", "acc") == [1.0, 1.0, None, None, None, None]
    assert made.warnings == ("quiz: the IHA run lacks documents 2, 3, 4 and 1 more: left out.",)


def test_tasks_of_one_side_are_told(paired: Paired) -> None:
    made = paired({**quiz([1.0]), **quiz([1.0])}, {**quiz([1.0]), "more": quiz([1.0])["quiz"]})
    assert [task.name for task in made.tasks] == ["quiz"]
    assert made.warnings == ("Only the baseline run has more: left out.",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prompt": "Other?"}, "the prompt alone of documents 0, 1 of 2: .* chat template"),
        ({"gold": "43"}, "target of documents 0, 1 of 2"),
        ({"seen": "differently"}, "document of documents 0, 1 of 2"),
        ({"seen": "x", "prompt": "Other?"}, "document and prompt of documents 0, 1 of 2"),
    ],
    ids=["prompt", "target", "document", "document and prompt"],
)
def test_other_questions_are_refused(paired: Paired, change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=rf"differ in task quiz: {words}.* --unpaired"):
        paired(quiz([1.0, 1.0]), quiz([1.0, 1.0], **change))


def test_one_other_document_is_enough(paired: Paired) -> None:
    theirs = lines("acc", [1.0] * 9)
    theirs[5] = line(5, {"acc": 1.0}, gold="43")
    with pytest.raises(UserError, match="target of document 5 of 9"):
        paired(quiz([1.0] * 9), {"quiz": FakeTask(theirs)})


def test_samples_without_hashes_are_refused(paired: Paired) -> None:
    old = [{**one, "prompt_hash": None} for one in lines("acc", [1.0])]
    with pytest.raises(UserError, match="no hashes for document 0 of 1"):
        paired(quiz([1.0]), {"quiz": FakeTask(old)})


@pytest.mark.parametrize(
    ("config", "metadata", "words"),
    [
        (
            {"generation_kwargs": {"do_sample": False, "max_gen_toks": 160}},
            {},
            r"generation_kwargs.max_gen_toks \(128 against 160\)",
        ),
        (
            {"generation_kwargs": {"temperature": 0.6, "max_gen_toks": 128, "top_p": 0.5}},
            {},
            r"generation_kwargs.do_sample \(False against True\), .*top_p \(none against 0.5\)",
        ),
        ({"repeats": 4}, {}, r"repeats \(1 against 4\)"),
        ({}, {"k": 4}, r"k \(none against 4\)"),
        (
            {},
            {"fewshot_examples": {"source": "x" * 99}},
            r"fewshot_examples \(none against .*\.\.\.",
        ),
    ],
    ids=["budget", "only one side", "repeats", "k", "examples"],
)
def test_other_settings_of_a_task_are_refused(
    paired: Paired, config: dict[str, Any], metadata: dict[str, Any], words: str
) -> None:
    ours = FakeTask(lines("acc", [1.0]))
    with pytest.raises(UserError, match=f"differ in task quiz: {words}.*--unpaired"):
        paired({"quiz": ours}, {"quiz": FakeTask(ours.samples, config, metadata)})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"config": {"fewshot_seed": 1}}, r"fewshot_seed \(0 against 1\)"),
        ({"n-shot": {"quiz": 5}}, r"num_fewshot \(0 against 5\)"),
        ({"versions": {"quiz": 2.0}}, r"version \(1 against 2\)"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_other_settings_of_the_run_are_refused(
    paired: Paired, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        paired(quiz([1.0]), quiz([1.0]), **options)


def test_another_limit_is_no_difference_where_the_documents_are_equal(paired: Paired) -> None:
    made = paired(quiz([1.0, 0.0]), quiz([1.0, 0.0]), config={"limit": 2.0})
    assert (made.paired, made.warnings) == (True, ())
    more = paired(quiz([1.0, 0.0, 1.0]), quiz([1.0, 0.0]), config={"limit": 2.0})
    assert more.warnings == ("quiz: the baseline run lacks document 2: left out.",)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"temperature": 0.6, "do_sample": True}, {"temperature": "0.6", "do_sample": "true"}),
        ({"max_gen_toks": 256}, {}),
        ({"max_gen_toks": 99}, {"max_new_tokens": "99"}),
        ({"do_sample": False}, {"temperature": 0.0}),
        ({"until": "\n"}, {"until": ["\n"]}),
        ({"top_p": 1}, {"top_p": 1.0}),
    ],
    ids=["text", "default", "another name", "greedy", "one end", "whole"],
)
def test_equal_settings_are_equal_however_written(
    paired: Paired, ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    sides = (
        {"quiz": FakeTask(lines("acc", [1.0]), {"generation_kwargs": given})}
        for given in (ours, theirs)
    )
    assert paired(*sides).paired


def test_the_default_of_an_answers_length_is_the_models(paired: Paired) -> None:
    config = {"model_args": {"max_gen_toks": 512}}
    silent = {"quiz": FakeTask(lines("acc", [1.0]), {"generation_kwargs": {}})}
    with pytest.raises(UserError, match=r"generation_kwargs.max_gen_toks \(256 against 512\)"):
        paired(silent, silent, ours=False, config=config)


def _sent(settings: dict[str, Any]) -> dict[str, FakeTask]:
    made = lines("acc", [1.0, 0.0])
    made[1]["arguments"]["gen_args_0"]["arg_1"] |= settings
    return {"quiz": FakeTask(made)}


def test_settings_that_were_sent_and_are_not_those_of_the_results_are_refused(
    paired: Paired,
) -> None:
    ours, theirs = _sent({"temperature": 1.3, "do_sample": True}), _sent({"temperature": 0.6})
    words = r"settings sent with document 1: temperature \(1.3 against 0.6\)"
    with pytest.raises(UserError, match=words):
        paired(ours, theirs)
    [warning] = paired(ours, theirs, unpaired=True).warnings
    assert "settings sent with document 1" in warning


def test_settings_that_the_results_tell_apart_are_told_once(paired: Paired) -> None:
    ours, theirs = _sent({"top_p": 0.5}), _sent({"top_p": 0.9})
    theirs["quiz"].config = {"generation_kwargs": {"temperature": 1, "top_p": 0.9}}
    [warning] = paired(ours, theirs, unpaired=True).warnings
    assert "generation_kwargs.top_p (none against 0.9)" in warning
    assert "sent with" not in warning


@pytest.mark.parametrize("unpaired", [False, True], ids=["paired", "unpaired"])
@pytest.mark.parametrize("flaw", ["empty", "text"])
def test_a_task_whose_file_is_broken_is_refused_alone(
    paired: Paired, flaw: str, unpaired: bool
) -> None:
    wrong = [] if flaw == "empty" else [{**lines("acc", [1.0])[0], "doc_id": "0"}]
    made = paired({"quiz": FakeTask(wrong), **MORE}, {**quiz([1.0]), **MORE}, unpaired=unpaired)
    assert [task.name for task in made.tasks] == ["more"]
    assert list(made.refused) == ["quiz"]
    [warning] = made.warnings
    assert warning.startswith("NOT COMPARED: quiz: ")
    assert "has no line that can be read" in warning


def test_runs_of_broken_files_alone_are_refused(paired: Paired) -> None:
    with pytest.raises(UserError, match=r"samples_quiz_.* has no line that can be read"):
        paired({"quiz": FakeTask([])}, quiz([1.0]))


def test_everything_that_is_not_compared_has_a_reason(tmp_path: Path) -> None:
    both = {name: quiz([1.0])["quiz"] for name in ("quiz", "refused", "lost", "gone")}
    files = [
        write_run(tmp_path / "a", both | {"ours": both["quiz"]}),
        write_run(tmp_path / "b", both),
    ]
    for name, places in (("lost", files[:1]), ("gone", files)):
        for file in places:
            samples_file(file, name).unlink()
    runs = [load_run(file) for file in files]
    runs[0].part("n-shot")["refused"] = 5  # type: ignore[index]
    assert pair(*runs).not_compared == {
        "refused": "the runs differ there: num_fewshot (5 against 0)",
        "lost": "there is no sample file of it in the IHA run",
        "gone": "there is no sample file of it in the IHA and the baseline run",
        "ours": "the baseline run does not have it",
    }


def test_several_tasks_that_differ_are_counted(paired: Paired) -> None:
    ours = {name: FakeTask(lines("acc", [1.0])) for name in ("a", "b", "c")}
    theirs = {name: FakeTask(lines("acc", [1.0], gold="43")) for name in ours}
    with pytest.raises(UserError, match=r"differ in task a \(and 2 more tasks\): target"):
        paired(ours, theirs)


def test_checkpoint_engine_and_model_class_may_differ(paired: Paired) -> None:
    made = paired(quiz([1.0]), quiz([0.0]), ours=False)
    assert made.documents == 1
    assert made.warnings == ()


def test_runs_without_a_common_task_are_refused(paired: Paired) -> None:
    names = {f"t{n}": quiz([1.0])["quiz"] for n in range(6)}
    with pytest.raises(UserError, match=r"no task in common \(t0, t1, t2, t3 and 2 more against q"):
        paired(names, quiz([1.0]))


def test_runs_without_a_common_document_are_refused(paired: Paired) -> None:
    theirs = {"quiz": FakeTask([line(7, {"acc": 1.0})])}
    with pytest.raises(UserError, match="in quiz, documents 0 to 1 against documents 7 to 7"):
        paired(quiz([1.0, 1.0]), theirs)


def test_unpaired_runs_keep_all_their_scores_and_say_why(paired: Paired) -> None:
    made = paired(quiz([1.0, 0.0]), quiz([0.0], gold="43"), unpaired=True)
    assert not made.paired
    assert made.documents == 2
    assert made.task("quiz").scores("baseline", "none", "acc") == [0.0]
    [warning] = made.warnings
    assert warning.startswith("UNPAIRED")
    assert "quiz: target of document 0 of 1" in warning


def test_tasks_that_can_be_paired_are_paired_whatever_was_asked(paired: Paired) -> None:
    made = paired(quiz([1.0]), quiz([0.0]), unpaired=True)
    assert made.paired
    assert made.warnings == ("--unpaired changed nothing: every task could be paired, and is.",)


def test_only_tasks_that_differ_are_unpaired(paired: Paired) -> None:
    ours = {"quiz": FakeTask(lines("acc", [1.0])), **MORE}
    theirs = {"quiz": FakeTask(lines("acc", [0.0], gold="43")), **MORE}
    made = paired(ours, theirs, unpaired=True)
    assert {task.name: task.paired for task in made.tasks} == {"quiz": False, "more": True}
    assert (made.paired, made.unpaired, made.refused) == (False, ["quiz"], {})
    assert made.warnings == (
        "UNPAIRED: the questions of quiz were not matched, as --unpaired allows; what differs is, "
        "in quiz: target of document 0 of 1.",
    )


def test_unpaired_tasks_may_have_no_document_in_common(paired: Paired) -> None:
    theirs = {"quiz": FakeTask([line(7, {"acc": 1.0})])}
    made = paired(quiz([1.0, 1.0]), theirs, unpaired=True)
    assert made.unpaired == ["quiz"]
    assert "in quiz: no document is in both." in made.warnings[0]


def test_many_unpaired_tasks_are_told_in_short(paired: Paired) -> None:
    ours = {name: FakeTask(lines("acc", [1.0])) for name in "abcde"}
    theirs = {name: FakeTask(lines("acc", [1.0], gold="43")) for name in ours}
    [warning] = paired(ours, theirs, unpaired=True).warnings
    assert warning.startswith("UNPAIRED: the questions of a, b, c, d and 1 more were not matched")
    assert warning.endswith("| c: target of document 0 of 1 | ....")


@pytest.mark.parametrize("by_task", [True, False], ids=["of the task", "of the run"])
def test_equal_prompts_are_equal_whatever_the_template(paired: Paired, by_task: bool) -> None:
    options = (
        {"config": {"iha_eval_chat_template_sha": {"quiz": "b" * 64}}}
        if by_task
        else {"chat_template_sha": "b" * 64}
    )
    made = paired(quiz([1.0]), quiz([1.0]), **options)
    assert (made.paired, made.warnings) == (True, ())
    with pytest.raises(UserError, match=r"it is chat template \(none against bbbbbbbbbbbb\), sys"):
        paired(quiz([1.0]), quiz([1.0], prompt="Other?"), **options)


def test_a_task_without_a_template_is_not_given_that_of_the_run(paired: Paired) -> None:
    options = {"config": {"iha_eval_chat_template_sha": {"quiz": None}}, "chat_template_sha": "b"}
    with pytest.raises(UserError, match="it is chat template, system instruction"):
        paired(quiz([1.0]), quiz([1.0], prompt="Other?"), **options)


def test_a_broken_line_leaves_its_document_out(tmp_path: Path) -> None:
    files = [write_run(tmp_path / side, quiz([1.0, 1.0, 1.0])) for side in "ab"]
    runs = [load_run(file) for file in files]
    broken = runs[1].samples["quiz"]
    broken.write_bytes(broken.read_bytes()[:-20])
    made = pair(*runs)
    assert made.documents == 2
    assert ["broken line" in made.warnings[0], "lacks document 2" in made.warnings[1]] == [True] * 2
    assert len(read_samples(broken).samples) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k": 8}, "repeats (4 against 8), k (4 against 8)"),
        ({"right": [4, 4]}, None),
    ],
    ids=["settings", "more documents"],
)
def test_a_task_that_differs_is_refused_alone(
    paired: Paired, change: dict[str, Any], words: str | None
) -> None:
    name = "ruler_mk_multikey_1_4k"
    ours = {name: ruler_task([1.0]), "gsm8k_maj": voting_task([4])}
    theirs = {name: ruler_task([0.0]), "gsm8k_maj": voting_task(**{"right": [4], **change})}
    made = paired(ours, theirs)
    assert made.paired
    assert [task.name for task in made.tasks] == [name, *([] if words else ["gsm8k_maj"])]
    assert list(made.refused) == (["gsm8k_maj"] if words else [])
    told = [warning for warning in made.warnings if warning.startswith("NOT COMPARED")]
    assert len(told) == (words is not None)
    if words:
        assert told[0].startswith(f"NOT COMPARED: gsm8k_maj, for the runs differ there: {words}")
        assert told[0].endswith("or add --unpaired to compare separate questions.")


def test_tasks_refused_for_the_same_reason_share_a_sentence(paired: Paired) -> None:
    names = ("a", "b", "quiz")
    ours = {name: FakeTask(lines("acc", [1.0])) for name in names}
    other = {name: FakeTask(lines("acc", [1.0], prompt="Other?")) for name in names[:2]}
    made = paired(ours, {**ours, **other})
    assert list(made.refused) == ["a", "b"]
    [warning] = made.warnings
    assert warning.startswith("NOT COMPARED: a, b, for the runs differ there: the prompt alone of")
