"""The served model against the Transformers model, on a real engine in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import (
    GLOBAL,
    HYBRID,
    MIXED,
    engine,
    generate,
    random_ids,
    tiny_model,
    tiny_nanochat,
    worst_logprob,
)
from transformers import LlamaConfig, LlamaForCausalLM

from model_adapters import BackendError, CheckpointError
from model_adapters.vllm.cache_spec import CacheShape

Save = Callable[[Any], Path]
# From one token over both sides of block and chunk borders to several chunks.
LENGTHS = (1, 2, 5, 17, 63, 129, 255, 256, 600)
PROMPTS = [random_ids(length) for length in LENGTHS]
TOLERANCE = 1e-4

MATRIX = [
    ("P1-mixed-virtual-G4", MIXED, {"num_pseudo_heads": 1, "num_key_value_heads": 4}, {}),
    ("P2-mixed-virtual-G2", MIXED, {"num_pseudo_heads": 2}, {}),
    (
        "P2-global-virtual-G4-not-folded",
        GLOBAL,
        {"num_key_value_heads": 4},
        {"additional_config": {"iha_fold": "never"}},
    ),
    ("P3-mixed-token-G1", MIXED, {"num_pseudo_heads": 3, "num_key_value_heads": 1}, {}),
    ("P3-all-iha-virtual-G4", ["iha_sliding", "iha_global"], {"num_pseudo_heads": 3}, {}),
    (
        "P4-global-token-G2-folded",
        GLOBAL,
        {"num_pseudo_heads": 4, "pseudo_rope": "token", "attention_bias": True},
        {"additional_config": {"iha_fold": "always"}},
    ),
    ("P4-hybrid-virtual-block32", HYBRID, {"num_pseudo_heads": 4}, {"block_size": 32}),
    (
        "P2-hybrid-fused-in-plain-torch",
        HYBRID,
        {},
        {"additional_config": {"iha_fused": "plain", "iha_fold": "never"}},
    ),
    ("P2-mixed-few-blocks", MIXED, {}, {"num_gpu_blocks_override": 40}),
    ("P3-hybrid-few-blocks", HYBRID, {"num_pseudo_heads": 3}, {"num_gpu_blocks_override": 40}),
    (
        "P2-iha-no-hybrid-manager",
        ["iha_sliding", "iha_global"],
        {},
        {"disable_hybrid_kv_cache_manager": True},
    ),
    (
        "P2-mixed-yarn-rope",
        MIXED,
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 1e4,
                "factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
        {},
    ),
    (
        "P2-mixed-llama3-rope",
        MIXED,
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 1e4,
                "factor": 4.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
        {},
    ),
]


# A second form of what another row tests.
AGAIN = (
    "P1-mixed-virtual-G4",
    "P4-hybrid-virtual-block32",
    "P3-hybrid-few-blocks",
    "P2-mixed-llama3-rope",
)


@pytest.mark.parametrize(
    ("kinds", "fields", "arguments"),
    [
        pytest.param(*row[1:], id=row[0], marks=pytest.mark.long if row[0] in AGAIN else [])
        for row in MATRIX
    ],
)
def test_logprobs_and_greedy_tokens_equal_the_transformers_model(
    kinds: list[str], fields: dict[str, Any], arguments: dict[str, Any], saved: Save
) -> None:
    """Mixed lengths in one batch; chunks of 256 tokens cut the 600-token prompt."""
    model = tiny_model(kinds, **fields)
    with engine(saved(model), **arguments) as llm:
        outputs = generate(llm, PROMPTS)
    assert worst_logprob(model, PROMPTS, outputs) < TOLERANCE


def test_prefix_caching_hits_and_changes_nothing(saved: Save) -> None:
    """The second request reuses the first's blocks, the third a shared prefix of 500 tokens.

    By default vLLM keeps a sliding layer's blocks for a later hit only at a prompt's end.
    """
    model = tiny_model(HYBRID, num_pseudo_heads=2)
    shared = random_ids(600)
    prompts = [shared, shared[:500] + random_ids(90, seed=1)]
    unfolded = {"additional_config": {"iha_fold": "never"}, "prefix_cache_retention_interval": None}
    with engine(saved(model), block_size=32, **unfolded) as llm:
        generate(llm, [shared])
        from vllm import SamplingParams, TokensPrompt

        # Prompt logprobs would switch prefix hits off, so only the generation is compared.
        params = SamplingParams(
            temperature=0, max_tokens=12, logprobs=1, detokenize=False, ignore_eos=True
        )
        batch = [TokensPrompt(prompt_token_ids=prompt) for prompt in prompts]
        outputs = llm.generate(batch, params, use_tqdm=False)
    assert outputs[0].num_cached_tokens >= 544
    assert outputs[1].num_cached_tokens >= 448
    for prompt, output in zip(prompts, outputs, strict=True):
        answer = list(output.outputs[0].token_ids)
        with torch.no_grad():
            reference = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
        for step, token in enumerate(answer):
            row = reference[len(prompt) + step - 1]
            assert row.argmax().item() == token
            assert abs(output.outputs[0].logprobs[step][token].logprob - row[token].item()) < 1e-4


def served_in_chunks(folder: Path, model: Any, blocks: int) -> float:
    """Worst logprob of prompts that pass in chunks of 32 tokens through a pool of blocks."""
    prompts = [random_ids(200, seed=seed) for seed in range(3)]
    arguments = {
        "block_size": 16,
        "max_num_batched_tokens": 32,
        "num_gpu_blocks_override": blocks,
        "enable_prefix_caching": False,
        "max_model_len": 256,
    }
    with engine(folder, **arguments) as llm:
        outputs = generate(llm, prompts, tokens=20)
    return worst_logprob(model, prompts, outputs)


def test_the_scheduler_must_keep_one_token_more_than_the_window(
    saved: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the smallest pool that vLLM admits, W + 1 tokens are exact and W tokens are wrong.

    With W = 17 and blocks of 16, a chunk's first virtual query reaches into the last token of a
    block that a window of W tokens has just given back and that the chunk itself takes again.
    """
    model = tiny_model(["iha_sliding"] * 2, num_pseudo_heads=2, iha_window=17)
    folder = saved(model)
    assert served_in_chunks(folder, model, blocks=6) < TOLERANCE
    monkeypatch.setattr(CacheShape, "kept_tokens", property(lambda self: self.window))
    assert served_in_chunks(folder, model, blocks=6) > 100 * TOLERANCE


