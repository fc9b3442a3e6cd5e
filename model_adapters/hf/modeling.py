"""`IHALlamaForCausalLM`: IHA on Transformers' Llama classes, trainable and able to generate.

For: training, fine-tuning, small-scale generation, and checking what the served model says.
Not for: serving (see `vllm/model.py`) and not the definition (see `naive.py`).
"""

import copy
import inspect
import itertools
from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaDecoderLayer,
    LlamaForCausalLM,
    LlamaMLP,
    LlamaModel,
    LlamaPreTrainedModel,
    LlamaRMSNorm,
    LlamaRotaryEmbedding,
    apply_rotary_pos_emb,
)
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from model_adapters.config import TOKEN, IHAConfig
from model_adapters.hf.attention import Packed, Span, attend, make_cache, pack, unpack
from model_adapters.mixing import HeadGate, HeadNorm, ValueEmbedding, head_norm

# What Transformers calls a cache; its name changed in 5.24, and the old one is to go.
CACHE = next(
    name
    for name in ("cache", "past_key_values")
    if name in inspect.signature(LlamaModel.forward).parameters
)


class IHALlamaAttention(LlamaAttention):
    """One attention layer of any of the four kinds.

    An IHA layer adds `alpha_q` [H, H, P], `alpha_k` and `alpha_v` [G, G, P] and `collapse`
    [H, H*P] (section 3), or [H, P] per head, to Llama's four projections; where the recipe has
    them, every layer adds `q_norm` and `k_norm` and `head_gate`.
    """

    def __init__(self, config: IHAConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.recipe = recipe = config.recipe(layer_idx)
        self.recomputes = False
        self.scaling, heads, kv_heads = recipe.scale, config.num_attention_heads, config.kv_heads
        pseudo = recipe.pseudo_heads
        self.q_norm = head_norm(recipe, heads, config.head_width, config.rms_norm_eps)
        self.k_norm = head_norm(recipe, kv_heads, config.head_width, config.rms_norm_eps)
        self.head_gate = HeadGate(heads, recipe.gate_channels) if recipe.gate_channels else None
        if recipe.values is not None:
            self.value_embed = ValueEmbedding(recipe.values, kv_heads, config.head_width)
        if recipe.is_iha:
            sources = 1 if recipe.collapse == "per_head" else heads
            self.alpha_q = nn.Parameter(torch.empty(heads, heads, pseudo))
            self.alpha_k = nn.Parameter(torch.empty(kv_heads, kv_heads, pseudo))
            self.alpha_v = nn.Parameter(torch.empty(kv_heads, kv_heads, pseudo))
            self.collapse = nn.Parameter(torch.empty(heads, sources * pseudo))

    def _virtual(self, states: Tensor, alpha: Tensor | None) -> Tensor:
        """[B, T, M, d] heads to [B, M, T*P, d] virtual tokens, mixed where there is an alpha."""
        if alpha is None:
            return states.transpose(1, 2)
        mixed = torch.einsum("btmd,mhp->bhtpd", states, alpha)
        return mixed.flatten(2, 3)

    def _collapse(self, attended: Tensor) -> Tensor:
        """[B, H, T*P, d] to [B, T, H, d]."""
        if not self.recipe.is_iha:
            return attended.transpose(1, 2)
        split = attended.unflatten(2, (-1, self.recipe.pseudo_heads))
        if self.recipe.collapse == "per_head":
            return torch.einsum("hp,bhtpd->bthd", self.collapse, split)
        matrix = self.collapse.unflatten(1, (-1, self.recipe.pseudo_heads))
        return torch.einsum("hmp,bmtpd->bthd", matrix, split)

    def forward(  # type: ignore[override]
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        first_token: int = 0,
        packed: Packed | None = None,
        cache: Cache | None = None,
        token_ids: Tensor | None = None,
        first: Tensor | None = None,
        **_: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend over the virtual tokens of this call and of the cache.

        Args:
            hidden_states: [B, T, D].
            position_embeddings: cosine and sine, [B or 1, T*P, d] each, for this layer's P.
            attention_mask: boolean [B, tokens so far and now], False on padding; None without.
            past_key_values: cache to read and extend, or None.
            first_token: index of this call's first token on the sequence axis.
            packed: for each row the lengths of its sequences in tokens; None where it is one.
            cache: another name of `past_key_values`.
            token_ids: [B, T], for value embeddings; None without.
            first: [B, T, D], what the first layer takes in, for them too.
            **_: what Llama's layers pass and IHA has no use for.

        Returns:
            [B, T, D], and the weights [B, H, T*P, keys*P] in eager mode.
        """
        cache = past_key_values if cache is None else cache
        span = self._span(first_token, attention_mask, packed)
        query, key, value = self._projected(hidden_states)
        added = None
        if self.recipe.values is not None:
            assert first is not None
            added = self.value_embed(hidden_states, token_ids, first)
            if not self.recipe.values.after_mixing:
                value, added = value + added, None
        given = (query, key, value, added, position_embeddings, span)
        if self.recomputes and self.training and cache is None:
            heads, weights = checkpoint(self._mixed, *given, None, use_reentrant=False)
        else:
            heads, weights = self._mixed(*given, cache)
        if self.head_gate is not None:
            heads = self.head_gate(heads, hidden_states)
        return self.o_proj(heads.flatten(2)), weights

    def _mixed(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        added: Tensor | None,
        position_embeddings: tuple[Tensor, Tensor],
        span: Span,
        cache: Cache | None,
    ) -> tuple[Tensor, Tensor | None]:
        """What lies between the projections: mix, rotate, norm, attend, collapse.

        Args:
            query: [B, T, H, d].
            key: [B, T, G, d].
            value: [B, T, G, d].
            added: to values of all pseudo-heads, [B, T, G, d]; None where nothing is.
            position_embeddings: see `forward`.
            span: what the queries see, of keys that begin with the cache's first.
            cache: to read and extend, or None.

        Returns:
            [B, T, H, d] and, in eager mode, the weights.
        """
        recipe, pseudo = self.recipe, self.recipe.pseudo_heads
        alphas = (self.alpha_q, self.alpha_k, self.alpha_v) if recipe.is_iha else (None,) * 3
        query, key, value = (
            self._virtual(states, alpha)
            for states, alpha in zip((query, key, value), alphas, strict=True)
        )
        if added is not None:
            value = value + added.transpose(1, 2).repeat_interleave(pseudo, dim=2)
        if recipe.rope != "none":
            query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
        if recipe.qk_norm == "pseudo_head_after_rope":
            query, key = self._normed(query, key)
        if cache is not None:
            entries = cache.update(pack(key, pseudo), pack(value, pseudo), self.layer_idx)
            key, value = (unpack(states, pseudo) for states in entries)
        span = span.of_last(query.shape[2], key.shape[2])
        dropout = float(self.attention_dropout or 0.0) if self.training else 0.0
        attended, weights = attend(self, query, key, value, span, dropout)
        return self._collapse(attended), weights

    def _projected(self, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, T, D] to [B, T, H, d] and twice [B, T, G, d], normed where that comes first."""
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        query, key, value = (
            project(hidden_states).view(shape)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        if self.recipe.norm_comes_first:
            query, key = self._normed(query, key)
        return query, key, value

    def _normed(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        assert self.q_norm is not None
        assert self.k_norm is not None
        return self.q_norm(query), self.k_norm(key)

    def _span(self, first: int, padding: Tensor | None, packed: Packed | None) -> Span:
        """What the queries of a call see of all tokens so far."""
        pseudo = self.recipe.pseudo_heads
        if padding is not None:
            padding = padding.repeat_interleave(pseudo, dim=1)
        if packed is not None:
            packed = tuple(tuple(length * pseudo for length in lengths) for lengths in packed)
        return Span(first * pseudo, 0, self.recipe.mask, padding, packed)


class Experts(nn.Module):
    """Gated MLPs of which each token takes those that a router gives most, each with its share."""

    def __init__(self, config: IHAConfig) -> None:
        super().__init__()
        assert config.num_experts is not None
        assert config.moe_intermediate_size is not None
        own = copy.copy(config)
        own.intermediate_size = config.moe_intermediate_size
        self.config = config
        self.gate = nn.Linear(config.hidden_size, config.num_experts, bias=False)
        self.experts = nn.ModuleList(LlamaMLP(own) for _ in range(config.num_experts))

    def forward(self, hidden_states: Tensor) -> Tensor:
        """[B, T, D] to the same."""
        tokens = hidden_states.flatten(0, 1)
        shares = self.gate(tokens).softmax(-1, dtype=torch.float32)
        shares, chosen = shares.topk(self.config.num_experts_per_tok)
        if self.config.norm_topk_prob:
            shares = shares / shares.sum(-1, True)
        made = torch.zeros_like(tokens)
        for index, expert in enumerate(self.experts):
            rows, places = torch.where(chosen == index)
            own = expert(tokens[rows]) * shares[rows, places, None]
            made = made.index_add(0, rows, own.to(made.dtype))
        return made.view_as(hidden_states)


class IHALlamaDecoderLayer(LlamaDecoderLayer):
    """Llama's decoder layer around `IHALlamaAttention`, its norms where `block_norm` says."""

    def __init__(self, config: IHAConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.self_attn = IHALlamaAttention(config, layer_idx)
        if config.num_experts is not None:
            self.mlp = Experts(config)  # type: ignore[assignment]
        self.norms_come_after = config.block_norm == "after"
        if self.norms_come_after:
            del self.input_layernorm
            self.post_feedforward_layernorm = LlamaRMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(  # type: ignore[override]
        self, hidden_states: Tensor, first: Tensor | None = None, **kwargs: Any
    ) -> Tensor:
        """[B, T, D] to the same; the rest is attention's.

        `first` is handed over by place: checkpointing that is reentrant loses the gradients of
        tensors that are named.
        """
        if not self.norms_come_after:
            usual: Tensor = super().forward(hidden_states, first=first, **kwargs)
            return usual
        made, _ = self.self_attn(hidden_states, first=first, **kwargs)
        hidden_states = hidden_states + self.post_attention_layernorm(made)
        after: Tensor = self.post_feedforward_layernorm(self.mlp(hidden_states))
        return hidden_states + after


class IHALlamaPreTrainedModel(LlamaPreTrainedModel):
    """Weight initialisation and the attention implementations that exist."""

    config: IHAConfig
    config_class = IHAConfig
    _no_split_modules = ["IHALlamaDecoderLayer"]  # noqa: RUF012
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_sdpa = True
    _supports_attention_backend = False
    _can_record_outputs = {  # noqa: RUF012
        "hidden_states": IHALlamaDecoderLayer,
        "attentions": IHALlamaAttention,
    }

    def recompute_mixing(self, enabled: bool = True) -> None:
        """Keep of each attention layer, for the backward pass of training, only its projections.

        Mixing, attention and collapse are then computed twice. Virtual tokens, P times as many as
        tokens, are not kept. `gradient_checkpointing_enable()` recomputes whole layers instead.
        """
        for module in self.modules():
            if isinstance(module, IHALlamaAttention):
                module.recomputes = enabled

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Identity-like mixing with the model's own noise on top (section 3, "initialization").

        Every pseudo-head starts as its own head and the collapse as their mean.
        """
        super()._init_weights(module)  # type: ignore[no-untyped-call]
        if isinstance(module, HeadNorm) and module.weight is not None:
            nn.init.ones_(module.weight)
        if isinstance(module, HeadGate):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, ValueEmbedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            nn.init.zeros_(module.gate)
        if not isinstance(module, IHALlamaAttention) or not module.recipe.is_iha:
            return
        for alpha in (module.alpha_q, module.alpha_k, module.alpha_v):
            identity = torch.eye(alpha.shape[0], device=alpha.device).unsqueeze(-1)
            nn.init.normal_(alpha, std=self.config.initializer_range)
            alpha.add_(identity)
        heads, pseudo = module.collapse.shape[0], module.recipe.pseudo_heads
        identity = torch.eye(heads, device=module.collapse.device).repeat_interleave(pseudo, dim=1)
        own = identity if module.recipe.collapse == "full" else torch.ones_like(module.collapse)
        nn.init.normal_(module.collapse, std=self.config.initializer_range)
        module.collapse.add_(own / pseudo)


class IHALlamaModel(IHALlamaPreTrainedModel, LlamaModel):
    """Llama's decoder with IHA layers; masks are made per block in `attention.py`, never whole."""

    def __init__(self, config: IHAConfig) -> None:
        super().__init__(config)
        self.layers = nn.ModuleList(
            IHALlamaDecoderLayer(config, index) for index in range(config.num_hidden_layers)
        )
        # The same where windowed layers rotate as the others do.
        self.window_rotary_emb = self.rotary_emb
        own = [c for c in map(config.rotating, range(config.num_hidden_layers)) if c is not config]
        if own:
            self.window_rotary_emb = LlamaRotaryEmbedding(own[0])
        self.post_init()  # type: ignore[no-untyped-call]

    @merge_with_config_defaults  # type: ignore[untyped-decorator]
    @capture_outputs  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        cache: Cache | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Run the decoder.

        Args:
            input_ids: [B, T] token ids, or None with `inputs_embeds`.
            attention_mask: [B, tokens so far and now], 0 on padding, or None.
            position_ids: [B or 1, T] positions in tokens; by default they count real tokens. Where
                they start again in a row, another sequence begins, which does not see the one
                before, as with `DataCollatorWithFlattening`.
            past_key_values: a cache, by default `make_cache(config)` when `use_cache`.
            inputs_embeds: [B, T, D], or None with `input_ids`.
            use_cache: whether to return a cache.
            cache: another name of `past_key_values`, the only one from Transformers 5.24 on.
            **kwargs: passed on to the layers; `cu_seq_lens_q` of one row says too, in tokens, where
                its sequences begin.

        Returns:
            `last_hidden_state` [B, T, D] and the cache.

        Raises:
            ValueError: both or neither of ids and embeddings, a mask that is not [B, tokens],
                sequences packed beside padding, or a cache of fixed size.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        hidden = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        cache = past_key_values if cache is None else cache
        # Training reads no cache, and one would keep what is to be computed again.
        if use_cache and cache is None and not self._recomputes():
            cache = make_cache(self.config)
        first, tokens = _length(cache), hidden.shape[1]
        padding = _padding(attention_mask, first + tokens)
        packed = None
        if first == 0 and padding is None:
            packed = _packed(position_ids, kwargs.get("cu_seq_lens_q"), len(hidden))
        elif first == 0 and padding is not None and position_ids is not None:
            _check_unpacked(position_ids, padding)
        if position_ids is None:
            position_ids = _positions(padding, first, tokens, hidden.device)
        shapes = [
            (self.config.pseudo_heads(index), self._rotary_of(index))
            for index in range(len(self.layers))
        ]
        rotary = {
            (pseudo, embedding): embedding(hidden, self._virtual_positions(position_ids, pseudo))
            for pseudo, embedding in set(shapes)
        }

        def run(index: int, *states: Tensor, **own: Tensor | None) -> Tensor:
            made: Tensor = self.layers[index](
                *states,
                attention_mask=padding,
                position_embeddings=rotary[shapes[index]],
                first_token=first,
                packed=packed,
                **{CACHE: cache},
                **kwargs,
                **own,
            )
            return made

        hidden = self._embedded(hidden, position_ids, packed, cache)
        hidden = self._through(hidden, input_ids, run)
        outputs: Any = {"last_hidden_state": self.norm(hidden), CACHE: cache}
        return BaseModelOutputWithPast(**outputs)

    def _embedded(
        self, hidden: Tensor, position_ids: Tensor, packed: Packed | None, cache: Cache | None
    ) -> Tensor:
        """What is done to embeddings [B, T, D] before the first layer: nothing."""
        del position_ids, packed, cache
        return hidden

    def _through(
        self, hidden: Tensor, input_ids: Tensor | None, run: Callable[..., Tensor]
    ) -> Tensor:
        """[B, T, D] through all layers; `run` is handed a layer's index and what it takes in."""
        del input_ids
        for index in range(len(self.layers)):
            hidden = run(index, hidden)
        return hidden

    def _recomputes(self) -> bool:
        layers = (module for module in self.modules() if isinstance(module, IHALlamaAttention))
        return self.training and any(layer.recomputes for layer in layers)

    def _rotary_of(self, layer: int) -> nn.Module:
        has_window = self.config.window(layer) is not None
        return self.window_rotary_emb if has_window else self.rotary_emb

    def _virtual_positions(self, position_ids: Tensor, pseudo: int) -> Tensor:
        """[B, T] positions in tokens to [B, T*P] rotary positions of the virtual tokens."""
        return self.config.rope_sign * self._spread(position_ids, pseudo)

    def _spread(self, position_ids: Tensor, pseudo: int) -> Tensor:
        if self.config.pseudo_rope == TOKEN:
            return position_ids.repeat_interleave(pseudo, dim=1)
        offsets = torch.arange(pseudo, device=position_ids.device)
        return (position_ids.unsqueeze(-1) * pseudo + offsets).flatten(1)


class IHALlamaForCausalLM(IHALlamaPreTrainedModel, LlamaForCausalLM):
    """Llama's language model head on `IHALlamaModel`."""

    def __init__(self, config: IHAConfig) -> None:
        super().__init__(config)  # type: ignore[no-untyped-call]
        self.model = IHALlamaModel(config)
        self.post_init()  # type: ignore[no-untyped-call]

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        # The stock cache would keep every token of a windowed layer; the model makes its own.
        return False


def cache_problem() -> str | None:
    """What is wrong with generation under the installed Transformers; None if nothing is.

    A tiny random model with layers of all kinds must generate the same tokens with a cache as
    without one. A release that renames what models are handed makes it forget its cache in silence.
    """
    config = IHAConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=64,
        num_pseudo_heads=2,
        iha_layer_types=["iha_sliding", "iha_global", "full", "sliding"],
        iha_window=4,
        # Wide, so that no rounding turns a choice.
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=None,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        # Any: Transformers types what comes of generate() by how it is called.
        model: Any = IHALlamaForCausalLM(config)
        model.train(False)
        prompt = torch.randint(1, 64, (1, 9))
        made = [
            model.generate(prompt, max_new_tokens=12, do_sample=False, use_cache=cached).tolist()
            for cached in (False, True)
        ]
    if made[0] == made[1]:
        return None
    return (
        f"with Transformers {transformers.__version__}, IHALlamaForCausalLM generates other tokens "
        "with a cache than without one, so what generate() says is wrong"
    )


def _length(cache: Cache | None) -> int:
    """Tokens that a cache holds."""
    if cache is None:
        return 0
    if cache.is_compileable:
        raise ValueError(
            f"{type(cache).__name__} hands back places that hold nothing yet, which IHA would "
            "attend to: give a DynamicCache, or none"
        )
    return int(cache.get_seq_length())


def _padding(attention_mask: Tensor | None, tokens: int) -> Tensor | None:
    """The mask as booleans, or None where it hides nothing."""
    if attention_mask is None:
        return None
    if attention_mask.dim() != 2 or attention_mask.shape[1] != tokens:
        raise ValueError(
            f"attention_mask has shape {list(attention_mask.shape)}: IHA makes its own causal "
            f"mask and needs one entry per token, [batch, {tokens}], 0 on padding"
        )
    mask = attention_mask.bool()
    return None if bool(mask.all()) else mask


def _packed(positions: Tensor | None, ends: Tensor | None, rows: int) -> Packed | None:
    """Lengths of the sequences in each row; None where each row is one.

    Args:
        positions: [B or 1, T], or None.
        ends: where the sequences of a single row begin, and its length; or None.
        rows: B.
    """
    if ends is not None and rows == 1:
        return (tuple(ends.diff().tolist()),)
    if positions is None:
        return None
    begins = positions.diff(dim=1) != 1
    if not bool(begins.any()):
        return None
    tokens = positions.shape[1]
    made = []
    for row in begins.expand(rows, -1):
        edges = [0, *(torch.where(row)[0] + 1).tolist(), tokens]
        made.append(tuple(end - start for start, end in itertools.pairwise(edges)))
    return tuple(made)


def _check_unpacked(positions: Tensor, padding: Tensor) -> None:
    """Refuse positions that start again between two tokens of a row with padding."""
    real = padding[:, 1:] & padding[:, :-1]
    if bool(((positions.diff(dim=1) != 1) & real).any()):
        raise ValueError(
            "position_ids start again within a row, and attention_mask has padding: leave out "
            "attention_mask, and count padding as a sequence of its own"
        )


def _positions(padding: Tensor | None, first: int, tokens: int, device: torch.device) -> Tensor:
    """Positions in tokens: the index among the real tokens of its row."""
    if padding is None:
        return torch.arange(first, first + tokens, device=device).unsqueeze(0)
    return (padding.long().cumsum(dim=1) - 1).clamp(min=0)[:, first:]
