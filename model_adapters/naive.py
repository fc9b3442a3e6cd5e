"""IHA as the paper writes it: einsum over heads, an explicit mask, one sequence at a time.

For: being read, and being the truth that the Transformers and the vLLM implementation are tested
against; it works in any floating-point type, float64 included.
Not for: speed, batches, caches or gradients through long sequences: it forms all (N*P)^2 scores.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from model_adapters.config import IHA_KINDS, IHAConfig, IHANanoChatConfig

Scores = Callable[[Tensor, Tensor], Tensor]


def mix(states: Tensor, alpha: Tensor) -> Tensor:
    """Pseudo-heads from heads, token by token (section 3, "pseudo-heads").

    Args:
        states: [N, M, d], queries (M = H), keys or values (M = G).
        alpha: [M, M, P], source head first, then destination head, then pseudo-head.

    Returns:
        [N, M, P, d].
    """
    return torch.einsum("nmd,mhp->nhpd", states, alpha)


def interleave(states: Tensor) -> Tensor:
    """Lay the P pseudo-heads of each token out as P consecutive virtual tokens.

    Args:
        states: [N, M, P, d].

    Returns:
        [M, N*P, d], in token-major order: (0,0) .. (0,P-1), (1,0) ..
    """
    tokens, heads, pseudo_heads, width = states.shape
    return states.permute(1, 0, 2, 3).reshape(heads, tokens * pseudo_heads, width)


def virtual_positions(tokens: int, pseudo_heads: int, pseudo_rope: str) -> Tensor:
    """Rotary position of each of the N*P virtual tokens, shape [N*P]."""
    virtual = torch.arange(tokens * pseudo_heads)
    return virtual if pseudo_rope == "virtual" else virtual // pseudo_heads


def rotate(states: Tensor, positions: Tensor, inv_freq: Tensor, scaling: float = 1.0) -> Tensor:
    """Rotary embedding, Llama's halves convention.

    Args:
        states: [M, L, d].
        positions: [L].
        inv_freq: [d/2], radians per position.
        scaling: factor on cosine and sine (1 but for yarn).

    Returns:
        [M, L, d].
    """
    angles = positions[:, None].to(inv_freq) * inv_freq
    cos = (angles.cos() * scaling).to(states.dtype)
    sin = (angles.sin() * scaling).to(states.dtype)
    first, second = states.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def visible(
    tokens: int,
    pseudo_heads: int,
    window: int | None,
    *,
    slots: int | None = None,
    causal: str = "virtual",
    edge: str = "virtual",
) -> Tensor:
    """Which virtual token sees which, causally and within the window.

    Args:
        tokens: N.
        pseudo_heads: P.
        window: W in tokens, or None.
        slots: w in virtual tokens, where it is not W*P.
        causal: with "virtual" (n,p) sees (n',p') iff n'P+p' <= nP+p; with "token" iff n' <= n.
        edge: with a window and "virtual", only if also n'P+p' > nP+p - w; with "token", only if
            n' > n - W.

    Returns:
        Boolean [N*P, N*P], query first.
    """
    index = torch.arange(tokens * pseudo_heads)
    token = index // pseudo_heads
    if causal == "token":
        mask = token[None, :] <= token[:, None]
    else:
        mask = index[None, :] <= index[:, None]
    if window is not None and edge == "token":
        mask &= token[None, :] > token[:, None] - window
    elif window is not None:
        reach = window * pseudo_heads if slots is None else slots
        mask &= index[None, :] > index[:, None] - reach
    return mask


def softmax_scores(scores: Tensor, mask: Tensor) -> Tensor:
    """Attention weights [.., L, L] from scaled scores: softmax over the visible keys."""
    return scores.masked_fill(~mask, -math.inf).softmax(dim=-1)


def linear_scores(scores: Tensor, mask: Tensor) -> Tensor:
    """Attention weights [.., L, L] of linear attention: the scores themselves, 0 where hidden."""
    return scores.masked_fill(~mask, 0)


def hard_scores(scores: Tensor, mask: Tensor) -> Tensor:
    """Attention weights [.., L, L] of hard attention, softmax's limit for ever larger scores.

    The visible keys with the highest score have equal shares, the others nothing.
    """
    seen = scores.masked_fill(~mask, -math.inf)
    best = ((seen == seen.amax(dim=-1, keepdim=True)) & mask).to(scores.dtype)
    return best / best.sum(dim=-1, keepdim=True)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor,
    weigh: Scores = softmax_scores,
    scale: float | None = None,
) -> Tensor:
    """Attention of every head over the virtual sequence.

    Args:
        query: [H, L, d].
        key: [G, L, d]; query head h reads key head h // (H // G).
        value: [G, L, d].
        mask: boolean [L, L].
        weigh: maps scaled scores [H, L, L] and the mask to weights of the same shape.
        scale: factor on the scores, d^-1/2 by default.

    Returns:
        [H, L, d].
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    groups = query.shape[0] // key.shape[0]
    key, value = (states.repeat_interleave(groups, dim=0) for states in (key, value))
    scores = torch.einsum("hqd,hkd->hqk", query, key) * scale
    return torch.einsum("hqk,hkd->hqd", weigh(scores, mask), value)


