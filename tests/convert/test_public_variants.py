"""Random checkpoints in the layout of public IHA code, brought in by the maps in examples/maps.

Each equals a reference that is written here from what that code computes, in loops over heads.
Configurations are those that the maps spell out, but for sizes.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
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
from model_adapters import IHAConfig, IHALlamaForCausalLM, IHANanoChatForCausalLM, naive
from model_adapters.convert import ConversionError, StateDictMap, from_state_dict, to_plain
from model_adapters.inspection import read_layers

MAPS = Path(__file__).parents[2] / "examples" / "maps"
IDS = torch.randint(1, VOCABULARY, (40,), generator=torch.Generator().manual_seed(1))
State = dict[str, Tensor]
Attention = Callable[[State, Any, Tensor], Tensor]


def stated(name: str, **sizes: Any) -> dict[str, Any]:
    """The configuration in a map's comment, but for sizes; "..." in its lists is left out."""
    lines = (MAPS / f"{name}.yaml").read_text().splitlines()
    fields = [line.strip("#{} ") for line in lines if re.match(r'#  +\{?"', line)]
    fields[-1] = fields[-1].rstrip("}")
    made: dict[str, Any] = json.loads("{" + re.sub(r", \.{2,3}", "", " ".join(fields)) + "}")
    return made | sizes


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
        # A left window of 8.
        seen = (back >= 0) & (back <= 8)
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


def flipped(states: Tensor, positions: Tensor, theta: float) -> Tensor:
    """One head, [L, d], turned the other way than Llama's."""
    half = states.shape[-1] // 2
    angles = positions[:, None].float() / theta ** (torch.arange(half) / half)
    a, b = states.chunk(2, -1)
    return torch.cat(
        [a * angles.cos() + b * angles.sin(), b * angles.cos() - a * angles.sin()], dim=-1
    )


@dataclass(frozen=True)
class Chat:
    """What nanochat and slowrun do that their tensors do not say.

    Attributes:
        width: d.
        pseudo: P.
        windows: for each layer the virtual tokens or, with `by_token`, tokens that are seen.
        theta: of rotary embedding, at virtual positions.
        sharpness: factor on normed queries and keys.
        gate: values' embeddings get so many sigmoids.
        cap: of logits.
        order: layers in the order they are passed.
    """

    width: int
    pseudo: int
    windows: tuple[int, ...]
    by_token: bool
    theta: float
    sharpness: float
    gate: float
    cap: float
    order: tuple[int, ...]


def unweighted(states: Tensor) -> Tensor:
    return rms(states, torch.ones(()), torch.finfo(torch.float32).eps)


