"""The Transformers model against the naive one, with caches, padding, gradients and files."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import GLOBAL, HYBRID, MIXED, random_ids, tiny_config, tiny_model
from torch import Tensor
from transformers import AutoModelForCausalLM

from model_adapters import IHALlamaForCausalLM, IHALlamaModel, naive
from model_adapters.hf import attention
from model_adapters.hf.attention import make_cache
from model_adapters.hf.modeling import cache_problem

SCHEDULES = {"global": GLOBAL, "hybrid": HYBRID, "mixed": MIXED}
SHAPES = [
    pytest.param(pseudo, schedule, rope, kv_heads, id=f"P{pseudo}-{schedule}-{rope}-G{kv_heads}")
    for pseudo, schedule, rope, kv_heads in [
        (1, "mixed", "virtual", 4),
        (2, "mixed", "virtual", 2),
        (2, "global", "token", 1),
        (3, "hybrid", "virtual", 2),
        (3, "mixed", "token", 4),
        (4, "mixed", "virtual", 1),
        (4, "hybrid", "token", 2),
    ]
]


def reference(model: IHALlamaForCausalLM, ids: list[int]) -> Tensor:
    """Naive logits from the model's own weights, in its type."""
    return naive.logits(model.state_dict(), model.config, ids)


@pytest.mark.parametrize(("pseudo", "schedule", "rope", "kv_heads"), SHAPES)
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@torch.no_grad()
def test_logits_equal_the_naive_ones(
    pseudo: int, schedule: str, rope: str, kv_heads: int, implementation: str
) -> None:
    """At awkward lengths, whole and in cached pieces of five tokens."""
    model = tiny_model(
        SCHEDULES[schedule],
        num_pseudo_heads=pseudo,
        pseudo_rope=rope,
        num_key_value_heads=kv_heads,
    )
    model.set_attn_implementation(implementation)
    for length in (1, 2, 63, 129):
        ids = random_ids(length)
        want = reference(model, ids)
        assert (model(torch.tensor([ids])).logits[0] - want).abs().max() < 1e-4
        assert (in_pieces(model, ids, 5) - want).abs().max() < 1e-4


def in_pieces(model: IHALlamaForCausalLM, ids: list[int], size: int) -> Tensor:
    """Logits from calls over consecutive pieces with the cache in between."""
    cache, logits = None, []
    for start in range(0, len(ids), size):
        piece = torch.tensor([ids[start : start + size]])
        output = model(piece, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        logits.append(output.logits[0])
    return torch.cat(logits)


@torch.no_grad()
def test_a_thousand_tokens_cross_the_query_blocks() -> None:
    """1000 tokens of P=3 are 3000 virtual queries, blocks where windowed, one call where not."""
    model = tiny_model(["iha_sliding", "iha_global"], num_pseudo_heads=3)
    assert 2 * attention.BLOCK < 3 * 1000
    ids = random_ids(1000)
    got = model(torch.tensor([ids])).logits[0]
    assert (got - reference(model, ids)).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["linear", "llama3", "yarn"])
@torch.no_grad()
def test_scaled_rotary_embeddings(kind: str) -> None:
    """The scalings that keep their frequencies fixed."""
    rope = {"rope_type": kind, "rope_theta": 1e4, "factor": 4.0}
    if kind == "llama3":
        rope |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    if kind != "linear":
        rope["original_max_position_embeddings"] = 64
    model = tiny_model(rope_parameters=rope)
    ids = random_ids(129)
    assert (model(torch.tensor([ids])).logits[0] - reference(model, ids)).abs().max() < 1e-4
    plain = tiny_model()
    assert (plain(torch.tensor([ids])).logits[0] - reference(model, ids)).abs().max() > 1e-2


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_left_padded_batches_generate_what_each_row_generates_alone(implementation: str) -> None:
    """Rows of 3, 30 and 61 tokens together and apart; logits of the prompt too."""
    model = tiny_model(num_pseudo_heads=3)
    model.set_attn_implementation(implementation)
    rows = [random_ids(length) for length in (3, 30, 61)]
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    together = model.generate(ids, attention_mask=mask, max_new_tokens=24, do_sample=False)
    for index, row in enumerate(rows):
        alone = model.generate(torch.tensor([row]), max_new_tokens=24, do_sample=False)
        assert together[index, width:].tolist() == alone[0, len(row) :].tolist()
        with torch.no_grad():
            logits = model(ids, attention_mask=mask).logits[index, width - len(row) :]
        assert (logits - reference(model, row)).abs().max() < 1e-4


