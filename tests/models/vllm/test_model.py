"""`iha-vllm` on a real engine, against lm-eval's own class and `iha-hf` on the same checkpoint.

One engine serves all; what each test needs fits in 256 tokens, but for that of a longer call.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import lm_eval
import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from plain_models import BASE_FIELDS, VOCABULARY, save_base
from safetensors.torch import load_file, save_file
from tiny_models import MODERN, generate, tiny_nanochat, worst_logprob
from transformers import AutoModelForCausalLM

from iha_eval.errors import UserError
from iha_eval.models.arguments import parse
from iha_eval.models.base import Pair
from iha_eval.models.hf.model import IHAHF
from iha_eval.models.vllm import engine as engine_module
from iha_eval.models.vllm import model as iha_vllm
from iha_eval.models.vllm.devices import EnginePlan
from iha_eval.models.vllm.engine_arguments import EXTENSION
from iha_eval.models.vllm.model import IHAVLLM
from iha_eval.models.vllm.sample_groups import SampleGroup
from iha_eval.models.vllm.worker import TiledLinear
from iha_eval.util.log import logger
from model_adapters.checkpoint import Checkpoint, read
from model_adapters.convert import Recipe, upcycle

pytestmark = pytest.mark.slow

Make = Callable[..., Instance]


@pytest.fixture(scope="module")
def model(llama: Path) -> Iterator[IHAVLLM]:
    model = IHAVLLM(llama, kv_cache_memory_bytes=32 * 2**20, max_num_seqs=8)
    yield model
    model.close()


def test_answers_equal_lm_evals_and_transformers(
    model: IHAVLLM, llama: Path, theirs: HFLM, prompts: list[str], ask: Make
) -> None:
    instances = [ask(prompt, n, until=["\n"], max_gen_toks=24) for n, prompt in enumerate(prompts)]
    answers = model.generate_until(instances)
    assert all(answers)
    assert answers == theirs.generate_until(instances, disable_tqdm=True)
    assert answers == IHAHF(llama).generate_until(instances)


def test_scores_equal_lm_evals(
    model: IHAVLLM, theirs: HFLM, prompts: list[str], weigh: Make
) -> None:
    instances = [weigh(prompt, " and so on", n) for n, prompt in enumerate(prompts)]
    instances += [weigh("ends in ", "space"), weigh("", "from nothing"), weigh("one", "x")]
    ours = model.loglikelihood(instances, disable_tqdm=True)
    expected = theirs.loglikelihood(instances, disable_tqdm=True)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in expected]
    assert [x for x, _ in ours] == pytest.approx([x for x, _ in expected], abs=1e-4)


def test_a_greedy_continuation_is_known_as_one(model: IHAVLLM, greedy_pair: Pair) -> None:
    ((_, greedy),) = model._loglikelihood_tokens([greedy_pair])
    assert greedy


def test_rolling_scores_equal_lm_evals(model: IHAVLLM, theirs: HFLM, roll: Make) -> None:
    instances = [roll("short"), roll("longer, but within the context. " * 4)]
    expected = theirs.loglikelihood_rolling(instances, disable_tqdm=True)
    assert model.loglikelihood_rolling(instances) == pytest.approx(expected, abs=1e-3)


def test_a_call_with_longer_requests_starts_the_engine_anew_with_what_they_need(
    model: IHAVLLM, ask: Make
) -> None:
    model.generate_until([ask("x" * 100, max_gen_toks=2)])
    assert model._engine is not None
    before, first = model._engine, model._engine.max_model_len
    model.generate_until([ask("y" * 101, max_gen_toks=2)])
    assert model._engine is before
    model.generate_until([ask("z" * 400, max_gen_toks=2)])
    assert model._engine is not before
    assert model._engine.max_model_len == 512 > first


def test_what_does_not_fit_stops_the_run_before_anything_is_generated(
    model: IHAVLLM, ask: Make
) -> None:
    calls = len(model.calls)
    with pytest.raises(UserError, match=r"Task hard, document 17: a prompt of 501 tokens and a"):
        model.generate_until([ask("fits"), ask("x" * 500, 17, "hard", max_gen_toks=12)])
    assert len(model.calls) == calls


def test_before_the_first_call_there_is_no_engine(llama: Path, ask: Make) -> None:
    model = IHAVLLM(llama, max_model_len=64)
    with pytest.raises(UserError, match="over max_model_len=64"):
        model.generate_until([ask("fits not")])
    assert model._engine is None
    assert model.generate_until([]) == []
    facts = model.get_model_info()["iha_eval"]
    assert (facts["backend"], facts["dtype"], facts["kv_cache"]) == ("vllm", "float32", None)


def test_an_answer_never_holds_its_stop(model: IHAVLLM, ask: Make) -> None:
    (whole,) = model.generate_until([ask("hello world", max_gen_toks=24)])
    stop = whole[6:8]
    (cut,) = model.generate_until([ask("hello world", max_gen_toks=24, until=["never", stop])])
    assert cut == whole[: whole.index(stop)]
    assert model.calls[-1].generated_tokens < model.calls[-2].generated_tokens


def test_sampled_answers_repeat_with_the_run_and_differ_among_themselves(
    model: IHAVLLM, ask: Make
) -> None:
    one = ask("hello world", do_sample=True, temperature=0.9, top_p=0.95, max_gen_toks=16)
    first = model.generate_until([one] * 3)
    assert model.generate_until([one] * 3) == first
    assert len(set(first)) == 3


def test_samples_of_a_question_asked_at_once_are_those_asked_one_by_one(
    model: IHAVLLM, ask: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM's n counts seeds as derive_seed does, and reads the prompt once."""
    instances = [ask("hello world " * (1 + doc), doc, temperature=0.9) for doc in range(3)]
    asked = [one for one in instances for _ in range(5)]
    at_once = model.generate_until(asked)
    assert len(set(at_once)) == 15
    assert model.calls[-1].requests == 15
    monkeypatch.setattr(iha_vllm, "grouped", lambda jobs: [SampleGroup((job,)) for job in jobs])
    assert model.generate_until(asked) == at_once


