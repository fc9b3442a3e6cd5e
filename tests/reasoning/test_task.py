"""The tasks as lm-eval loads and runs them: names, requests, refusals, results."""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval.utils import handle_non_serializable, make_table
from scripted_model import Script, ScriptedModel

from iha_eval import current_model
from iha_eval.errors import UserError
from iha_eval.reasoning.prompts import CHAT_STOPS, PLAIN
from iha_eval.reasoning.task import MathTask

TASKS = Path(__file__).parents[2] / "tasks"
LEAVES = {
    "gsm8k_maj": (16, 0),
    "math500_maj": (16, 0),
    "gsm8k_5shot_em": (1, 5),
    "gsm8k_5shot_maj": (5, 5),
    "math500_4shot_em": (1, 4),
    "math500_4shot_maj": (5, 4),
}
VOTES: dict[int, tuple[int, ...]] = {1: (), 5: (1, 2, 4, 5), 16: (1, 2, 4, 8, 16)}
FOLDERS = ("gsm8k", "math500", "iha_math")


@pytest.fixture
def model() -> ScriptedModel:
    """Right half of the time."""
    return ScriptedModel(lambda document: Script(0.5, (0.2, 0.1)))


def test_names_are_indexed_and_every_yaml_file_is_reached(manager: Callable[..., Any]) -> None:
    index = manager()
    assert {"gsm8k_5shot", "math500_4shot", "iha_math"} <= set(index.all_groups)
    assert set(LEAVES) <= set(index.all_subtasks)
    named = {str(entry.yaml_path) for entry in index.task_index.values()}
    files = {path for folder in FOLDERS for path in (TASKS / folder).glob("*.yaml")}
    assert {path.name for path in files if str(path) not in named} == {
        "_leaf.yaml",
        "_sampled.yaml",
        "_greedy.yaml",
    }


def test_the_group_holds_all_four_names(manager: Callable[..., Any]) -> None:
    loaded = manager().load("iha_math")
    assert loaded["group_map"] == {
        "iha_math": ["gsm8k_maj", "math500_maj", "gsm8k_5shot", "math500_4shot"],
        "gsm8k_5shot": ["gsm8k_5shot_em", "gsm8k_5shot_maj"],
        "math500_4shot": ["math500_4shot_em", "math500_4shot_maj"],
    }
    assert set(loaded["tasks"]) == set(LEAVES)
    assert all(isinstance(task, MathTask) for task in loaded["tasks"].values())


def test_documents_are_those_of_the_file(manager: Callable[..., Any]) -> None:
    loaded = manager().load(["gsm8k_maj", "math500_maj"])["tasks"]
    assert loaded["gsm8k_maj"].eval_docs[1] == {
        "index": 1,
        "problem": "Shelf 1 (test) has two rows of 501 jars. How many jars?",
        "answer": "1,002",
    }
    assert loaded["math500_maj"].eval_docs[7] == {
        "index": 7,
        "problem": "What is $7 + 1000$?",
        "answer": "1007",
        "subject": "Prealgebra",
        "level": 3,
        "unique_id": "test/7",
    }


def test_the_whole_group_runs_and_reports(model: ScriptedModel, run: Callable[..., Any]) -> None:
    results = run(model, "iha_math", limit=2)
    written = json.loads(json.dumps(results, default=handle_non_serializable))
    # Averages over such tasks mean nothing.
    assert "groups" not in written
    for name, (k, shots) in LEAVES.items():
        scores, config = written["results"][name], written["configs"][name]
        assert (config["repeats"], config["num_fewshot"]) == (k, shots)
        assert written["n-samples"][name]["effective"] == 2
        assert {"unparseable,none", "cut,none", "undecided,none"} < set(scores)
        reported = {metric.partition(",")[0] for metric in scores if metric.endswith(",none")}
        voted = {metric for metric in reported if re.fullmatch(r"maj@\d+", metric)}
        assert voted == {f"maj@{vote}" for vote in VOTES[k]}
        assert all(metric.replace("maj", "pass") in reported for metric in voted)
        assert ("exact_match" in reported, "p@1" in reported) == (k == 1, k > 1)
        assert len(written["samples"][name][0]["resps"][0]) == k
        assert written["higher_is_better"][name]["cut"] is False
    shown = make_table(results)
    for part in ("maj@16", "pass@8", "exact_match", "unparseable", "math500_4shot_em"):
        assert part in shown


def test_results_say_what_was_done(
    model: ScriptedModel, run: Callable[..., Any], data: Path
) -> None:
    configs = run(model, "gsm8k_5shot", metadata={"k": 3, "votes": [3, 1]})["configs"]
    voting, greedy = (configs[f"gsm8k_5shot_{kind}"]["metadata"] for kind in ("maj", "em"))
    assert voting["dataset"].pop("sha256") == greedy["dataset"]["sha256"]
    assert voting["dataset"] == {
        "source": str(data / "gsm8k/test.jsonl"),
        "rows": 60,
        "known": False,
    }
    assert (voting["k"], voting["votes"], greedy["k"]) == (3, [1, 3], 1)
    assert "votes" not in greedy
    assert "exact" in voting["maj"]
    assert "math-verify" in voting["grader"]
    assert (voting["prompt_style"], voting["fewshot_examples"]["count"]) == ("plain", 5)
    assert voting["version"] == 1.0