def collapse(attended: Tensor, matrix: Tensor) -> Tensor:
    """Heads from pseudo-heads: O[n,h] = sum over (h',p) of R[h, h'*P+p] * A[n,h',p].

    Args:
        attended: [H, N*P, d].
        matrix: R, [H, H*P].

    Returns:
        [N, H, d].
    """
    heads, _, width = attended.shape
    pseudo_heads = matrix.shape[1] // heads
    states = attended.reshape(heads, -1, pseudo_heads, width).permute(1, 0, 2, 3)
    return torch.einsum("hs,nsd->nhd", matrix, states.reshape(len(states), -1, width))


def collapse_per_head(attended: Tensor, matrix: Tensor) -> Tensor:
    """Each head from its own pseudo-heads: O[n,h] = sum over p of R[h, p] * A[n,h,p].

    Args:
        attended: [H, N*P, d].
        matrix: R, [H, P].

    Returns:
        [N, H, d].
    """
    states = attended.unflatten(1, (-1, matrix.shape[1]))
    return torch.einsum("hp,hnpd->nhd", matrix, states)


def layer_attention(
    weights: Mapping[str, Tensor],
    config: IHAConfig,
    layer: int,
    hidden: Tensor,
    added: Tensor | None = None,
) -> Tensor:
    """One attention layer of any kind, projections included (steps 1 to 7 of the mechanism).

    Args:
        weights: state dict of the whole model.
        config: its configuration.
        layer: index of the layer.
        hidden: [N, D], already normalised where the block does that first.
        added: [N, G, d], added to values where the configuration says; None where nothing is.

    Returns:
        [N, D].
    """
    prefix = f"model.layers.{layer}.self_attn."
    width, is_iha = config.head_width, config.layer_kinds[layer] in IHA_KINDS
    query, key, value = (
        _linear(weights, f"{prefix}{name}", hidden) for name in ("q_proj", "k_proj", "v_proj")
    )
    if config.qk_norm == "projection_before_mixing":
        query = _rms_norm(weights[f"{prefix}q_norm.weight"], config, query)
        key = _rms_norm(weights[f"{prefix}k_norm.weight"], config, key)
    query, key, value = (states.unflatten(-1, (-1, width)) for states in (query, key, value))
    if config.qk_norm == "head_before_mixing":
        # [N, heads, d] by [d] or [heads, d].
        query = _rms_norm(weights[f"{prefix}q_norm.weight"], config, query)
        key = _rms_norm(weights[f"{prefix}k_norm.weight"], config, key)
    alphas = [weights[f"{prefix}alpha_{part}"] if is_iha else None for part in "qkv"]
    query, key = (
        _pseudo(states, alpha) for states, alpha in ((query, alphas[0]), (key, alphas[1]))
    )
    value = _pseudo_values(config, value, alphas[2], added)
    query, key, value = (interleave(states) for states in (query, key, value))
    pseudo_heads = config.pseudo_heads(layer)
    if not is_iha or config.pseudo_rope != "none":
        rope = LlamaRotaryEmbedding(config.rotating(layer))
        positions = virtual_positions(len(hidden), pseudo_heads, config.pseudo_rope)
        positions = positions * config.rope_sign
        query = rotate(query, positions, rope.inv_freq, rope.attention_scaling)
        key = rotate(key, positions, rope.inv_freq, rope.attention_scaling)
    if config.qk_norm == "pseudo_head_after_rope":
        query = _rms_norm(torch.ones(width).to(query), config, query)
        key = _rms_norm(torch.ones(width).to(key), config, key)
    mask = visible(
        len(hidden),
        pseudo_heads,
        config.window(layer),
        slots=config.window_slots(layer),
        causal=config.pseudo_causal if is_iha else "virtual",
        edge=config.pseudo_window if is_iha else "virtual",
    )
    scale = width**-0.5
    attended = attend(query * config.qk_scale, key * config.qk_scale, value, mask, scale=scale)
    if not is_iha:
        heads = attended.transpose(0, 1)
    elif config.collapse == "per_head":
        heads = collapse_per_head(attended, weights[f"{prefix}collapse"])
    else:
        heads = collapse(attended, weights[f"{prefix}collapse"])
    if config.head_gate_channels is not None:
        gate = _linear(weights, f"{prefix}head_gate", hidden[:, : config.head_gate_channels])
        heads = heads * gate.sigmoid().unsqueeze(-1)
    return _linear(weights, f"{prefix}o_proj", heads.flatten(1))