def test_generation_with_the_cache_equals_generation_without() -> None:
    """Far past the window, so that sliding layers have dropped tokens."""
    model = tiny_model(HYBRID)
    prompt = torch.tensor([random_ids(40)])
    cached = model.generate(prompt, max_new_tokens=60, do_sample=False, use_cache=True)
    plain = model.generate(prompt, max_new_tokens=60, do_sample=False, use_cache=False)
    assert cached.tolist() == plain.tolist()


@pytest.mark.parametrize("window", [1, 2, 17])
@torch.no_grad()
def test_a_sliding_layer_keeps_only_its_window(window: int) -> None:
    """W tokens in an IHA layer, W - 1 in a plain one, everything in a global one."""
    model = tiny_model(iha_window=window, num_pseudo_heads=2)
    cache = make_cache(model.config)
    model(torch.tensor([random_ids(50)]), past_key_values=cache, use_cache=True)
    kept = [layer.keys.shape[2] for layer in cache.layers]
    assert kept == [window, 50, 50, max(window - 1, 1)]
    assert cache.get_seq_length() == 50
    ids = random_ids(64)
    assert (in_pieces(model, ids, 7) - reference(model, ids)).abs().max() < 1e-4


@torch.no_grad()
def test_the_stock_cache_works_too_and_merely_keeps_more() -> None:
    """Who brings Transformers' DynamicCache gets the same numbers."""
    from transformers import DynamicCache

    model = tiny_model()
    ids = random_ids(64)
    cache = DynamicCache(config=model.config)
    first = model(torch.tensor([ids[:30]]), past_key_values=cache, use_cache=True).logits[0]
    second = model(torch.tensor([ids[30:]]), past_key_values=cache, use_cache=True).logits[0]
    assert (torch.cat([first, second]) - reference(model, ids)).abs().max() < 1e-4


def test_beam_search_reorders_the_cache() -> None:
    """Beams over packed cache entries equal beams without a cache."""
    model = tiny_model()
    prompt = torch.tensor([random_ids(20)])
    settings = {"num_beams": 3, "max_new_tokens": 12, "do_sample": False}
    cached = model.generate(prompt, use_cache=True, **settings)
    plain = model.generate(prompt, use_cache=False, **settings)
    assert cached.tolist() == plain.tolist()


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_gradients_equal_the_naive_ones(implementation: str) -> None:
    """Every parameter, IHA's own included, gets the gradient of the definition."""
    model = tiny_model(num_pseudo_heads=2)
    model.set_attn_implementation(implementation)
    ids = random_ids(33)
    weights = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    target = torch.randn(33, 97, generator=torch.Generator().manual_seed(1))
    (naive.logits(weights, model.config, ids) * target).sum().backward()
    (model(torch.tensor([ids])).logits[0] * target).sum().backward()
    for name, parameter in model.named_parameters():
        want = weights[name].grad
        assert want is not None, name
        assert parameter.grad is not None, name
        assert (parameter.grad - want).abs().max() < 1e-3 * (1 + want.abs().max()), name
        if name.endswith(("alpha_q", "alpha_k", "alpha_v", "collapse")):
            assert want.abs().max() > 0, name


def test_gradient_checkpointing_changes_nothing() -> None:
    """Same loss and same gradients with recomputed layers."""
    ids = torch.tensor([random_ids(20)])
    grads = []
    for checkpointing in (False, True):
        model = tiny_model().train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        model(ids, labels=ids).loss.backward()
        grads.append(model.model.layers[0].self_attn.alpha_q.grad)
    assert torch.equal(grads[0], grads[1])


def test_dropout_is_applied_in_training_only() -> None:
    """attention_dropout moves the loss in training mode and not in evaluation mode."""
    for implementation in ("eager", "sdpa"):
        model = tiny_model(attention_dropout=0.5)
        model.set_attn_implementation(implementation)
        ids = torch.tensor([random_ids(20)])
        with torch.no_grad():
            still = model(ids).logits
            assert torch.equal(still, model(ids).logits)
            assert not torch.allclose(still, model.train()(ids).logits)


