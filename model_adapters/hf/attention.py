"""Attention over virtual tokens for the Transformers model, by all of its implementations.

For: `modeling.py`, with padding, packed sequences, caches and windows; and its cache. A token's P
states lie side by side in the last dimension, so that Transformers' own cache layers, which count
one entry per token, can hold, crop and reorder them unchanged.
Not for: paged caches (see `vllm/backend.py`) and not the definition (see `naive.py`).
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import flex_attention as torch_flex
from transformers.cache_utils import (
    Cache,
    CacheLayerMixin,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionCacheLayerMixin,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from model_adapters.config import VIRTUAL, IHAConfig, VirtualMask

# Bounds a mask to BLOCK x keys entries.
BLOCK = 1024
# A windowed layer's block of queries reads window + block keys, so that half a window wastes a
# third; below this many queries the calls themselves cost more than they leave out.
SMALLEST_BLOCK = 64


#: For each row of a batch the lengths of its sequences.
Packed = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Span:
    """Which virtual tokens a call sees, as indices on the whole sequence's virtual axis.

    Attributes:
        first_query: index of the first query, a token's first; the queries follow each other.
        first_key: index of the first key that is at hand, a token's first.
        sight: which of them a query sees.
        padding: boolean [B, keys], True where the key is a real token; None without padding.
        packed: for each row the lengths of the sequences that lie in it one after another, which
            do not see each other; None where each row is one.
    """

    first_query: int
    first_key: int
    sight: VirtualMask
    padding: Tensor | None
    packed: Packed | None = None

    def of_last(self, queries: int, keys: int) -> "Span":
        """The same of the newest keys, where a cache has dropped the others."""
        first = self.first_query + queries - keys
        padding = None if self.padding is None else self.padding[:, first:]
        return replace(self, first_key=first, padding=padding)

    def mask(self, queries: range, keys: range, device: torch.device) -> Tensor:
        """Boolean [B or 1, 1, queries, keys] for a block, given by indices within this call."""
        query = torch.arange(queries.start, queries.stop, device=device)[:, None] + self.first_query
        key = torch.arange(keys.start, keys.stop, device=device)[None, :] + self.first_key
        mask = self.sight.visible(query, key)[None, None]
        if self.packed is not None:
            rows = torch.stack([_numbered(lengths) for lengths in self.packed]).to(device)
            own = (
                rows[:, queries.start : queries.stop, None] == rows[:, None, keys.start : keys.stop]
            )
            mask = mask & own[:, None]
        if self.padding is not None:
            mask = mask & self.padding[:, None, None, keys.start : keys.stop]
            # A padded query sees itself, because a softmax over nothing is not a number.
            mask = mask | (query == key)[None, None]
        return mask

    def keys(self, queries: range) -> range:
        """The keys that a block of queries can reach; both by indices within this call."""
        first, last = (
            self.sight.reach(query + self.first_query) for query in (queries.start, queries[-1])
        )
        return range(max(0, first.start - self.first_key), last.stop - self.first_key)

    def pieces(self) -> Iterator[tuple[int, slice]]:
        """Rows and what of them is one of the packed sequences."""
        for row, lengths in enumerate(self.packed or ()):
            start = 0
            for length in lengths:
                yield row, slice(start, start + length)
                start += length


def _numbered(lengths: tuple[int, ...]) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    span: Span,
    dropout: float,
) -> tuple[Tensor, Tensor | None]:
    """By the implementation that the model is set to.

    | set to | mask, window and edge virtual | token mask, or a token's edge |
    |---|---|---|
    | eager | `eager` | `eager` |
    | sdpa | `sdpa` | `sdpa`, in blocks with a mask each |
    | flex_attention | `flex` (training on a CPU, or with dropout: `sdpa`) | the same |
    | flash_attention_2 and others | the kernel, causal on virtual tokens | `sdpa` |

    Args:
        module: the attention layer, with `config` and `scaling`.
        query: [B, H, Lq, d].
        key: [B, G, Lk, d].
        value: [B, G, Lk, d].
        span: what may be seen.
        dropout: probability with which a weight is dropped.

    Returns:
        Attended values [B, H, Lq, d] and, of `eager`, weights [B, H, Lq, Lk].
    """
    name, scale = module.config._attn_implementation, module.scaling
    if name == "eager":
        return eager(query, key, value, span, scale, dropout)
    # It has no dropout, and on a CPU no backward pass.
    trains_on_cpu = query.device.type == "cpu" and query.requires_grad
    if name == "flex_attention" and not dropout and not trains_on_cpu:
        return flex(query, key, value, span, scale), None
    if "flash" in name and span.sight.causal == span.sight.edge == VIRTUAL:
        return _kernel(module, name, query, key, value, span, dropout), None
    return sdpa(query, key, value, span, scale, dropout), None


def _kernel(
    module: Any, name: str, query: Tensor, key: Tensor, value: Tensor, span: Span, dropout: float
) -> Tensor:
    """Transformers' call of a kernel; [B, H, Lq, d].

    It is not handed positions: those of the token RoPE repeat, which it would take for packing.
    """
    call = ALL_ATTENTION_FUNCTIONS[name]
    given: dict[str, Any] = {
        "dropout": dropout,
        "scaling": module.scaling,
        "sliding_window": span.sight.kernel_window,
    }
    if span.packed is None:
        attended: Tensor = call(module, query, key, value, span.padding, **given)[0]
        return attended.transpose(1, 2)
    rows = []
    for row, lengths in enumerate(span.packed):
        ends = torch.tensor((0, *lengths)).cumsum(0).to(query.device, torch.int32)
        given |= {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends}
        given |= {"max_length_q": max(lengths), "max_length_k": max(lengths)}
        own = (states[row : row + 1] for states in (query, key, value))
        rows.append(call(module, *own, None, **given)[0])
    return torch.cat(rows).transpose(1, 2)


def flex(query: Tensor, key: Tensor, value: Tensor, span: Span, scale: float) -> Tensor:
    """The same as `eager` by FlexAttention, which leaves out blocks that a mask hides.

    Args:
        query: [B, H, Lq, d].
        key: [B, G, Lk, d].
        value: [B, G, Lk, d].
        span: what may be seen.
        scale: factor on the scores.

    Returns:
        [B, H, Lq, d].
    """
    blocks = _block_mask(span, query.shape[0], query.shape[2], key.shape[2], query.device)
    call: Any = torch_flex.flex_attention
    if query.device.type != "cpu":
        # Elsewhere it would form all scores.
        call = _compiled_flex()
    grouped = query.shape[1] != key.shape[1]
    made: Tensor = call(query, key, value, block_mask=blocks, scale=scale, enable_gqa=grouped)
    return made


@functools.cache
def _compiled_flex() -> Any:
    return torch.compile(torch_flex.flex_attention, dynamic=False)


def _block_mask(span: Span, rows: int, queries: int, keys: int, device: torch.device) -> Any:
    if span.padding is None and span.packed is None:
        return _usual_block_mask(span, queries, keys, device)
    whole = span.mask(range(queries), range(keys), device).expand(rows, -1, -1, -1)[:, 0]

    def seen(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        del head
        return whole[row, query, key]

    return torch_flex.create_block_mask(seen, rows, None, queries, keys, device=str(device))


@functools.lru_cache(maxsize=16)
def _usual_block_mask(span: Span, queries: int, keys: int, device: torch.device) -> Any:
    """Without padding; all layers of a kind share one, step after step."""

    def seen(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        del row, head
        return span.sight.visible(query + span.first_query, key + span.first_key)

    return torch_flex.create_block_mask(seen, None, None, queries, keys, device=str(device))


def eager(
    query: Tensor, key: Tensor, value: Tensor, span: Span, scale: float, dropout: float = 0.0
) -> tuple[Tensor, Tensor]:
    """All scores at once.

    Args:
        query: [B, H, Lq, d].
        key: [B, G, Lk, d].
        value: [B, G, Lk, d].
        span: what may be seen.
        scale: factor on the scores.
        dropout: probability with which a weight is dropped.

    Returns:
        Attended values [B, H, Lq, d] and weights [B, H, Lq, Lk].
    """
    groups = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
    mask = span.mask(range(query.shape[2]), range(key.shape[2]), query.device)
    scores = (query @ key.transpose(2, 3) * scale).masked_fill(~mask, float("-inf"))
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    weights = functional.dropout(weights, dropout, training=dropout > 0)
    return weights @ value, weights


def sdpa(
    query: Tensor, key: Tensor, value: Tensor, span: Span, scale: float, dropout: float = 0.0
) -> Tensor:
    """The same as `eager` in blocks of queries, each over the keys that it can reach.

    Memory grows with the number of keys, not with its square, and a windowed layer's time
    grows with the window.

    Args:
        query: [B, H, Lq, d].
        key: [B, G, Lk, d].
        value: [B, G, Lk, d].
        span: what may be seen.
        scale: factor on the scores.
        dropout: probability with which a weight is dropped.

    Returns:
        [B, H, Lq, d].
    """
    total = query.shape[2]
    if span.packed is not None:
        # Each by itself, which needs no mask where only the future is hidden.
        alone = replace(span, packed=None)
        rows: list[list[Tensor]] = [[] for _ in span.packed]
        for row, at in span.pieces():
            q, k, v = (states[row : row + 1, :, at] for states in (query, key, value))
            rows[row].append(sdpa(q, k, v, alone, scale, dropout))
        return torch.cat([torch.cat(pieces, dim=2) for pieces in rows])
    if _only_causal(span, query, key.shape[2], dropout):
        # No mask to make or read, and half of the scores left out.
        return functional.scaled_dot_product_attention(
            query,
            key,
            value,
            is_causal=True,
            dropout_p=dropout,
            scale=scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )
    block = _block(span.sight.kernel_window)
    outputs = []
    for start in range(0, total, block):
        queries = range(start, min(start + block, total))
        keys = span.keys(queries)
        outputs.append(
            functional.scaled_dot_product_attention(
                query[:, :, queries.start : queries.stop],
                key[:, :, keys.start : keys.stop],
                value[:, :, keys.start : keys.stop],
                attn_mask=span.mask(queries, keys, query.device),
                dropout_p=dropout,
                scale=scale,
                enable_gqa=query.shape[1] != key.shape[1],
            )
        )
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)


def _only_causal(span: Span, query: Tensor, keys: int, dropout: float) -> bool:
    """Whether one call without a mask computes this, and without forming all scores."""
    window = span.sight.kernel_window
    unmasked = span.padding is None and (window is None or window >= keys)
    unmasked &= span.sight.causal == VIRTUAL
    # Elsewhere torch has no fused kernel for grouped heads, and would form them.
    on_cpu = query.device.type == "cpu"
    fused = not dropout if on_cpu else query.dtype in (torch.float16, torch.bfloat16)
    return unmasked and span.first_query == span.first_key and (fused or keys <= BLOCK)


def _block(window: int | None) -> int:
    """Queries at a time."""
    return BLOCK if window is None else min(max(window // 2, SMALLEST_BLOCK), BLOCK)


def make_cache(config: IHAConfig) -> Cache:
    """An empty cache in which a windowed layer keeps only what its window needs.

    The stock sliding layer keeps one entry less than the window it is told: the next token's own.
    """
    layers: list[CacheLayerMixin | LinearAttentionCacheLayerMixin] = []
    for index in range(config.num_hidden_layers):
        kept = config.recipe(index).mask.kept_tokens
        if kept is None:
            layers.append(DynamicLayer())
        else:
            # The stock layer's slice `[-0:]` would keep everything at a window of one.
            layers.append(DynamicSlidingWindowLayer(sliding_window=max(kept, 2)))
    # Of the embedding of the token before. Not by class, of which exported code has copies.
    if getattr(config, "smear_channels", None) is not None:
        layers.append(DynamicSlidingWindowLayer(sliding_window=2))
    return Cache(layers=layers)


def pack(states: Tensor, pseudo_heads: int) -> Tensor:
    """[B, G, T*P, d] virtual tokens to [B, G, T, P*d] cache entries."""
    batch, heads, virtual, width = states.shape
    return states.reshape(batch, heads, virtual // pseudo_heads, pseudo_heads * width)


def unpack(entries: Tensor, pseudo_heads: int) -> Tensor:
    """[B, G, T, P*d] cache entries to [B, G, T*P, d] virtual tokens."""
    batch, heads, tokens, width = entries.shape
    return entries.reshape(batch, heads, tokens * pseudo_heads, width // pseudo_heads)
