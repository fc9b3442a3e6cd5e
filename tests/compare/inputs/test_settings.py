"""Settings that have to be equal: model arguments, and what was sent with a prompt."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lm_eval_runs import FakeTask, lines, write_run

from iha_eval.compare.inputs.pairing import Pairing, pair
from iha_eval.compare.inputs.runs import Run, load_run
from iha_eval.compare.inputs.samples import Sample, request_settings
from iha_eval.compare.inputs.settings import (
    ANSWER_CHANGING,
    LENGTH,
    WORTH_A_WARNING,
    arguments,
    default,
    request_difference,
    task_settings,
)
from iha_eval.errors import UserError
from iha_eval.generation_kwargs import as_written

QUIZ = {"quiz": FakeTask(lines("acc", [1.0, 0.0]))}

Given = Mapping[str, Any] | str | None


def run(folder: Path, given: Given, *, ours: bool = False, **results: Any) -> Run:
    config = {"model_args": given}
    file = write_run(folder, QUIZ, ours=ours, config=config, **results)
    if ours:
        content = json.loads(file.read_text())
        content["config"]["iha_eval"]["model_args"] = given
        file.write_text(json.dumps(content))
    return load_run(file)


def paired(folder: Path, iha: Given, baseline: Given, *, unpaired: bool = False) -> Pairing:
    sides = (run(folder / "a", iha), run(folder / "b", baseline))
    return pair(*sides, unpaired=unpaired)


NEUTRAL = (
    *({"top_p": 1.0}, {"min_p": 0.0}, {"top_k": 0}, {"top_k": -1}, {"repetition_penalty": 1.0}),
    *({"top_p": 1.0, "min_p": 0.0, "top_k": 0}, {"top_p": "1.0"}, {"top_p": 1}),
)


@pytest.mark.parametrize("neutral", NEUTRAL, ids=str)
@pytest.mark.parametrize(
    "drawn", [{"temperature": 0.6, "do_sample": True}, {}], ids=["warm", "cold"]
)
def test_runs_of_our_classes_that_draw_alike_are_paired(
    tmp_path: Path, neutral: dict[str, Any], drawn: dict[str, Any]
) -> None:
    both = []
    for name, kwargs in (("a", drawn), ("b", {**drawn, **neutral})):
        config = {"generation_kwargs": {"max_gen_toks": 8, **kwargs}}
        sent = {"arguments": {"gen_args_0": {"arg_0": "?", "arg_1": config["generation_kwargs"]}}}
        samples = [{**line, **sent} for line in lines("acc", [1.0, 0.0])]
        both.append(
            load_run(write_run(tmp_path / name, {"quiz": FakeTask(samples, config=config)}))
        )
    assert pair(*both).paired


@pytest.mark.parametrize(
    ("iha", "baseline", "words"),
    [
        ({"max_length": 2048}, {"max_length": 4096}, f"{LENGTH} (2048 against 4096)"),
        ({"max_model_len": 2048}, {"max_length": 4096}, f"{LENGTH} (2048 against 4096)"),
        ({}, {"max_length": 4096}, f"{LENGTH} (unset against 4096)"),
        ({"max_gen_toks": 512}, {}, "max_gen_toks (512 against 256)"),
        ({"max_gen_toks": 512}, {"max_gen_toks": 256}, "max_gen_toks (512 against 256)"),
        ({"truncation": True}, {}, "truncation (True against False)"),
        ({"enable_thinking": False}, {}, "enable_thinking (False against unset)"),
        ({"think_end_token": "</think>"}, {}, "think_end_token (</think> against unset)"),
        ({"add_bos_token": True}, {"add_bos_token": False}, "add_bos_token (True against False)"),
        ({"prefix_token_id": 0}, {}, "prefix_token_id (0 against unset)"),
        ({}, {"peft": "some/adapter"}, "peft (unset against some/adapter)"),
        ({"lora_local_path": "x"}, {}, "lora_local_path (x against unset)"),
        ({"chat_template_args": {"a": 1}}, {}, 'chat_template_args ({"a": 1} against unset)'),
        ("pretrained=x,max_length=2048", {"max_length": 1024}, f"{LENGTH} (2048 against 1024)"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_arguments_that_change_answers_are_refused(
    tmp_path: Path, iha: Given, baseline: Given, words: str
) -> None:
    with pytest.raises(UserError) as error:
        paired(tmp_path, iha, baseline)
    assert f"differ in task quiz: model_args.{words}; run both" in str(error.value)
    assert "--unpaired" in str(error.value)
    made = paired(tmp_path, iha, baseline, unpaired=True)
    assert made.unpaired == ["quiz"]
    assert f"model_args.{words}" in made.warnings[0]


@pytest.mark.parametrize("name", [name for name in ANSWER_CHANGING if name != LENGTH])
def test_every_decisive_argument_decides_and_its_default_does_not(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(UserError, match=rf"model_args.{name} \(7 against {default(name)}\)"):
        paired(tmp_path, {name: 7}, {})
    for value in ANSWER_CHANGING[name]:
        assert paired(tmp_path, {name: value}, {}).paired


@pytest.mark.parametrize(
    "given",
    [
        {"pretrained": "other/model", "revision": "main", "trust_remote_code": True},
        {"device": "cuda:1", "batch_size": "auto", "max_batch_size": 8, "parallelize": True},
        {"gpu_memory_utilization": 0.5, "tensor_parallel_size": 2, "block_size": 16},
        {"token": "secret"},
    ],
    ids=["which model", "where", "how fast", "secret"],
)
def test_arguments_of_place_and_speed_may_differ(tmp_path: Path, given: dict[str, Any]) -> None:
    made = paired(tmp_path, given, {})
    assert (made.paired, made.warnings) == (True, ())


@pytest.mark.parametrize(
    ("iha", "baseline", "warning"),
    [
        (
            {"max_gen_toks": 256},
            {},
            "Only the IHA run was given max_gen_toks=256, which is the default.",
        ),
        ({}, "truncation=False", "Only the baseline run was given truncation=False, which is"),
        ({"quantization": "fp8"}, {}, "The runs differ in quantization: fp8 against unset."),
        ({"tokenizer": "a"}, {"tokenizer": "b"}, "The runs differ in tokenizer: a against b."),
        ({"seed": 7}, {}, "The runs differ in seed: 7 against unset."),
    ],
    ids=["default", "default as text", "quantization", "tokenizer", "seed"],
)
def test_arguments_that_are_told(tmp_path: Path, iha: Given, baseline: Given, warning: str) -> None:
    made = paired(tmp_path, iha, baseline)
    assert made.paired
    [found] = made.warnings
    assert found.startswith(warning)


@pytest.mark.parametrize(
    ("iha", "baseline"),
    [
        ("truncation=true", {"truncation": True}),
        ("add_bos_token=True,max_length=2048", {"add_bos_token": "true", "max_length": 2048.0}),
        ("peft=None", {}),
        ("batch_invariant=true", {"batch_invariant": True}),
    ],
    ids=["truth", "numbers", "nothing", "told"],
)
def test_equal_arguments_are_equal_however_written(
    tmp_path: Path, iha: Given, baseline: Given
) -> None:
    made = paired(tmp_path, iha, baseline)
    assert (made.paired, made.warnings) == (True, ())


@pytest.mark.parametrize("name", WORTH_A_WARNING)
def test_told_arguments_are_not_decisive(name: str) -> None:
    assert name not in ANSWER_CHANGING


def test_seeds_of_lm_evals_own_classes_are_compared_where_both_are_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"seed \(1 against 2\)"):
        paired(tmp_path, {"seed": 1}, {"seed": "2"})
    assert paired(tmp_path, {"seed": 1}, "seed=1").paired


def test_room_that_the_other_model_has_anyway_is_no_difference(tmp_path: Path) -> None:
    iha = run(tmp_path / "a", {"max_length": 4096}, max_length=4096)
    made = pair(iha, run(tmp_path / "b", {}, max_length=4096))
    assert made.paired
    assert made.warnings == (
        f"Only the IHA run was given {LENGTH}=4096; the other has as much room.",
    )
    with pytest.raises(UserError, match=r"\(4096 against 2048\)"):
        pair(iha, run(tmp_path / "c", {}, max_length=2048))


def test_room_that_nobody_asked_for_is_told(tmp_path: Path) -> None:
    rooms = [run(tmp_path / str(room), {}, max_length=room) for room in (2048, 8192)]
    [warning] = pair(*rooms).warnings
    assert warning.startswith("The models have room for 2048 against 8192 tokens")


def test_our_classes_cut_nothing_so_that_room_does_not_matter(tmp_path: Path) -> None:
    ours = [
        run(tmp_path / str(room), {"max_model_len": room, "seed": 0}, ours=True, max_length=room)
        for room in (2048, 8192)
    ]
    assert pair(*ours).warnings == ()
    assert task_settings(ours[0], "quiz") == task_settings(ours[1], "quiz")
    short = run(tmp_path / "hf", {"max_length": 1024})
    with pytest.raises(UserError, match=rf"{LENGTH} \(2048 against 1024\)"):
        pair(ours[0], short)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("pretrained=some/model,dtype=auto", {"pretrained": "some/model", "dtype": "auto"}),
        ({"a": 1}, {"a": 1}),
        (None, {}),
        (7, {}),
    ],
    ids=["text", "mapping", "none", "nonsense"],
)
def test_arguments_in_all_their_forms(tmp_path: Path, given: Any, read: dict[str, Any]) -> None:
    assert arguments(run(tmp_path, given)) == read


def _samples(*arguments: object) -> dict[tuple[str, int], Sample]:
    return {
        ("none", n): Sample(("none", n), (), {}, None, (0, 0), request_settings(one))
        for n, one in enumerate(arguments)
    }


def _call(**settings: Any) -> dict[str, Any]:
    return {"gen_args_0": {"arg_0": "What?", "arg_1": settings}}


@pytest.mark.parametrize(
    "arguments",
    [None, [["What?", {}]], {"gen_args_0": "x"}, {"gen_args_0": {"arg_0": "a", "arg_1": " b"}}],
    ids=["none", "older", "text", "continuation"],
)
def test_lines_without_settings_have_none_and_hold_nothing_against(arguments: object) -> None:
    assert request_settings(arguments) is None
    ours, theirs = _samples(arguments), _samples(_call(temperature=1.3))
    assert request_difference(ours, theirs, (as_written, as_written)) == ""


def test_equal_settings_are_kept_once(tmp_path: Path) -> None:
    twice = {**_call(top_p=0.5), "gen_args_1": _call(top_p=0.5)["gen_args_0"]}
    assert request_settings(twice) == '[{"top_p": 0.5}]'
    assert request_settings(twice) is request_settings(_call(top_p=0.5, until=["x"]))


@pytest.mark.parametrize(
    ("ours", "theirs", "what"),
    [
        ({"temperature": 1.3}, {"temperature": 0.6}, "temperature (1.3 against 0.6)"),
        ({"temperature": "0.6"}, {"temperature": 0.6}, ""),
        ({"max_gen_toks": 256}, {}, "max_gen_toks (256 against 512)"),
        ({"max_gen_toks": 512}, {}, ""),
        ({"until": ["a"]}, {"until": ["b"]}, ""),
        ({"seed": 1, "min_p": 0.5}, {"seed": 2}, "min_p (0.5 against none), seed (1 against 2)"),
    ],
    ids=["another", "text", "default", "budget", "end", "two"],
)
def test_what_differs_is_named(ours: dict[str, Any], theirs: dict[str, Any], what: str) -> None:
    same = _call(max_gen_toks=5)
    budget = 512 if "max_gen_toks" in ours else 256
    readers = (as_written, partial(as_written, budget=budget))
    found = request_difference(
        _samples(same, _call(**ours)), _samples(same, _call(**theirs)), readers
    )
    assert found == (f"settings sent with document 1: {what}" if what else "")


def test_every_way_in_which_a_document_was_asked_counts() -> None:
    two = [{**_call(top_p=0.5), "gen_args_1": _call(top_p=p)["gen_args_0"]} for p in (0.7, 0.9)]
    ours, theirs = map(_samples, two)
    found = request_difference(ours, theirs, (as_written, as_written))
    assert found == "settings sent with document 0: top_p (0.7 against 0.9)"


def test_other_documents_are_not_looked_at() -> None:
    ours = _samples(_call(top_p=0.5))
    assert request_difference(ours, {}, (as_written, as_written)) == ""