def test_decoding_is_the_papers_unless_told(model: ScriptedModel, run: Callable[..., Any]) -> None:
    run(model, "gsm8k_maj", limit=1)
    assert (
        model.arguments
        == [
            {
                "until": [*PLAIN.until],
                "do_sample": True,
                "temperature": 0.6,
                "top_p": 1.0,
                "max_gen_toks": 2048,
            }
        ]
        * 16
    )
    run(model, "gsm8k_maj", limit=1, gen_kwargs={"temperature": 1.0, "max_new_tokens": 99})
    told = model.arguments[0]
    assert (told["temperature"], told["max_new_tokens"]) == (1.0, 99)
    assert "max_gen_toks" not in told


def test_a_greedy_task_stays_greedy(
    model: ScriptedModel, run: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    run(model, "gsm8k_5shot_em", limit=1)
    assert "stays greedy" not in caplog.text
    # As for the voting task beside it.
    run(model, "gsm8k_5shot_em", limit=1, gen_kwargs={"temperature": 0.9, "do_sample": True})
    [told] = model.arguments
    assert (told["do_sample"], told["temperature"]) == (False, 0.0)
    assert "gsm8k_5shot_em stays greedy" in caplog.text


@pytest.mark.parametrize(
    ("task", "options", "said"),
    [
        pytest.param("gsm8k_maj", {"gen_kwargs": {"temperature": 0}}, "k=16 answers", id="greedy"),
        pytest.param("gsm8k_maj", {"gen_kwargs": {"do_sample": False}}, "k=16", id="no sampling"),
        pytest.param("gsm8k_maj", {"gen_kwargs": {"n": 4}}, "n=4 in generation_kwargs", id="n"),
        pytest.param("gsm8k_5shot_em", {"gen_kwargs": {"n": 4}}, "n=4", id="n, greedy"),
        pytest.param("gsm8k_maj", {"num_fewshot": 9}, "has 8 worked examples", id="9 examples"),
        pytest.param("gsm8k_maj", {"metadata": {"k": 0}}, '"k" has 0', id="k=0"),
        pytest.param("gsm8k_maj", {"metadata": {"k": 2, "votes": [4]}}, "over 4", id="votes"),
        pytest.param(
            "math500_maj", {"metadata": {"fewshot": "train"}}, "no training set", id="MATH train"
        ),
        pytest.param(
            "gsm8k_maj", {"metadata": {"data": "/no/folder"}}, "is not a folder", id="data"
        ),
    ],
)
def test_mistakes_are_refused_before_anything_is_generated(
    task: str, options: dict[str, Any], said: str, model: ScriptedModel, run: Callable[..., Any]
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        run(model, task, **options)
    assert not model.prompts
    assert "\n" not in str(caught.value)


def test_one_answer_may_be_greedy(model: ScriptedModel, run: Callable[..., Any]) -> None:
    options = {"metadata": {"k": 1}, "gen_kwargs": {"temperature": 0}}
    scores = run(model, "gsm8k_maj", **options)["results"]["gsm8k_maj"]
    assert scores["maj@1,none"] == scores["p@1,none"] == scores["pass@1,none"]


def test_a_model_class_that_does_not_tell_gets_no_cut_metric(run: Callable[..., Any]) -> None:
    plain = ScriptedModel(lambda document: Script(0.5), tells=False)
    results = run(plain, "gsm8k_5shot")["results"]
    assert all("cut,none" not in results[f"gsm8k_5shot_{kind}"] for kind in ("em", "maj"))
    assert results["gsm8k_5shot_maj"]["unparseable,none"] > 0


def test_training_examples_follow_the_fewshot_seed(
    model: ScriptedModel, run: Callable[..., Any]
) -> None:
    def shown(seed: int | None, count: int) -> tuple[list[str], Any]:
        options = {"num_fewshot": count, "metadata": {"fewshot": "train", "k": 1}}
        results = run(model, "gsm8k_maj", fewshot_random_seed=seed, **options)
        record = results["configs"]["gsm8k_maj"]["metadata"]["fewshot_examples"]
        prefixes = {prompt.rsplit("Problem: ", 1)[0] for prompt in model.prompts}
        # The same for every question.
        [prefix] = prefixes
        return prefix.split("Problem: ")[1:], record

    five, record = shown(1, 5)
    assert (record["source"], record["seed"], record["count"]) == ("train", 1, 5)
    assert all("(train)" in example and "<<" not in example for example in five)
    assert shown(1, 3)[0] == five[:3]
    assert shown(2, 5)[0] != five
    assert shown(None, 5)[1]["seed"] == 1234


def test_zero_shot_needs_no_training_set(
    model: ScriptedModel, run: Callable[..., Any], data: Path, tmp_path: Path
) -> None:
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k/test.jsonl").write_text((data / "gsm8k/test.jsonl").read_text())
    metadata = {"fewshot": "train", "data": str(tmp_path)}
    run(model, "gsm8k_maj", metadata=metadata)
    with pytest.raises(UserError, match="put the GSM8K training set there"):
        run(model, "gsm8k_maj", metadata=metadata, num_fewshot=1)


class Tokenizer:
    """As much of one as the task looks at."""

    chat_template = "a template"


@pytest.mark.parametrize(
    ("template", "options", "warned"),
    [
        pytest.param("a template", {}, True, id="forgotten"),
        pytest.param(None, {}, False, id="a base model"),
        pytest.param("a template", {"apply_chat_template": True}, False, id="applied"),
        pytest.param("a template", {"num_fewshot": 2}, False, id="few-shot"),
    ],
)
def test_a_forgotten_chat_template_is_mentioned_once(
    template: str | None,
    options: dict[str, Any],
    warned: bool,
    model: ScriptedModel,
    run: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(Tokenizer, "chat_template", template)
    current_model.publish(current_model.CurrentModel(Tokenizer()))
    with caplog.at_level(logging.WARNING):
        run(model, "gsm8k_maj", **options)
    assert caplog.text.count("add --apply_chat_template") == warned


@pytest.mark.parametrize(
    ("metadata", "ours", "warned"),
    [
        pytest.param({}, False, True, id="lm-eval's own"),
        pytest.param({"k": 1}, False, False, id="one answer"),
        pytest.param({}, True, False, id="ours"),
    ],
)
def test_one_seed_for_all_answers_is_mentioned(
    metadata: dict[str, Any],
    ours: bool,
    warned: bool,
    model: ScriptedModel,
    run: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    if ours:
        current_model.publish(current_model.CurrentModel(Tokenizer()))
    run(model, "gsm8k_maj", metadata=metadata, gen_kwargs={"seed": 5})
    assert ("give one answer 16 times" in caplog.text) is warned


def test_limit_and_samples_choose_documents(model: ScriptedModel, run: Callable[..., Any]) -> None:
    results = run(model, "math500_maj", limit=0.05)
    assert results["n-samples"]["math500_maj"] == {"original": 60, "effective": 3}
    chosen = run(model, "math500_maj", limit=None, samples={"math500_maj": [2, 7]})
    assert [s["doc"]["index"] for s in chosen["samples"]["math500_maj"]] == [2, 7]


def test_answers_alone_can_be_had(model: ScriptedModel, run: Callable[..., Any]) -> None:
    results = run(model, "gsm8k_5shot", predict_only=True, write_out=True)
    assert "bypass,none" in results["results"]["gsm8k_5shot_maj"]
    assert len(results["samples"]["gsm8k_5shot_maj"][0]["resps"][0]) == 5


def test_lm_evals_request_cache_is_left_alone(
    model: ScriptedModel, run: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    run(model, "gsm8k_maj", cache_requests=True)
    run(model, "gsm8k_maj", cache_requests=True, gen_kwargs={"temperature": 0.9})
    assert model.arguments[0]["temperature"] == 0.9
    assert "leaves lm-eval's request cache alone" in caplog.text


def test_one_task_object_can_be_run_twice(manager: Callable[..., Any]) -> None:
    task = manager().load("gsm8k_maj")["tasks"]["gsm8k_maj"]
    task.set_config("num_fewshot", 2)
    untils = []
    for chat in (False, True, False):
        task.build_all_requests(
            limit=1, apply_chat_template=chat, chat_template=lambda chat, **options: str(chat)
        )
        untils.append(task.instances[0].args[1]["until"])
    assert untils == [[*PLAIN.until], [*CHAT_STOPS], [*PLAIN.until]]


def test_a_task_of_the_users_own_keeps_its_stop_strings(data: Path) -> None:
    config = {
        "task": "mine",
        "output_type": "generate_until",
        "test_split": "test",
        "dataset_kwargs": {"benchmark": "math500", "voting": True},
        "generation_kwargs": {"temperature": 0.6, "until": ["STOP"]},
        "metadata": {"data": str(data), "k": 2},
    }
    task = MathTask(config)
    task.build_all_requests(limit=1)
    assert task.instances[0].args[1]["until"] == ["STOP"]
    assert task.instances[0].repeats == 2
    # What was handed in is not changed.
    assert config["metadata"] == {"data": str(data), "k": 2}


def test_python_beside_the_yaml_only_names_functions() -> None:
    lines = (TASKS / "iha_math" / "utils.py").read_text().splitlines()
    code = lines[lines.index('"""', 1) + 1 :]
    assert all(not line or line.startswith(("from iha_eval", "__all__")) for line in code), code