def test_the_first_samples_of_many_are_those_of_few(model: IHAVLLM, ask: Make) -> None:
    one = ask("hello world", temperature=0.9, max_gen_toks=16)
    assert model.generate_until([one] * 5)[:3] == model.generate_until([one] * 3)


def test_a_shared_prompt_is_read_once(model: IHAVLLM, ask: Make) -> None:
    one = ask("a long prompt that fills more than a block. " * 5, temperature=0.9, max_gen_toks=4)
    model.generate_until([one] * 4)
    call = model.calls[-1]
    prompt = call.prompt_tokens // 4
    # All but the last block, three times.
    assert call.cached_tokens >= 3 * (prompt - 129)


def test_an_answer_knows_whether_its_budget_cut_it(model: IHAVLLM, ask: Make) -> None:
    (whole,) = model.generate_until([ask("hello world", max_gen_toks=24)])
    (stopped,) = model.generate_until([ask("hello world", max_gen_toks=24, until=[whole[6:8]])])
    assert (whole.cut, stopped.cut) == (True, False)
    assert model.calls[-2].cut - model.calls[-1].cut == 1


def test_more_requests_than_run_at_once_come_back_in_order(model: IHAVLLM, ask: Make) -> None:
    count = 8 + engine_module.AHEAD + 7
    instances = [ask("x" * (1 + n % 5), n, max_gen_toks=1 + n % 3) for n in range(count)]
    answers = model.generate_until(instances)
    assert answers == [model.generate_until([one])[0] for one in instances[:15]] + answers[15:]
    assert answers[:15] == answers[15:30]