@pytest.mark.parametrize("base", ["llama", pytest.param("nanochat", marks=pytest.mark.long)])
def test_preempted_requests_are_recomputed_exactly(base: str, saved: Save) -> None:
    """Sixteen requests outgrow the cache; some are thrown out and start again.

    A nanochat's cache also has the token before, for smear.
    """
    model: Any = tiny_model(GLOBAL)
    if base == "nanochat":
        model = tiny_nanochat(GLOBAL, smear_channels=24)
    prompts = [random_ids(length, seed=9) for length in range(60, 76)]
    arguments = {"num_gpu_blocks_override": 24, "block_size": 32, "max_model_len": 256}
    with engine(saved(model), disable_log_stats=False, **arguments) as llm:
        outputs = generate(llm, prompts, tokens=80)
        counters = {metric.name: getattr(metric, "value", None) for metric in llm.get_metrics()}
    assert counters["vllm:num_preemptions"] > 0
    assert worst_logprob(model, prompts, outputs) < TOLERANCE


def test_more_requests_run_than_vllms_maximum_concurrency(saved: Save) -> None:
    """Eight in 32 blocks, of which each is charged 5 and goes on to hold 3; none starts anew."""
    model = tiny_model(["iha_sliding"] * 2, num_pseudo_heads=2, iha_window=17)
    prompts = [random_ids(200, seed=seed) for seed in range(8)]
    arguments = {
        "block_size": 16,
        "max_num_batched_tokens": 32,
        "num_gpu_blocks_override": 33,
        "max_model_len": 256,
    }
    with engine(saved(model), disable_log_stats=False, **arguments) as llm:
        core = llm.llm_engine.engine_core.engine_core
        schedule, running = core.scheduler.schedule, []

        def watched(*given: Any) -> Any:
            running.append(len(core.scheduler.running))
            return schedule(*given)

        core.scheduler.schedule = watched
        outputs = generate(llm, prompts, tokens=60)
        counters = {metric.name: getattr(metric, "value", None) for metric in llm.get_metrics()}
        assert llm.llm_engine.vllm_config.cache_config.kv_cache_max_concurrency < 8
    assert max(running) == 8
    assert counters["vllm:num_preemptions"] == 0
    assert worst_logprob(model, prompts, outputs) < TOLERANCE


