"""Random checkpoints in the layout of public IHA code, brought in by the maps in examples/maps.

Each equals a reference that is written here from what that code computes, in loops over heads.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_models import VOCABULARY, plain_config, save_plain, save_qwen3, stored
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PretrainedConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from iha_eval.cli._convert_map import read_map
from model_adapters import IHAConfig, IHALlamaForCausalLM
from model_adapters.convert import ConversionError, from_state_dict, to_plain
from model_adapters.inspection import read_layers

MAPS = Path(__file__).parents[2] / "examples" / "maps"
IDS = torch.randint(1, VOCABULARY, (40,), generator=torch.Generator().manual_seed(1))
State = dict[str, Tensor]
Attention = Callable[[State, Any, Tensor], Tensor]


def randn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def rms(states: Tensor, weight: Tensor, eps: float) -> Tensor:
    return states * (states.pow(2).mean(-1, True) + eps).rsqrt() * weight


def turned(states: Tensor, positions: Tensor, config: Any) -> Tensor:
    """One head, [L, d]."""
    angles = torch.outer(positions.float(), LlamaRotaryEmbedding(config).inv_freq)
    a, b = states.chunk(2, -1)
    return torch.cat(
        [a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], dim=-1
    )


def attended(query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
    """One head, [L, d]."""
    scores = query @ key.T / query.shape[-1] ** 0.5
    return scores.masked_fill(~seen, float("-inf")).softmax(-1) @ value


def decoder(state: State, config: Any, attention: Attention) -> Tensor:
    """Llama's decoder around an attention of [N, D] that is handed a layer's tensors."""
    hidden = state["model.embed_tokens.weight"][IDS]
    for layer in range(config.num_hidden_layers):
        prefix = f"model.layers.{layer}."
        own = {name[len(prefix) :]: t for name, t in state.items() if name.startswith(prefix)}
        normed = rms(hidden, own["input_layernorm.weight"], config.rms_norm_eps)
        hidden = hidden + attention(own, config, normed)
        normed = rms(hidden, own["post_attention_layernorm.weight"], config.rms_norm_eps)
        gate = torch.nn.functional.silu(normed @ own["mlp.gate_proj.weight"].T)
        up = normed @ own["mlp.up_proj.weight"].T
        hidden = hidden + (gate * up) @ own["mlp.down_proj.weight"].T
    hidden = rms(hidden, state["model.norm.weight"], config.rms_norm_eps)
    return hidden @ state.get("lm_head.weight", state["model.embed_tokens.weight"]).T


def heads_of(own: State, part: str, width: int, hidden: Tensor) -> list[Tensor]:
    bias = own.get(f"self_attn.{part}_proj.bias")
    projected = torch.nn.functional.linear(hidden, own[f"self_attn.{part}_proj.weight"], bias)
    return list(projected.split(width, dim=-1))


def output(own: State, heads: list[Tensor]) -> Tensor:
    bias = own.get("self_attn.o_proj.bias")
    return torch.nn.functional.linear(torch.cat(heads, -1), own["self_attn.o_proj.weight"], bias)


def mixed(heads: list[Tensor], weights: Tensor) -> list[Tensor]:
    """Weights by source and destination head."""
    return [
        sum((weights[s, h] * heads[s] for s in range(len(heads))), torch.zeros(()))
        for h in range(weights.shape[1])
    ]


def plain_heads(query: list[Tensor], key: list[Tensor], value: list[Tensor]) -> list[Tensor]:
    """Ordinary causal attention, several heads to a key head."""
    tokens = torch.arange(len(IDS))
    seen, group = tokens[:, None] >= tokens[None, :], len(query) // len(key)
    return [attended(q, key[h // group], value[h // group], seen) for h, q in enumerate(query)]


def normed_then_mixed(own: State, config: Any, hidden: Tensor) -> Tensor:
    """Norm, mix with M [source, destination], rotate."""
    width, eps, positions = config.head_dim, config.rms_norm_eps, torch.arange(len(IDS))
    query, key, value = (heads_of(own, part, width, hidden) for part in "qkv")
    query = [rms(head, own["self_attn.q_norm.weight"], eps) for head in query]
    key = [rms(head, own["self_attn.k_norm.weight"], eps) for head in key]
    query, key, value = (
        mixed(heads, own[f"self_attn.iha_mixing.M_{part}"])
        for heads, part in ((query, "Q"), (key, "K"), (value, "V"))
    )
    query, key = ([turned(head, positions, config) for head in heads] for heads in (query, key))
    return output(own, plain_heads(query, key, value))


def mixed_queries_and_keys(own: State, config: Any, hidden: Tensor) -> Tensor:
    """Mix with weights [destination, source], rotate; values as they are."""
    positions = torch.arange(len(IDS))
    query, key, value = (heads_of(own, part, config.head_dim, hidden) for part in "qkv")
    query = mixed(query, own["self_attn.q_mix"].T)
    key = mixed(key, own["self_attn.k_mix"].T)
    query, key = ([turned(head, positions, config) for head in heads] for heads in (query, key))
    return output(own, plain_heads(query, key, value))


def token_causal(own: State, config: Any, hidden: Tensor) -> Tensor:
    """All pseudo-heads of a token see all of every earlier token's and of its own, W tokens."""
    pseudo, tokens = config.num_pseudo_heads, len(IDS)
    parts = []
    for part in "qkv":
        heads = heads_of(own, part, config.head_dim, hidden)
        alpha = own[f"self_attn.alpha_{part}"]
        # [N, P, d] of each head, then virtual token n * P + p.
        many = [mixed(heads, alpha[..., p]) for p in range(pseudo)]
        parts.append(
            [torch.stack([many[p][h] for p in range(pseudo)], 1) for h in range(len(heads))]
        )
    query, key, value = ([head.flatten(0, 1) for head in heads] for heads in parts)
    positions = torch.arange(tokens * pseudo)
    query, key = ([turned(head, positions, config) for head in heads] for heads in (query, key))
    token = positions // pseudo
    seen = token[:, None] >= token[None, :]
    seen &= token[:, None] - token[None, :] < config.iha_window
    made = []
    for h, weights in enumerate(own["self_attn.collapse"]):
        rows = attended(query[h], key[h], value[h], seen).unflatten(0, (tokens, pseudo))
        made.append(sum((weights[p] * rows[:, p] for p in range(pseudo)), torch.zeros(())))
    return output(own, made)