def _pseudo(states: Tensor, alpha: Tensor | None) -> Tensor:
    """[N, M, d] to [N, M, P, d]; in a plain layer heads are their own pseudo-heads."""
    return states.unsqueeze(2) if alpha is None else mix(states, alpha)


def _pseudo_values(
    config: IHAConfig, value: Tensor, alpha: Tensor | None, added: Tensor | None
) -> Tensor:
    """The same of values, with what is added to heads or to pseudo-heads."""
    if added is None:
        return _pseudo(value, alpha)
    if getattr(config, "value_embedding", None) == "before_mixing":
        return _pseudo(value + added, alpha)
    return _pseudo(value, alpha) + added.unsqueeze(2)


def logits(weights: Mapping[str, Tensor], config: IHAConfig, token_ids: list[int]) -> Tensor:
    """Next-token logits of the whole model for one sequence without padding.

    Args:
        weights: state dict under Llama's names, all of one floating-point type.
        config: the configuration.
        token_ids: N token ids.

    Returns:
        [N, vocabulary].
    """
    hidden = weights["model.embed_tokens.weight"][torch.tensor(token_ids)]
    if isinstance(config, IHANanoChatConfig):
        return _nanochat_logits(weights, config, token_ids, hidden)
    for layer in range(config.num_hidden_layers):
        prefix = f"model.layers.{layer}."
        second = weights[f"{prefix}post_attention_layernorm.weight"]
        if config.block_norm == "after":
            made = layer_attention(weights, config, layer, hidden)
            hidden = hidden + _rms_norm(second, config, made)
            last = weights[f"{prefix}post_feedforward_layernorm.weight"]
            hidden = hidden + _rms_norm(
                last, config, _mlp(weights, config, f"{prefix}mlp.", hidden)
            )
        else:
            normed = _rms_norm(weights[f"{prefix}input_layernorm.weight"], config, hidden)
            hidden = hidden + layer_attention(weights, config, layer, normed)
            normed = _rms_norm(second, config, hidden)
            hidden = hidden + _mlp(weights, config, f"{prefix}mlp.", normed)
    hidden = _rms_norm(weights["model.norm.weight"], config, hidden)
    return _head(weights, config, hidden)


def _head(weights: Mapping[str, Tensor], config: IHAConfig, hidden: Tensor) -> Tensor:
    tied = config.tie_word_embeddings or "lm_head.weight" not in weights
    return hidden @ weights["model.embed_tokens.weight" if tied else "lm_head.weight"].T