@pytest.mark.long
def test_torch_compile_changes_nothing(saved: Save) -> None:
    """The compiled graph of mixing, rotation and collapse is the eager one."""
    model = tiny_model(MIXED)
    unfolded = {"iha_fold": "never"}
    with engine(saved(model), enforce_eager=False, additional_config=unfolded) as llm:
        outputs = generate(llm, PROMPTS)
    assert worst_logprob(model, PROMPTS, outputs) < TOLERANCE


def test_plain_and_iha_layers_need_the_hybrid_cache_manager(saved: Save) -> None:
    """Without it vLLM would hold both in one group of one kind of page."""
    with (
        pytest.raises(BackendError, match=r"disable_hybrid_kv_cache_manager.*leave it unset"),
        engine(saved(tiny_model(MIXED)), disable_hybrid_kv_cache_manager=True),
    ):
        pass


@pytest.mark.parametrize(("name", "shape"), [("alpha_q", (4, 3, 4)), ("collapse", (12, 4))])
def test_a_transposed_tensor_is_refused_by_the_loader_too(
    name: str, shape: tuple[int, ...], saved: Save
) -> None:
    """Who serves without `checkpoint.read` must not get it reshaped into place."""
    folder = saved(tiny_model(GLOBAL, num_pseudo_heads=3))
    file = folder / "model.safetensors"
    weights = load_file(file)
    key = f"model.layers.0.self_attn.{name}"
    weights[key] = weights[key].reshape(shape)
    save_file(weights, file)
    with pytest.raises(CheckpointError, match=r"has shape .* config.json asks for"), engine(folder):
        pass


def reload(saved: Save, fold: str) -> float:
    """Largest error after other weights were put into an engine's folder and read again."""
    folder = saved(tiny_model(GLOBAL))
    other = tiny_model(GLOBAL, seed=5)
    with engine(folder, additional_config={"iha_fold": fold}) as llm:
        generate(llm, PROMPTS[:1])
        other.save_pretrained(folder)
        llm.collective_rpc("reload_weights")
        llm.reset_prefix_cache()
        return worst_logprob(other, PROMPTS, generate(llm, PROMPTS))


@pytest.mark.long
def test_narrow_weights_loaded_in_place_are_repeated_wherever_they_are_kept(saved: Save) -> None:
    """As one does who trains and samples in turn: `load_weights` on the running model, no more.

    Of what is IHA's own: vLLM's CPU build has packed the projections away.
    """
    model, other = tiny_model(GLOBAL).bfloat16(), tiny_model(GLOBAL, seed=5).bfloat16()
    unfolded = {"additional_config": {"iha_fold": "never"}, "dtype": "bfloat16"}
    with engine(saved(model), **unfolded) as llm:
        runner = llm.llm_engine.engine_core.engine_core.model_executor.driver_worker.worker
        served = runner.model_runner.model
        own = ("alpha_q", "alpha_k", "alpha_v", "collapse")
        served.load_weights(item for item in other.state_dict().items() if item[0].endswith(own))
        layers = [part for part in served.modules() if getattr(part, "must_mix", False)]
        assert layers
        for layer in layers:
            torch.testing.assert_close(layer.wide_collapse, layer.collapse.data.float())
            torch.testing.assert_close(layer.wide_alpha, layer.block_alpha.float())
        stored = other.model.layers[0].self_attn.collapse
        assert layers[0].collapse.float().sum() == pytest.approx(stored.float().sum().item(), 1e-3)


