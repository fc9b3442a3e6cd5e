from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval_runs import FakeTask, lines, voting_task, write_run

from iha_eval.compare.analysis.provenance import describe_models, model_warnings
from iha_eval.compare.inputs.pairing import Pairing, pair
from iha_eval.compare.inputs.runs import load_run

Paired = Callable[..., Pairing]

QUIZ = {"quiz": FakeTask(lines("acc", [1.0] * 10))}


def test_our_runs_tell_everything(paired: Paired) -> None:
    model = describe_models(paired(QUIZ, QUIZ))["iha"]
    assert model == {
        "name": "iha",
        "path": "models/iha",
        "fingerprint": "f" * 64,
        "is_iha": True,
        "model_sha": None,
        "num_parameters": 1000,
        "model_class": "iha-vllm",
        "dtype": "bfloat16",
        "device": "a processor",
        "date": "2026-01-02T03:04:05+00:00",
        "command": ["lm_eval", "--model", "iha-vllm"],
        "versions": {"iha_eval": "0.1.0", "vllm": "0.32.0"},
        "engine_args": {"max_model_len": 4096},
        "model_args": {"pretrained": "models/iha"},
        "kv_tokens": 1000,
        "kv_bytes": 4000,
        "kv_bytes_per_token": 4.0,
        "prefill_tokens_per_second": 400.0,
        "generation_tokens_per_second": 49.0,
        "seconds": 4.0,
        "documents": 10,
        "documents_per_minute": 150.0,
        "cut": 0.1,
        "unparseable": None,
        "notes": [],
    }


def test_a_run_that_went_on_from_a_journal_has_no_rates(paired: Paired) -> None:
    """What was left to it may be the short documents, or the long ones."""
    made = paired(QUIZ, QUIZ)
    [call] = made.runs["iha"].part("config", "iha_eval")["summary"]
    call |= {"requests": 8, "recalled_from_journal": 2}
    model = describe_models(made)["iha"]
    rates = ("prefill_tokens_per_second", "generation_tokens_per_second", "documents_per_minute")
    assert [model[name] for name in rates] == [None, None, None]
    assert (model["seconds"], model["cut"]) == (4.0, 0.1)
    assert model["notes"] == ["2 answers were in the journal already, so no rates are given"]


def test_logits_that_were_not_finite_are_told_with_their_number(paired: Paired) -> None:
    made = paired(QUIZ, QUIZ)
    [call] = made.runs["iha"].part("config", "iha_eval")["summary"]
    call["non_finite_logits"] = 1234
    models = describe_models(made)
    [note] = models["iha"]["notes"]
    assert "not finite (NaN or infinite) at 1,234 places" in note
    assert f"IHA: {note}" in model_warnings(models)
    assert models["baseline"]["notes"] == []
    # Anybody may have changed the file.
    for count in (10**5000, -3, "many", None, [], 1e400):
        call["non_finite_logits"] = count
        assert describe_models(made)["iha"]["notes"] == []


def test_other_runs_tell_less(paired: Paired) -> None:
    secret = {"pretrained": "some/model", "token": "hf_abc"}
    made = paired(QUIZ, QUIZ, ours=False, config={"model_args": secret})
    model = describe_models(made)["baseline"]
    told = {name: value for name, value in model.items() if value not in (None, [], {})}
    assert told == {
        "name": "model",
        "path": "some/model",
        "num_parameters": 1000,
        "model_class": "hf",
        "dtype": "bfloat16",
        "device": "cuda:0",
        "date": "2026-01-02T03:04:05+00:00",
        "versions": {"lm_eval": "0.4.13", "transformers": "5.19.0"},
        "model_args": {"pretrained": "some/model", "token": "***"},
        "documents": 10,
    }


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("pretrained=some/model,dtype=auto", {"pretrained": "some/model", "dtype": "auto"}),
        (None, {}),
    ],
    ids=["text", "none"],
)
def test_model_arguments_of_older_releases(
    paired: Paired, given: object, read: dict[str, str]
) -> None:
    made = paired(QUIZ, QUIZ, ours=False, config={"model_args": given})
    assert describe_models(made)["baseline"]["model_args"] == read


def test_unparseable_answers_are_counted_by_answers(paired: Paired) -> None:
    # Shares 0.25 of 4 and 0.5 of 2 answers; the quiz does not tell.
    tasks = {"a": voting_task([2]), "b": voting_task([0], k=2, votes=(1, 2)), **QUIZ}
    assert describe_models(paired(tasks, tasks))["iha"]["unparseable"] == pytest.approx(2 / 6)


def _warnings(folder: Path, iha: dict[str, Any], baseline: dict[str, Any]) -> list[str]:
    files = []
    for side, changes in (("iha", iha), ("baseline", baseline)):
        file = write_run(folder / side, QUIZ)
        run = load_run(file)
        ours = run.results["config"]["iha_eval"]
        ours["checkpoint"].update(fingerprint=side, is_iha=side == "iha")
        for place, change in changes.items():
            (ours[place] if isinstance(change, dict) else ours).update(
                change if isinstance(change, dict) else {place: change}
            )
        files.append(run)
    return model_warnings(describe_models(pair(*files)))