def test_saving_and_loading_keeps_every_bit(tmp_path: Path) -> None:
    """Through AutoModelForCausalLM, safetensors only, spec's names and shapes."""
    model = tiny_model(num_pseudo_heads=3)
    model.save_pretrained(tmp_path)
    assert [file.name for file in tmp_path.glob("*.safetensors")] == ["model.safetensors"]
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert isinstance(loaded, IHALlamaForCausalLM)
    state = loaded.state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    prefix = "model.layers.0.self_attn."
    assert state[f"{prefix}alpha_q"].shape == (4, 4, 3)
    assert state[f"{prefix}alpha_k"].shape == (2, 2, 3)
    assert state[f"{prefix}alpha_v"].shape == (2, 2, 3)
    assert state[f"{prefix}collapse"].shape == (4, 12)
    assert not [name for name in state if "layers.2" in name and "alpha" in name]


def test_outputs_can_be_recorded() -> None:
    """Hidden states per layer; weights over virtual tokens in eager mode."""
    model = tiny_model(num_pseudo_heads=2)
    model.set_attn_implementation("eager")
    ids = torch.tensor([random_ids(5)])
    output = model(ids, output_hidden_states=True, output_attentions=True)
    assert len(output.hidden_states) == 5
    assert [list(w.shape) for w in output.attentions] == [[1, 4, 10, 10]] * 2 + [[1, 4, 5, 5]] * 2


def test_embeddings_instead_of_ids() -> None:
    """The same logits from inputs_embeds; both or neither is refused."""
    model = tiny_model()
    ids = torch.tensor([random_ids(9)])
    embeds = model.model.embed_tokens(ids)
    assert torch.equal(model(inputs_embeds=embeds).logits, model(ids).logits)
    with pytest.raises(ValueError, match="exactly one"):
        model.model(input_ids=ids, inputs_embeds=embeds)


def test_a_four_dimensional_mask_is_refused() -> None:
    """IHA makes its own causal mask."""
    with pytest.raises(ValueError, match=r"\[batch, 9\]"):
        tiny_model()(torch.tensor([random_ids(9)]), attention_mask=torch.ones(1, 1, 9, 9))


def test_fresh_models_start_near_multi_head_attention() -> None:
    """Each pseudo-head starts as its own head, the collapse as the mean (section 3)."""
    model = IHALlamaForCausalLM(tiny_config(initializer_range=0.0))
    layer = model.model.layers[0].self_attn
    assert torch.equal(layer.alpha_q[..., 1], torch.eye(4))
    assert torch.equal(layer.collapse, torch.eye(4).repeat_interleave(2, dim=1) / 2)


def test_parameter_count_of_the_paper() -> None:
    """H^2 P + 2 G^2 P + H^2 P extra parameters per IHA layer; 4 H^2 P when G = H."""
    config = tiny_config(HYBRID)
    with torch.device("meta"):
        model = IHALlamaForCausalLM(config)
    heads, kv_heads, pseudo = 4, 2, 2
    extra = sum(p.numel() for n, p in model.named_parameters() if "alpha" in n or "collapse" in n)
    iha_layers = 4
    assert extra == iha_layers * (2 * heads**2 * pseudo + 2 * kv_heads**2 * pseudo)


def test_cached_generation_is_right_under_the_installed_transformers() -> None:
    assert cache_problem() is None


def test_a_model_that_forgets_its_cache_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where what a model is handed has a new name, which it takes for nothing of its own."""
    forward = IHALlamaModel.forward

    def forgetful(self: IHALlamaModel, *args: Any, **given: Any) -> Any:
        return forward(self, *args, **{**given, "past_key_values": None, "cache": None})

    monkeypatch.setattr(IHALlamaModel, "forward", forgetful)
    assert "generates other tokens with a cache than without one" in str(cache_problem())


NEW_NAMES = """
import transformers
from model_adapters.hf.modeling import cache_problem
print(transformers.__version__, cache_problem())
"""


@pytest.mark.long
def test_cached_generation_is_right_under_the_newest_transformers(tmp_path: Path) -> None:
    """Its wheel is unpacked beside; skipped where the index cannot be reached or asks for more."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(tmp_path)]
    if subprocess.run([*pip, "transformers"], check=False).returncode:
        pytest.skip("the newest transformers cannot be downloaded")
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    child = subprocess.run(
        [sys.executable, "-c", NEW_NAMES],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if "is required for a normal functioning" in child.stderr:
        pytest.skip("the newest transformers asks for other releases than are installed")
    assert child.stdout.split()[0] == wheel.name.split("-")[1], child.stderr
    assert child.stdout.split()[1:] == ["None"]