@pytest.mark.parametrize("fold", ["never", pytest.param("always", marks=pytest.mark.long)])
def test_other_weights_can_be_loaded_into_a_running_engine(saved: Save, fold: str) -> None:
    assert reload(saved, fold) < TOLERANCE


@pytest.mark.long
def test_quantized_weights_are_not_folded_in_silence(saved: Save) -> None:
    """Who serves without this package's harness is told by the model itself."""
    arguments = {"quantization": "fp8", "dtype": "bfloat16"}
    folded = {"additional_config": {"iha_fold": "always"}}
    with (
        pytest.raises(BackendError, match=r"are quantized \(fp8\).*set iha_fold to 'auto'"),
        engine(saved(tiny_model(GLOBAL)), **arguments, **folded),
    ):
        pass


@pytest.mark.long
def test_a_packed_folded_layer_is_not_loaded_into(saved: Save) -> None:
    """VLLM's CPU build has packed its projections away, and only `reload_weights` unpacks them."""
    model = tiny_model(GLOBAL)
    with engine(saved(model), additional_config={"iha_fold": "always"}) as llm:
        runner = llm.llm_engine.engine_core.engine_core.model_executor.driver_worker.worker
        served = runner.model_runner.model
        with pytest.raises(CheckpointError, match="is folded and can be loaded only whole and"):
            served.load_weights(model.state_dict().items())


def llama_twin(model: Any) -> LlamaForCausalLM:
    """Plain Llama with the same projections."""
    fields = {k: v for k, v in model.config.to_dict().items() if k != "model_type"}
    twin = LlamaForCausalLM(LlamaConfig(**fields)).eval()
    own = twin.state_dict()
    twin.load_state_dict({k: v for k, v in model.state_dict().items() if k in own})
    return twin


@pytest.mark.parametrize(
    ("pseudo", "rope"), [(1, "virtual"), (3, "token")], ids=["P1", "P3-token-last"]
)
def test_identities_are_plain_llama(pseudo: int, rope: str, saved: Save) -> None:
    """P=1 with identities, and token RoPE with the last pseudo-head, serve plain Llama."""
    model = tiny_model(GLOBAL, num_pseudo_heads=pseudo, pseudo_rope=rope)
    with torch.no_grad():
        for layer in model.model.layers:
            attention = layer.self_attn
            for alpha in (attention.alpha_q, attention.alpha_k, attention.alpha_v):
                alpha.copy_(torch.eye(len(alpha)).unsqueeze(-1).expand(alpha.shape))
            last = torch.zeros(pseudo)
            last[-1] = 1
            attention.collapse.copy_(torch.kron(torch.eye(4), last))
    with engine(saved(model)) as llm:
        outputs = generate(llm, PROMPTS)
    assert worst_logprob(llama_twin(model), PROMPTS, outputs) < TOLERANCE


@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float16", marks=pytest.mark.long)])
def test_half_precision_is_no_worse_than_plain_llama(dtype: str, saved: Save) -> None:
    """Rounding in the served IHA model stays within twice that of its plain twin."""
    model = tiny_model(MIXED, initializer_range=0.1)
    prompts = [random_ids(length) for length in (5, 63, 255)]
    errors = []
    for reference in (model, llama_twin(model)):
        with engine(saved(reference), dtype=dtype) as llm:
            outputs = generate(llm, prompts, tokens=1)
        errors.append(prompt_error(reference, prompts, outputs))
    assert errors[0] < 2 * errors[1]


@torch.no_grad()
def prompt_error(model: Any, prompts: list[list[int]], outputs: list[Any]) -> float:
    """Mean |delta logprob| over the prompts against float32."""
    deltas = []
    for prompt, output in zip(prompts, outputs, strict=True):
        reference = model(torch.tensor([prompt])).logits[0].log_softmax(-1)
        for index in range(1, len(prompt)):
            served = output.prompt_logprobs[index][prompt[index]].logprob
            deltas.append(abs(served - reference[index - 1, prompt[index]].item()))
    return sum(deltas) / len(deltas)