@pytest.mark.parametrize(
    ("iha", "baseline", "words"),
    [
        ({}, {}, []),
        (
            {"checkpoint": {"is_iha": False}},
            {"checkpoint": {"is_iha": True}},
            ["perhaps given in the wrong order"],
        ),
        ({}, {"checkpoint": {"fingerprint": "iha"}}, ["of the same checkpoint"]),
        ({}, {"dtype": "float32"}, ["differ in dtype: bfloat16 against float32"]),
        ({}, {"device": "another"}, ["differ in device: a processor against another"]),
        ({}, {"versions": {"vllm": "0.33.0"}}, ["versions: vllm 0.32.0 against 0.33.0"]),
        ({"checkpoint": {"note": "untrained"}}, {}, ["IHA: untrained"]),
    ],
    ids=["alike", "exchanged", "same", "dtype", "device", "versions", "note"],
)
def test_what_was_not_run_alike_is_told(
    tmp_path: Path, iha: dict[str, Any], baseline: dict[str, Any], words: list[str]
) -> None:
    found = _warnings(tmp_path, iha, baseline)
    assert len(found) == len(words)
    assert all(word in warning for word, warning in zip(words, found, strict=True))


@pytest.mark.parametrize(
    ("changes", "read"),
    [
        ({"versions": ["x"]}, {"versions": {"lm_eval": "0.4.13", "transformers": "5.19.0"}}),
        ({"kv_cache": {"tokens": "1", "bytes": 2}}, {"kv_tokens": None, "kv_bytes": 2}),
        ({"kv_cache": {"tokens": float("nan"), "bytes": True}}, {"kv_tokens": None}),
        ({"summary": [{"requests": "x", "seconds": 2}]}, {"seconds": 2, "cut": None}),
        ({"engine_args": [1], "command": "lm_eval"}, {"engine_args": {}, "command": []}),
        ({"checkpoint": {"fingerprint": 7}}, {"fingerprint": None}),
    ],
    ids=["versions", "text", "no number", "summary", "engine", "fingerprint"],
)
def test_what_was_changed_by_hand_counts_as_not_told(
    tmp_path: Path, changes: dict[str, Any], read: dict[str, Any]
) -> None:
    run = load_run(write_run(tmp_path, QUIZ))
    run.results["config"]["iha_eval"].update(changes)
    model = describe_models(pair(run, run))["iha"]
    assert {name: model[name] for name in read} == read


def test_another_model_class_is_told(paired: Paired) -> None:
    found = model_warnings(describe_models(paired(QUIZ, QUIZ, ours=False)))
    assert found[0] == "The runs differ in model class: iha-vllm against hf."
    assert "iha_eval 0.1.0 against not recorded" in found[2]


def test_the_device_that_lm_eval_asks_for_is_not_shown_where_we_know_better(
    paired: Paired,
) -> None:
    made = paired(QUIZ, QUIZ)
    given = made.runs["iha"].results["config"]["iha_eval"]["model_args"]
    given["device"] = "cuda:0"
    model = describe_models(made)["iha"]
    assert (model["device"], model["model_args"]) == ("a processor", {"pretrained": "models/iha"})
    # What was recorded stays as it is.
    assert given["device"] == "cuda:0"


@pytest.mark.parametrize(
    ("asked", "cuda", "device"),
    [
        ("cuda:0", False, "cpu"),
        ("cuda:0", True, "cuda:0"),
        ("mps", False, "mps"),
        (None, False, None),
    ],
)
def test_lm_evals_own_classes_fall_back_to_the_cpu(
    paired: Paired, asked: str | None, cuda: bool, device: str | None
) -> None:
    made = paired(
        *(QUIZ, QUIZ),
        ours=False,
        config={"device": asked},
        pretty_env_info=f"Is debug build: False\nIs CUDA available: {cuda}\n",
    )
    assert describe_models(made)["baseline"]["device"] == device


def test_runs_without_our_provenance_tell_what_lm_eval_knows(paired: Paired) -> None:
    config = {
        "model": None,
        "model_sha": "c" * 40,
        "model_dtype": "torch.bfloat16",
        "model_args": {"pretrained": "some/model", "dtype": "auto"},
    }
    model = describe_models(paired(QUIZ, QUIZ, ours=False, config=config, model_source="hf"))[
        "baseline"
    ]
    assert (model["path"], model["model_sha"], model["fingerprint"]) == (
        *("some/model", "c" * 40),
        None,
    )
    assert (model["model_class"], model["dtype"], model["command"]) == ("hf", "bfloat16", [])


def test_a_dtype_that_was_only_asked_for_is_told(paired: Paired) -> None:
    config = {"model_dtype": None, "model_args": {"dtype": "float16"}}
    made = paired(QUIZ, QUIZ, ours=False, config=config)
    assert describe_models(made)["baseline"]["dtype"] == "float16"
    assert "The runs differ in dtype: bfloat16 against float16." in model_warnings(
        describe_models(made)
    )