def normed_heads(own: State, config: Any, hidden: Tensor) -> list[list[Tensor]]:
    """Queries and keys, each head with a norm of its own, and values."""
    made = [heads_of(own, part, config.head_dim, hidden) for part in "qkv"]
    for heads, part in zip(made[:2], "qk", strict=True):
        weights = own[f"self_attn.{part}_norm.weight"]
        heads[:] = [rms(h, w, config.rms_norm_eps) for h, w in zip(heads, weights, strict=True)]
    return made


def global_or_local(own: State, config: Any, hidden: Tensor) -> Tensor:
    """IHA without rotation where there is an alpha, else a window of rotated plain heads."""
    query, key, value = normed_heads(own, config, hidden)
    tokens, group = torch.arange(len(IDS)), len(query) // len(key)
    if "self_attn.alpha_Q" not in own:
        query, key = ([turned(head, tokens, config) for head in heads] for heads in (query, key))
        back = tokens[:, None] - tokens[None, :]
        seen = (back >= 0) & (back < config.iha_window)
        local = [attended(q, key[h // group], value[h // group], seen) for h, q in enumerate(query)]
        return output(own, local)
    pseudo, many = config.num_pseudo_heads, []
    for heads, part in ((query, "Q"), (key, "K"), (value, "V")):
        alpha = own[f"self_attn.alpha_{part}"].transpose(0, 1)
        each = [mixed(heads, alpha[..., p]) for p in range(pseudo)]
        many.append(
            [
                torch.stack([each[p][h] for p in range(pseudo)], 1).flatten(0, 1)
                for h in range(len(heads))
            ]
        )
    query, key, value = many
    virtual = torch.arange(len(IDS) * pseudo)
    seen = virtual[:, None] >= virtual[None, :]
    rows = [
        attended(q, key[h // group], value[h // group], seen).unflatten(0, (-1, pseudo))
        for h, q in enumerate(query)
    ]
    stacked = [rows[s][:, p] for s in range(len(rows)) for p in range(pseudo)]
    weights = own["self_attn.R"]
    return output(own, mixed(stacked, weights.T))


@torch.no_grad()
def brought_in(
    name: str, state: State, shape: Path, out: Path, config: PretrainedConfig, attention: Attention
) -> float:
    """Largest difference of logits from the reference's."""
    file = out.with_suffix(".safetensors")
    save_file(state, file)
    plan, _ = read_map(MAPS / f"{name}.yaml")
    from_state_dict(file, shape, out, plan)
    model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    assert isinstance(model, IHALlamaForCausalLM)
    made = model(IDS[None]).logits[0]
    return float((made - decoder(state, config, attention)).abs().max())


def test_qwen3_with_heads_mixed_after_their_norm(tmp_path: Path) -> None:
    base = save_qwen3(tmp_path / "base", attention_bias=False)
    model = AutoModelForCausalLM.from_pretrained(base)
    state = stored(base)
    for layer in range(2):
        prefix = f"model.layers.{layer}.self_attn.iha_mixing.M_"
        state |= {f"{prefix}{part}": randn(m, m) for part, m in (("Q", 4), ("K", 2), ("V", 2))}
    name, out = "qwen3_iha_lite", tmp_path / "iha"
    assert brought_in(name, state, base, out, model.config, normed_then_mixed) < 1e-4
    with pytest.raises(ConversionError, match="after their norm"):
        to_plain(out, tmp_path / "plain")


@torch.no_grad()
def test_mixed_queries_and_keys_are_a_plain_llama_in_disguise(tmp_path: Path) -> None:
    base, out = save_plain(tmp_path / "base"), tmp_path / "iha"
    state = stored(base)
    for layer in range(3):
        prefix = f"model.layers.{layer}.self_attn."
        state |= {f"{prefix}q_mix": randn(4, 4), f"{prefix}k_mix": randn(2, 2)}
    config = plain_config()
    worst = brought_in("head_mixing", state, base, out, config, mixed_queries_and_keys)
    assert worst < 1e-4
    to_plain(out, tmp_path / "plain")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "plain", dtype=torch.float32)
    wanted = decoder(state, config, mixed_queries_and_keys)
    assert (plain(IDS[None]).logits[0] - wanted).abs().max() < 1e-4


@pytest.mark.parametrize("pseudo", [2, 3])
def test_a_layer_that_masks_by_token(pseudo: int, tmp_path: Path) -> None:
    fields: dict[str, Any] = {
        "num_pseudo_heads": pseudo,
        "num_key_value_heads": 4,
        "iha_layer_types": ["iha_sliding"] * 3,
        "iha_window": 7,
        "pseudo_causal": "token",
        "pseudo_window": "token",
        "collapse": "per_head",
        "attention_bias": True,
        "architectures": ["IHALlamaForCausalLM"],
    }
    config = IHAConfig(**plain_config().to_dict() | {"model_type": "iha_llama"} | fields)
    torch.manual_seed(0)
    model = IHALlamaForCausalLM(config)
    state = {name: randn(*tensor.shape) * 0.3 for name, tensor in model.state_dict().items()}
    shape, out = tmp_path / "shape", tmp_path / "iha"
    config.save_pretrained(shape)
    assert brought_in("token_causal_layer", state, shape, out, config, token_causal) < 1e-4
    layer = read_layers(out)[0]
    assert layer.collapse.shape == (4, 4 * pseudo)


def test_global_layers_without_rotation_beside_local_ones(tmp_path: Path) -> None:
    fields: dict[str, Any] = {
        "num_pseudo_heads": 2,
        "iha_layer_types": ["sliding", "sliding", "iha_global"],
        "iha_window": 9,
        "pseudo_rope": "none",
        "qk_norm": "head_before_mixing",
        "qk_norm_weight": "per_head",
        "architectures": ["IHALlamaForCausalLM"],
    }
    config = IHAConfig(**plain_config().to_dict() | {"model_type": "iha_llama"} | fields)
    torch.manual_seed(0)
    model = IHALlamaForCausalLM(config)
    state = {name: randn(*tensor.shape) * 0.3 for name, tensor in model.state_dict().items()}
    prefix = "model.layers.2.self_attn."
    for part in "qkv":
        alpha = state.pop(f"{prefix}alpha_{part}")
        state[f"{prefix}alpha_{part.upper()}"] = alpha.transpose(0, 1).contiguous()
    state[f"{prefix}R"] = state.pop(f"{prefix}collapse")
    shape, out = tmp_path / "shape", tmp_path / "iha"
    config.save_pretrained(shape)
    assert brought_in("nope_global_layer", state, shape, out, config, global_or_local) < 1e-4