def _nanochat_logits(
    weights: Mapping[str, Tensor], config: IHANanoChatConfig, token_ids: list[int], hidden: Tensor
) -> Tensor:
    """`logits` of a nanochat from its embeddings [N, D]; its norms have no weights."""
    one = torch.ones(()).to(hidden)
    hidden = _rms_norm(one, config, hidden)
    if config.smear_channels is not None:
        gate = _linear(weights, "model.smear_gate", hidden[1:, : config.smear_channels]).sigmoid()
        smeared = hidden[1:] + weights["model.smear_lambda"] * gate * hidden[:-1]
        hidden = torch.cat([hidden[:1], smeared])
    first = hidden
    given: list[Tensor] = []
    for layer in range(config.num_hidden_layers + 1):
        for index, source in config.skips_into(layer):
            hidden = hidden + weights["model.skip_lambdas"][index] * given[source]
        if layer == config.num_hidden_layers:
            break
        if config.residual_lambdas:
            own = weights["model.residual_lambdas"][layer] * hidden
            hidden = own + weights["model.embedding_lambdas"][layer] * first
        prefix, normed = f"model.layers.{layer}.", _rms_norm(one, config, hidden)
        added = _value_embedding(weights, config, layer, token_ids, first, normed)
        hidden = hidden + layer_attention(weights, config, layer, normed, added)
        normed = _rms_norm(one, config, hidden)
        if config.hidden_act == "silu":
            made = _gated(weights, f"{prefix}mlp.", normed)
        else:
            made = _linear(weights, f"{prefix}mlp.fc1", normed).relu().square()
            made = _linear(weights, f"{prefix}mlp.fc2", made)
        hidden = hidden + made
        given.append(hidden)
    made = _head(weights, config, _rms_norm(one, config, hidden))
    cap = config.final_logit_softcapping
    return made if cap is None else cap * (made / cap).tanh()


def _value_embedding(
    weights: Mapping[str, Tensor],
    config: IHANanoChatConfig,
    layer: int,
    token_ids: list[int],
    first: Tensor,
    normed: Tensor,
) -> Tensor | None:
    """What a layer adds to its values, [N, G, d], from ids or from `first` [N, D]."""
    if layer not in (config.value_embedding_layers or ()):
        return None
    name = f"model.layers.{layer}.self_attn.value_embed"
    if config.value_embedding_source == "token":
        made = weights[f"{name}.weight"][torch.tensor(token_ids)]
    else:
        made = first @ weights[f"{name}.weight"].T
    gate = (normed[:, : config.value_gate_channels] @ weights[f"{name}.gate"].T).sigmoid()
    heads = made.unflatten(-1, (-1, config.head_width))
    assert config.value_gate_scale is not None
    scaled: Tensor = config.value_gate_scale * gate.unsqueeze(-1) * heads
    return scaled


def _mlp(weights: Mapping[str, Tensor], config: IHAConfig, prefix: str, states: Tensor) -> Tensor:
    """The gated MLP under a prefix, or the chosen ones of its experts, each with its share."""
    if config.num_experts is None or config.num_experts_per_tok is None:
        return _gated(weights, prefix, states)
    shares = _linear(weights, f"{prefix}gate", states).softmax(-1)
    least = shares.topk(config.num_experts_per_tok).values[:, -1:]
    shares = shares.where(shares >= least, 0)
    if config.norm_topk_prob:
        shares = shares / shares.sum(-1, True)
    made = torch.zeros_like(states)
    for expert in range(config.num_experts):
        own = _gated(weights, f"{prefix}experts.{expert}.", states)
        made = made + shares[:, expert, None] * own
    return made


def _gated(weights: Mapping[str, Tensor], prefix: str, states: Tensor) -> Tensor:
    gate = torch.nn.functional.silu(_linear(weights, f"{prefix}gate_proj", states))
    up = _linear(weights, f"{prefix}up_proj", states)
    return _linear(weights, f"{prefix}down_proj", gate * up)


def _linear(weights: Mapping[str, Tensor], name: str, states: Tensor) -> Tensor:
    return torch.nn.functional.linear(
        states, weights[f"{name}.weight"], weights.get(f"{name}.bias")
    )


def _rms_norm(weight: Tensor, config: IHAConfig, states: Tensor) -> Tensor:
    return weight * states * torch.rsqrt(states.pow(2).mean(-1, True) + config.rms_norm_eps)