def chat_attention(own: State, chat: Chat, layer: int, x: Tensor, ve: Tensor | None) -> Tensor:
    """One layer's, with whichever tensors it has."""
    tokens, pseudo, names = len(x), chat.pseudo, ("q", "k", "v")
    query, key, value = ((x @ own[f"attn.c_{n}.weight"].T).split(chat.width, -1) for n in names)
    added: list[Tensor] = []
    if ve is not None:
        channels = own["attn.ve_gate.weight"].shape[1]
        gate = chat.gate * (x[:, :channels] @ own["attn.ve_gate.weight"].T).sigmoid()
        added = [gate[:, g, None] * e for g, e in enumerate(ve.split(chat.width, -1))]
    alphas = [own.get(f"attn.alpha_{n}", own.get(f"attn.{n}_mix")) for n in names]
    is_square = alphas[0] is not None and alphas[0].dim() == 2
    if added and not is_square:
        value = tuple(v + e for v, e in zip(value, added, strict=True))
    many = []
    for heads, alpha in zip((query, key, value), alphas, strict=True):
        assert alpha is not None
        # Square ones have the destination first.
        alpha = alpha.T[..., None] if is_square else alpha
        each = [mixed(list(heads), alpha[..., p]) for p in range(pseudo)]
        many.append(
            [torch.stack([each[p][h] for p in range(pseudo)], 1) for h in range(len(heads))]
        )
    queries, keys, values = ([head.flatten(0, 1) for head in heads] for heads in many)
    if added and is_square:
        values = [v + e for v, e in zip(values, added, strict=True)]
    virtual = torch.arange(tokens * pseudo)
    queries, keys = (
        [chat.sharpness * unweighted(flipped(head, virtual, chat.theta)) for head in heads]
        for heads in (queries, keys)
    )
    index = virtual // pseudo if chat.by_token else virtual
    seen = (virtual[:, None] >= virtual) & (index[:, None] - index < chat.windows[layer])
    group, made = len(queries) // len(keys), []
    for h, head in enumerate(queries):
        rows = attended(head, keys[h // group], values[h // group], seen)
        made.append(rows.unflatten(0, (tokens, pseudo)))
    collapse = own.get("attn.collapse", torch.ones(len(made), 1))
    if collapse.shape[1] == pseudo:
        heads = [(w[:, None] * rows).sum(1) for w, rows in zip(collapse, made, strict=True)]
    else:
        heads = mixed([rows[:, p] for rows in made for p in range(pseudo)], collapse.T)
    if "attn.attn_gate.weight" in own:
        channels = own["attn.attn_gate.weight"].shape[1]
        gate = (x[:, :channels] @ own["attn.attn_gate.weight"].T).sigmoid()
        heads = [gate[:, h, None] * head for h, head in enumerate(heads)]
    return torch.cat(heads, -1) @ own["attn.c_proj.weight"].T


def chat_logits(state: State, chat: Chat, vocabulary: int) -> Tensor:
    """nanochat's or slowrun's decoder, as the tensors are there."""
    x = unweighted(state["transformer.wte.weight"][IDS])
    if "smear_gate.weight" in state:
        channels = state["smear_gate.weight"].shape[1]
        gate = state["smear_lambda"] * (x[1:, :channels] @ state["smear_gate.weight"].T).sigmoid()
        x = torch.cat([x[:1], x[1:] + gate * x[:-1]])
    start, outputs, layers = x, {}, max(chat.order) + 1
    for layer in chat.order:
        prefix, half = f"transformer.h.{layer}.", layers // 2
        own = {name[len(prefix) :]: t for name, t in state.items() if name.startswith(prefix)}
        if "skip_weights" in state and layer >= half:
            x = x + state["skip_weights"][layer - half] * outputs[layers - 1 - layer]
        x = state["resid_lambdas"][layer] * x + state["x0_lambdas"][layer] * start
        ve = None
        if f"value_embeds.{layer}.weight" in state:
            ve = state[f"value_embeds.{layer}.weight"][IDS]
        if f"ve_projs.{layer}.weight" in state:
            ve = start @ state[f"ve_projs.{layer}.weight"].T
        x = x + chat_attention(own, chat, layer, unweighted(x), ve)
        inner = unweighted(x) @ own["mlp.c_fc.weight"].T
        if "mlp.c_gate.weight" in own:
            gate = unweighted(x) @ own["mlp.c_gate.weight"].T
            inner = torch.nn.functional.silu(gate) * inner
        else:
            inner = inner.relu() ** 2
        x = x + inner @ own["mlp.c_proj.weight"].T
        outputs[layer] = x
    if "backout_lambda" in state:
        x = x - state["backout_lambda"] * outputs[layers // 2]
    made = (unweighted(x) @ state["lm_head.weight"].T)[:, :vocabulary]
    return chat.cap * torch.tanh(made / chat.cap)


def chat_state(heads: int, width: int, layers: int, padded: int, mlp: tuple[str, ...]) -> State:
    """What nanochat and slowrun have in common; embeddings have rows that nothing reads."""
    hidden, inner = heads * width, 48
    state = {
        "transformer.wte.weight": randn(padded, hidden),
        "lm_head.weight": randn(padded, hidden),
        "resid_lambdas": 1 + 0.2 * randn(layers),
        "x0_lambdas": randn(layers),
    }
    for layer in range(layers):
        prefix = f"transformer.h.{layer}."
        for name in ("c_q", "c_k", "c_v", "c_proj"):
            state[f"{prefix}attn.{name}.weight"] = 0.3 * torch.randn(hidden, hidden)
        for name in mlp:
            state[f"{prefix}mlp.{name}.weight"] = 0.3 * torch.randn(inner, hidden)
        state[f"{prefix}mlp.c_proj.weight"] = 0.3 * torch.randn(hidden, inner)
    return state


CHAT_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "value_embedding_layers": [1, 3],
}


def slowrun(pseudo: int) -> tuple[State, dict[str, Any], Chat]:
    """Four layers, with one square matrix of mixing (P = 1) or interleaved."""
    torch.manual_seed(pseudo)
    heads, width, layers = 4, 16, 4
    state = chat_state(heads, width, layers, 64, ("c_gate", "c_fc"))
    state |= {"skip_weights": randn(2), "mtp_proj.weight": randn(3, 3)}
    state |= {"mtp_block.attn.c_q.weight": randn(3, 3)}
    for layer in range(layers):
        prefix = f"transformer.h.{layer}.attn."
        state[f"{prefix}attn_gate.weight"] = torch.randn(heads, 12)
        shape = (heads, heads) if pseudo == 1 else (heads, heads, pseudo)
        state |= {f"{prefix}{part}_mix": torch.randn(shape) for part in "qkv"}
        if pseudo > 1:
            state[f"{prefix}collapse"] = torch.randn(heads, pseudo)
        if layer % 2:
            state[f"{prefix}ve_gate.weight"] = torch.randn(heads, 32)
            state[f"ve_projs.{layer}.weight"] = 0.3 * torch.randn(heads * width, heads * width)
    fields = stated("slowrun", **CHAT_SIZES, skips=[[1, 2], [0, 3]])
    # A left window of 8, of 1024 tokens or 512 virtual ones there.
    fields["iha_window"] += 8 - 1024
    if pseudo > 1:
        fields |= stated("slowrun_interleaved", num_pseudo_heads=pseudo)
        fields["iha_window_virtual"] += 8 - 512
    chat = Chat(width, pseudo, (9, 9, 9, 1000), False, 1e4, 1.0, 2.0, 10.0, (0, 1, 2, 3))
    return state, fields, chat


@torch.no_grad()
def chat_brought_in(
    plan: StateDictMap, state: State, fields: dict[str, Any], chat: Chat, out: Path
) -> float:
    """Largest difference of logits from the reference's."""
    shape = out.with_name("shape")
    shape.mkdir()
    (shape / "config.json").write_text(json.dumps(fields))
    save_file(state, out.with_suffix(".safetensors"))
    from_state_dict(out.with_suffix(".safetensors"), shape, out, plan)
    model: Any = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    assert isinstance(model, IHANanoChatForCausalLM)
    wanted = chat_logits(state, chat, VOCABULARY)
    # Logits close to the cap would hide a difference.
    assert 0.5 < wanted.abs().median() < 0.9 * chat.cap
    config, ids = model.config, IDS.tolist()
    worst = (naive.logits(stored(out), config, ids) - wanted).abs().max()
    return max(float(worst), float((model(IDS[None]).logits[0] - wanted).abs().max()))


@pytest.mark.parametrize("pseudo", [1, 2, 3])
def test_a_slowrun(pseudo: int, tmp_path: Path) -> None:
    state, fields, chat = slowrun(pseudo)
    plan, _ = read_map(MAPS / ("slowrun.yaml" if pseudo == 1 else "slowrun_interleaved.yaml"))
    assert chat_brought_in(plan, state, fields, chat, tmp_path / "iha") < 1e-4


@torch.no_grad()
def test_a_slowrun_s_mixing_goes_into_its_projections(tmp_path: Path) -> None:
    """Values get their embedding after mixing, heads their gate after a collapse of ones."""
    state, fields, chat = slowrun(1)
    plan, _ = read_map(MAPS / "slowrun.yaml")
    chat_brought_in(plan, state, fields, chat, tmp_path / "iha")
    plain = to_plain(tmp_path / "iha", tmp_path / "plain").made
    assert plain.config.layer_kinds == ["sliding"] * 3 + ["full"]
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "plain", dtype=torch.float32)
    wanted = chat_logits(state, chat, VOCABULARY)
    assert (model(IDS[None]).logits[0] - wanted).abs().max() < 1e-4


def test_a_slowrun_whose_layers_are_passed_again(tmp_path: Path) -> None:
    state, fields, chat = slowrun(2)
    order = (0, 1, 2, 3, 2, 3)
    plan, _ = read_map(MAPS / "slowrun_interleaved.yaml")
    rows = {"resid_lambdas": order, "x0_lambdas": order, "skip_weights": (0, 1, 0, 1)}
    rules = [replace(r, rows=rows.get(r.source, r.rows)) for r in plan.names.rules]
    plan = replace(plan, names=replace(plan.names, rules=tuple(rules), layers=order))
    fields |= {
        "num_hidden_layers": 6,
        "iha_layer_types": [fields["iha_layer_types"][layer] for layer in order],
        "value_embedding_layers": [1, 3, 5],
        "skips": [[1, 2], [0, 3], [1, 4], [0, 5]],
    }
    chat = replace(chat, order=order)
    assert chat_brought_in(plan, state, fields, chat, tmp_path / "iha") < 1e-4


@pytest.mark.parametrize("collapse", ["per_head", "full"])
def test_a_nanochat(collapse: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    heads, width, layers, pseudo = 4, 16, 4, 2
    state = chat_state(heads, width, layers, 64, ("c_fc",))
    state |= {"smear_gate.weight": randn(1, 24), "smear_lambda": torch.tensor([0.7])}
    state |= {"backout_lambda": torch.tensor([0.4])}
    for layer in range(layers):
        prefix = f"transformer.h.{layer}.attn."
        shape = (heads, pseudo * (1 if collapse == "per_head" else heads))
        state[f"{prefix}collapse"] = 0.5 * torch.randn(shape)
        for part in "qkv":
            state[f"{prefix}alpha_{part}"] = 0.5 * torch.randn(heads, heads, pseudo)
        if layer % 2:
            state[f"{prefix}ve_gate.weight"] = torch.randn(heads, 12)
            state[f"value_embeds.{layer}.weight"] = torch.randn(64, heads * width)
    fields = stated("nanochat", **CHAT_SIZES, skips=[[2, 4]])
    # Of 7 tokens with its own, of 512 there.
    fields["iha_window"] += 7 - 512
    fields["collapse"] = collapse
    windows = (7, 7, 7, 1000)
    chat = Chat(width, pseudo, windows, True, 100000.0, 1.2, 3.0, 15.0, (0, 1, 2, 3))
    plan, _ = read_map(MAPS / "nanochat.yaml")
    if collapse == "full":
        rules = [replace(r, axes="h(mp)" if r.axes == "hp" else r.axes) for r in plan.names.rules]
        plan = replace(plan, names=replace(plan.names, rules=tuple(rules)))
    assert chat_brought_in(plan, state, fields, chat, tmp_path / "iha") < 1e-4


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
    fields = stated(
        "token_causal_layer",
        num_pseudo_heads=pseudo,
        num_key_value_heads=4,
        iha_layer_types=["iha_sliding"] * 3,
        iha_window=7,
        architectures=["IHALlamaForCausalLM"],
    )
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
    fields = stated("nope_global_layer", num_pseudo_heads=2, architectures=["IHALlamaForCausalLM"])
    # A left window of 8, of 2048 there.
    fields["iha_window"] += 8 - 2048
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
