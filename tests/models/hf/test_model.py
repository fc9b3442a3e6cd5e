"""`iha-hf` against lm-eval's own class on the same checkpoint, and what both our classes share."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import lm_eval
import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import CachingLM
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from iha_eval import current_model
from iha_eval.errors import UserError
from iha_eval.models.base import Pair
from iha_eval.models.hf import model as iha_hf
from iha_eval.models.hf.model import IHAHF
from iha_eval.models.run_stats import non_finite_rows

Make = Callable[..., Instance]


@pytest.fixture(scope="module")
def model(llama: Path) -> IHAHF:
    return IHAHF(llama)


@pytest.fixture(autouse=True)
def nothing_published() -> Iterator[None]:
    yield
    current_model.clear()


def test_answers_equal_lm_evals(model: IHAHF, theirs: HFLM, prompts: list[str], ask: Make) -> None:
    instances = [ask(prompt, n, until=["\n"], max_gen_toks=24) for n, prompt in enumerate(prompts)]
    answers = model.generate_until(instances, disable_tqdm=True)
    assert answers == theirs.generate_until(instances, disable_tqdm=True)
    assert all(answers)


@pytest.mark.parametrize("rows", [2, 64])
def test_batches_make_no_difference(
    llama: Path, model: IHAHF, prompts: list[str], ask: Make, rows: int
) -> None:
    instances = [ask(prompt, n, max_gen_toks=5 + n) for n, prompt in enumerate(prompts)]
    other = IHAHF(llama, batch_size=rows)
    assert other.generate_until(instances) == model.generate_until(instances)


def test_scores_equal_lm_evals(model: IHAHF, theirs: HFLM, prompts: list[str], weigh: Make) -> None:
    instances = [weigh(prompt, " and so on", n) for n, prompt in enumerate(prompts)]
    # Trailing space in the context, nothing in it, one token.
    instances += [weigh("ends in ", "space"), weigh("", "from nothing"), weigh("one", "x")]
    ours = model.loglikelihood(instances, disable_tqdm=True)
    expected = theirs.loglikelihood(instances, disable_tqdm=True)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in expected]
    assert [x for x, _ in ours] == pytest.approx([x for x, _ in expected], abs=1e-4)


def test_a_greedy_continuation_is_known_as_one(
    model: IHAHF, theirs: HFLM, greedy_pair: Pair
) -> None:
    (ours,) = model._loglikelihood_tokens([greedy_pair])
    (expected,) = theirs._loglikelihood_tokens([greedy_pair], disable_tqdm=True)
    assert ours[1]
    assert expected[1]
    assert ours[0] == pytest.approx(expected[0], abs=1e-4)


def test_rolling_scores_equal_lm_evals_beyond_the_context_too(
    model: IHAHF, theirs: HFLM, roll: Make
) -> None:
    instances = [roll("short"), roll("longer than the context of 512 tokens. " * 20)]
    ours = model.loglikelihood_rolling(instances, disable_tqdm=True)
    expected = theirs.loglikelihood_rolling(instances, disable_tqdm=True)
    assert ours == pytest.approx(expected, rel=1e-6)


def test_scores_of_bare_tokens_are_the_same(model: IHAHF, weigh: Make) -> None:
    pair = (None, *model._encode_pair("hello", " you"))
    assert model._loglikelihood_tokens([pair]) == model.loglikelihood([weigh("hello", " you")])


def test_an_answer_never_holds_its_stop(model: IHAHF, ask: Make) -> None:
    (whole,) = model.generate_until([ask("hello world", max_gen_toks=24)])
    stop = whole[6:8]
    (cut,) = model.generate_until([ask("hello world", max_gen_toks=24, until=["never", stop])])
    assert cut == whole[: whole.index(stop)]
    # It stopped there, and did not run on to its budget.
    assert model.calls[-1].generated_tokens < model.calls[-2].generated_tokens


def test_each_row_keeps_to_its_own_budget(model: IHAHF, ask: Make) -> None:
    model.generate_until([ask("hello", 0, max_gen_toks=3), ask("world", 1, max_gen_toks=9)])
    assert model.calls[-1].generated_tokens == 12


@pytest.mark.parametrize(
    "how",
    [
        {"temperature": 1.0},
        {"temperature": 0.7, "top_p": 0.9},
        {"temperature": 0.7, "top_k": 5, "min_p": 0.01},
    ],
)
def test_sampled_answers_repeat_with_the_run_and_differ_among_themselves(
    llama: Path, model: IHAHF, ask: Make, how: dict[str, float]
) -> None:
    one = ask("hello world", 0, do_sample=True, max_gen_toks=16, **how)
    first = model.generate_until([one] * 3)
    assert model.generate_until([one] * 3) == first
    assert len(set(first)) == 3
    assert IHAHF(llama, seed=1).generate_until([one] * 3) != first


def test_drawing_from_one_token_is_greedy(model: IHAHF, ask: Make) -> None:
    drawn = model.generate_until([ask("hello world", temperature=1.0, top_k=1, max_gen_toks=16)])
    assert drawn == model.generate_until([ask("hello world", max_gen_toks=16)])


def test_lm_evals_cache_is_refused(model: IHAHF, tmp_path: Path) -> None:
    """Its key leaves out the model: a second one would take the answers of the first."""
    with pytest.raises(UserError, match=r"--use_cache .* journal=DIR"):
        CachingLM(model, str(tmp_path / "cache.db"))
    with pytest.raises(UserError, match="--use_cache"):
        lm_eval.simple_evaluate(model=model, tasks=["gsm8k"], use_cache=str(tmp_path / "cache"))


def test_logits_that_are_not_finite_stop_the_run(
    overflowing: Path, ask: Make, weigh: Make, roll: Make, tmp_path: Path
) -> None:
    model = IHAHF(overflowing, journal=tmp_path)
    asked = [ask("hello", n, max_gen_toks=4, temperature=n) for n in range(2)]
    for run in (
        lambda: model.generate_until(asked),
        lambda: model.loglikelihood([weigh("a", "b")]),
        lambda: model.loglikelihood_rolling([roll("ab")]),
    ):
        with pytest.raises(UserError, match=r"not finite .* in task \w+, document 0: its weights"):
            run()
    # Nothing of it is kept for a later run.
    (journal,) = tmp_path.iterdir()
    assert '"key"' not in journal.read_text()


def test_logits_that_are_not_finite_are_counted_on_demand(
    overflowing: Path, ask: Make, weigh: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    model = IHAHF(overflowing, non_finite_logits="count")
    answers = model.generate_until([ask("hi", n, max_gen_toks=4, temperature=n) for n in range(2)])
    assert len(answers) == 2
    assert model.loglikelihood([weigh("a", "b")]) == [(float("-inf"), False)]
    counts = [call["non_finite_logits"] for call in model.get_model_info()["iha_eval"]["summary"]]
    assert counts == [8, 1]
    assert "times not finite (NaN or infinite)" in capsys.readouterr().out


def test_an_interrupted_run_hands_its_count_on_and_no_answers_to_a_run_that_is_to_stop(
    overflowing: Path, ask: Make, tmp_path: Path
) -> None:
    asked = [ask("hi", n, max_gen_toks=4, temperature=n) for n in range(2)]
    first = IHAHF(overflowing, non_finite_logits="count", journal=tmp_path)
    first.generate_until(asked[:1])
    again = IHAHF(overflowing, non_finite_logits="count", journal=tmp_path)
    again.generate_until(asked)
    assert (again.calls[-1].recalled, again.calls[-1].non_finite) == (1, 8)
    with pytest.raises(UserError, match="logits are not finite"):
        IHAHF(overflowing, journal=tmp_path).generate_until(asked)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_rows_that_mean_nothing_are_told_from_ruled_out_tokens(bad: float) -> None:
    logits = torch.zeros(4, 5)
    logits[1, 3] = bad
    logits[2, 1] = float("-inf")
    logits[3] = float("-inf")
    assert non_finite_rows(logits).tolist() == [False, True, False, True]


def test_stops_do_not_end_an_answer_inside_a_thought(model: IHAHF, ask: Make) -> None:
    """The tiny model's words are no thoughts, so the prompt begins one that never ends."""
    plain = model.generate_until([ask("hello<think>", max_gen_toks=24)])[0]
    thinking = IHAHF(model.source.checkpoint.path, think_end_token="</think>")
    cut = plain[len(plain) // 2]
    asked = [
        ask("hello<think>", 0, max_gen_toks=24, until=[cut]),
        ask("hello<think></think>", 1, max_gen_toks=24, until=[cut]),
    ]
    answers = thinking.generate_until(asked)
    assert (answers[0], answers[0].cut) == ("", True)
    assert answers[1] == model.generate_until(asked[1:])[0]
    assert thinking.calls[-1].generated_tokens >= 24


def test_what_does_not_fit_stops_the_run_before_a_model_is_loaded(llama: Path, ask: Make) -> None:
    model = IHAHF(llama, max_model_len=64)
    with pytest.raises(UserError) as caught:
        model.generate_until([ask("fits"), ask("x" * 60, 17, "hard", max_gen_toks=10)])
    assert str(caught.value).startswith(
        "Task asked, document 0: a prompt of 5 tokens and a generation budget of 256 come to 261 "
        "tokens (and 1 more of 2 requests), over max_model_len=64; nothing is truncated"
    )
    assert model._model is None
    assert model.calls == []


def test_beyond_the_checkpoint_nothing_helps(model: IHAHF, ask: Make) -> None:
    with pytest.raises(UserError, match=r"over the 512 tokens that the checkpoint allows"):
        model.generate_until([ask("x" * 500, max_gen_toks=12)])


def test_a_continuation_may_end_one_token_beyond_the_context(
    llama: Path, theirs: HFLM, weigh: Make
) -> None:
    exact = [weigh("x" * 500, "y" * 12)]
    (ours,), (expected,) = IHAHF(llama).loglikelihood(exact), theirs.loglikelihood(exact)
    assert ours[0] == pytest.approx(expected[0], abs=1e-4)
    with pytest.raises(UserError, match="a continuation to score of 12 come to 513"):
        IHAHF(llama).loglikelihood([weigh("x" * 500, "y" * 13)])


def test_no_requests_need_no_model(llama: Path) -> None:
    model = IHAHF(llama)
    assert "attention" not in model.get_model_info()["iha_eval"]
    assert model.generate_until([]) == []
    assert model.loglikelihood_rolling([]) == []
    assert model._model is None


def test_the_model_publishes_how_it_reads_prompts(llama: Path) -> None:
    model = IHAHF(llama, add_bos_token=False)
    published = current_model.current()
    assert published is not None
    assert (published.name, published.add_bos) == (str(llama), False)
    assert published.tokenizer is model.tokenizer
    for text in ("plain", "<s>begun"):
        assert published.encode(text) == model.tok_encode(text)


def test_lm_eval_asks_for_chats_and_names(model: IHAHF) -> None:
    assert model.apply_chat_template([{"role": "user", "content": "hi"}]).endswith("assistant: ")
    assert "/" not in model.tokenizer_name
    assert model.chat_template(True) == model.tokenizer.chat_template
    assert (model.eot_token_id, model.prefix_token_id, model.max_length) == (1, 0, 512)


def test_results_hold_what_was_run_and_how(
    llama: Path, local_task: TaskManager, capsys: pytest.CaptureFixture[str]
) -> None:
    results = lm_eval.simple_evaluate(
        model=IHAHF(llama), tasks=["tiny_quiz"], limit=3, task_manager=local_task, log_samples=True
    )
    assert "generate_until: 3 requests" in capsys.readouterr().out
    config = json.loads(json.dumps(results["config"], default=str))
    facts = config["iha_eval"]
    assert config["model_dtype"] == facts["dtype"] == "float32"
    assert facts["backend"] == "transformers"
    assert facts["attention"] == ["sdpa"]
    assert facts["max_model_len"] == 128
    assert facts["checkpoint"]["name"] == str(llama)
    assert len(facts["checkpoint"]["fingerprint"]) == 64
    assert facts["versions"]["transformers"]
    assert facts["model_args"] == {"pretrained": str(llama)}
    (call,) = facts["summary"]
    assert call["requests"] == 3
    assert call["prompt_tokens"] == 3 * len("sQ0: what is it?")
    assert call["prefill_tokens_per_second"] > 0
    assert call["generation_tokens_per_second"] > 0
    assert len(results["samples"]["tiny_quiz"]) == 3


def test_lm_evals_own_way_in_takes_its_own_arguments(llama: Path) -> None:
    extra = {"batch_size": 1, "max_batch_size": None, "device": "cpu"}
    assert IHAHF.create_from_arg_string(f"pretrained={llama}", extra).arguments.device == "cpu"
    assert (
        IHAHF.create_from_arg_obj({"pretrained": str(llama)}, extra).arguments.concurrency is None
    )


def test_an_attention_implementation_can_be_chosen(llama: Path, ask: Make) -> None:
    model = IHAHF(llama, attn_implementation="eager")
    model.generate_until([ask("a", max_gen_toks=1)])
    assert model.get_model_info()["iha_eval"]["attention"] == ["eager"]


def test_one_that_transformers_lacks_is_an_error_of_one_sentence(llama: Path, ask: Make) -> None:
    model = IHAHF(llama, attn_implementation="magic")
    with pytest.raises(UserError, match=r"Transformers does not load .*magic"):
        model.generate_until([ask("a", max_gen_toks=1)])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"colour": 1}, "iha-hf has no argument colour"),
        ({"device": "toaster"}, "device='toaster' is no torch device"),
        ({"max_model_len": 513}, "max_model_len=513 is more than the checkpoint allows"),
    ],
)
def test_mistakes_show_at_once(llama: Path, given: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        IHAHF(llama, **given)


def test_a_gpu_that_is_not_there_is_refused(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iha_hf.torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch finds none: say cpu"):
        IHAHF(llama, device="cuda:1")


def test_lm_evals_default_device_is_the_cpu_where_there_is_no_gpu(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(iha_hf.torch.cuda, "is_available", lambda: False)
    assert IHAHF(llama, device="cuda:0")._device == torch.device("cpu")


def test_batches_are_larger_on_a_gpu(model: IHAHF, monkeypatch: pytest.MonkeyPatch) -> None:
    small = model._batch_tokens
    monkeypatch.setattr(model, "_device", torch.device("cuda"))
    assert model._batch_tokens > small