def test_stops_do_not_end_an_answer_inside_a_thought(
    model: IHAVLLM, ask: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = model.generate_until([ask("hello<think>", max_gen_toks=24)])[0]
    asked = [
        ask("hello<think>", 0, max_gen_toks=24, until=[plain[12]]),
        ask("hello<think></think>", 1, max_gen_toks=24, until=[plain[12]]),
    ]
    stopped = model.generate_until(asked)[1]
    thinking = replace(model.arguments, think_end_token="</think>")
    monkeypatch.setattr(model, "arguments", thinking)
    monkeypatch.setattr(model.text, "_arguments", thinking)
    monkeypatch.setattr(model.text, "_think_end", "</think>")
    answers = model.generate_until(asked)
    assert (answers[0], answers[0].cut) == ("", True)
    assert answers[1] == stopped


def test_after_an_error_in_between_the_engine_is_empty_again(
    model: IHAVLLM, ask: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    instances = [ask("hello", n, max_gen_toks=4 + n) for n in range(6)]
    expected = model.generate_until(instances)
    finished: list[object] = []

    def fail(*_: object) -> None:
        finished.append(1)
        if len(finished) == 3:
            raise RuntimeError("disk full")

    monkeypatch.setattr("iha_eval.models.run_stats.Progress.finish", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        model.generate_until(instances)
    monkeypatch.undo()
    # Nothing of the rest turns up now.
    assert model.generate_until(instances) == expected


def test_results_hold_what_was_run_and_how(
    model: IHAVLLM, llama: Path, local_task: TaskManager, capsys: pytest.CaptureFixture[str]
) -> None:
    model.calls.clear()
    results = lm_eval.simple_evaluate(
        model=model, tasks=["tiny_quiz"], limit=3, task_manager=local_task, log_samples=True
    )
    printed = capsys.readouterr()
    assert "generate_until: 3 requests" in printed.out
    assert "KV cache" in printed.out
    assert "iha-vllm generate_until" in printed.err
    config = json.loads(json.dumps(results["config"]))
    facts = config["iha_eval"]
    assert facts["backend"] == "vllm"
    assert facts["dtype"] == facts["engine_args"]["dtype"] == "float32"
    assert facts["attention"] == ["CPU_ATTN"]
    assert facts["engine_args"]["max_num_seqs"] == facts["max_num_seqs"] == 8
    assert facts["kv_cache"]["bytes"] <= 32 * 2**20
    # 2 layers, key and value, 1 head of 32, 4 bytes each.
    assert facts["kv_cache"]["tokens"] == facts["kv_cache"]["bytes"] // (2 * 2 * 32 * 4)
    assert facts["versions"]["vllm"]
    assert facts["checkpoint"]["name"] == str(llama)
    (call,) = facts["summary"]
    assert call["requests"] == 3
    assert call["prefill_tokens_per_second"] > 0
    assert call["generation_tokens_per_second"] > 0
    assert len(results["samples"]["tiny_quiz"]) == 3


def test_what_vllm_refuses_is_an_error_of_one_sentence(llama: Path, ask: Make) -> None:
    model = IHAVLLM(llama, quantization="magic")
    with pytest.raises(
        UserError, match=r"vLLM does not start with max_model_len=128 on "
    ) as caught:
        model.generate_until([ask("a", max_gen_toks=2)])
    assert "\n" not in str(caught.value)
    assert "magic" in str(caught.value)


@pytest.mark.parametrize(
    ("device", "said"), [("cuda:1", True), ("cuda:0", False), ("cpu", False), (None, False)]
)
def test_a_device_is_left_to_vllm(
    llama: Path, caplog: pytest.LogCaptureFixture, device: str | None, said: bool
) -> None:
    logger.addHandler(caplog.handler)
    try:
        IHAVLLM(llama, device=device)
    finally:
        logger.removeHandler(caplog.handler)
    assert ("is left to vLLM" in caplog.text) == said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1 validation error for C\n  Value error, too long. [type=value_error, x]", "too long."),
        ("plain\n  words", "plain words"),
        (
            "Engine core initialization failed. See root cause above. Failed core proc(s): {}",
            "its processes failed to start; the last error that they printed above says why.",
        ),
        (
            "Failed to infer device type, please set the environment variable",
            "it is the build for GPUs and finds none: pip install 'iha-eval[cpu]' instead.",
        ),
        ("", "ValueError('')"),
    ],
)
def test_vllms_errors_are_brought_into_one_line(text: str, sentence: str) -> None:
    assert engine_module._sentence(ValueError(text)) == sentence


def other_weights(folder: Path, place: Path) -> Path:
    """A copy of a checkpoint whose weights are another model's."""
    shutil.copytree(folder, place)
    file = place / "model.safetensors"
    weights = load_file(file)
    save_file({name: 1.5 * tensor.flip(0) for name, tensor in weights.items()}, file)
    return place


def tied_head(folder: Path, place: Path) -> Path:
    """A copy of a checkpoint whose head is its embedding."""
    shutil.copytree(folder, place)
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    weights = load_file(place / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, place / "model.safetensors")
    return place


@pytest.fixture
def keeping(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Engines are kept as by the process of a watch."""
    monkeypatch.setattr(engine_module, "_kept", None)
    engine_module.keep_engine(among=2)
    yield
    kept = engine_module._kept
    if kept is not None and kept.engine is not None:
        kept.engine.close()


@pytest.mark.parametrize("tied", [False, True])
def test_a_kept_engine_serves_the_next_checkpoint(
    keeping: None, llama: Path, prompts: list[str], ask: Make, tmp_path: Path, tied: bool
) -> None:
    """With its weights alone: also what the prefix cache held was of the former.

    A tied head is the embedding, of which vLLM's CPU build keeps a packed copy.
    """
    if tied:
        llama = tied_head(llama, tmp_path / "tied")
    other = other_weights(llama, tmp_path / "other")
    instances = [ask(prompt, n, until=["\n"], max_gen_toks=24) for n, prompt in enumerate(prompts)]
    sizes = {"kv_cache_memory_bytes": 32 * 2**20, "max_num_seqs": 8, "max_model_len": 256}
    first, second = IHAVLLM(llama, **sizes), IHAVLLM(other, **sizes)
    before = first.generate_until(instances)
    assert second.generate_until(instances) == IHAHF(other).generate_until(instances) != before
    assert second._engine is first._engine
    model = second._engine._llm.llm_engine.model_executor.driver_worker.worker.model_runner.model
    products = [layer.cpu_linear for layer in model.modules() if hasattr(layer, "cpu_linear")]
    # Each once: else answers depend on what else is in a batch, or tiles are made of tiles.
    assert len(products) > 8
    assert all(isinstance(each, TiledLinear) for each in products)
    assert not any(isinstance(each.linear, TiledLinear) for each in products)
    assert second._engine_facts()["engine_args"]["model"] == str(other)
    back = IHAVLLM(llama, **sizes)
    assert back.generate_until(instances) == before


def test_a_kept_engine_starts_anew_for_longer_requests(
    keeping: None, llama: Path, ask: Make
) -> None:
    model = IHAVLLM(llama, kv_cache_memory_bytes=32 * 2**20, max_num_seqs=8)
    model.generate_until([ask("x" * 100, max_gen_toks=2)])
    first = model._engine
    model.generate_until([ask("z" * 400, max_gen_toks=2)])
    assert model._engine is not first
    assert engine_module._kept is not None
    assert engine_module._kept.engine is model._engine


@pytest.mark.long
@pytest.mark.parametrize("invariant", [False, True], ids=["plain-products", "tiled-products"])
@pytest.mark.parametrize("kind", [*BASE_FIELDS, "nanochat-modern"])
def test_every_base_is_reloaded_in_place(kind: str, invariant: bool, tmp_path: Path) -> None:
    """Norms of queries and keys, tied heads, windows, lambdas and gates.

    Not experts on a CPU: vLLM turns them as it loads them, and its reload fails, so that the engine
    starts anew.
    """
    if kind == "nanochat-modern":
        tiny_nanochat(**MODERN, head_gate_channels=12).save_pretrained(tmp_path / "iha")
    else:
        upcycle(save_base(kind, tmp_path / "base"), tmp_path / "iha", Recipe(2))
    other = other_weights(tmp_path / "iha", tmp_path / "other")
    served = engine_module.Engine(
        {
            "model": str(tmp_path / "iha"),
            "skip_tokenizer_init": True,
            "dtype": "float32",
            "enforce_eager": True,
            "max_model_len": 256,
            "kv_cache_memory_bytes": 64 << 20,
            "max_num_batched_tokens": 32,
            "max_num_seqs": 8,
            "worker_extension_cls": EXTENSION,
        },
        batch_invariant=invariant,
    )
    prompts = [[1 + n % (VOCABULARY - 1) for n in range(length)] for length in (1, 17, 40)]
    try:
        # In the prefix cache afterwards.
        first = generate(served._llm, prompts)
        if kind == "qwen3_moe":
            with pytest.raises(RuntimeError, match="must match the size of tensor"):
                served.reload(read(other))
            return
        served.reload(read(other))
        outputs = generate(served._llm, prompts)
    finally:
        served.close()
    weights = [
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        for folder in (tmp_path / "iha", other)
    ]
    assert worst_logprob(weights[0], prompts, first) < 1e-4
    assert worst_logprob(weights[0], prompts, outputs) > 0.1
    assert worst_logprob(weights[1], prompts, outputs) < 1e-4


class FakeKeptEngine:
    """Takes other weights, or says that it cannot."""

    max_model_len = 256

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.closed = error, False

    def reload(self, checkpoint: Checkpoint) -> None:
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("change", "stays"),
    [
        ("nothing", True),
        ("shorter", True),
        ("longer", False),
        ("dtype", False),
        ("engine", False),
        ("config", False),
        ("tokenizer", False),
        ("ends of answers", False),
        ("former removed", True),
        ("vLLM refuses", False),
    ],
)
def test_what_a_kept_engine_can_serve(
    change: str, stays: bool, llama: Path, tmp_path: Path
) -> None:
    shutil.copytree(llama, place := tmp_path / "next")
    given = {"dtype": "float32", "max_num_seqs": 8}
    former = shutil.copytree(llama, tmp_path / "former")
    plan = EnginePlan(former, former, parse(given), 256, ())
    if change == "config":
        config = json.loads((place / "config.json").read_text())
        (place / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.5}))
    if change == "ends of answers":
        (place / "generation_config.json").write_text('{"eos_token_id": [1, 7]}')
    if change == "tokenizer":
        (place / "tokenizer_config.json").write_text("{}")
    changes = {"dtype": {"dtype": "bfloat16"}, "engine": {"block_size": 32}}.get(change, {})
    length = {"longer": 257, "shorter": 255}.get(change, 256)
    wanted = EnginePlan(place, place, parse({**given, **changes}), length, ())
    engine = FakeKeptEngine(RuntimeError("no") if change == "vLLM refuses" else None)
    config = engine_module._plain_config(read(llama))
    about = engine_module._about_engine(plan)
    kept = engine_module._KeptEngine(1, cast("engine_module.Engine", engine), about, config)
    if change == "former removed":
        shutil.rmtree(former)
    assert (kept.take(wanted, read(place)) is engine) is stays
    assert engine.closed is not stays
    assert (kept.engine is None) is not stays
