"""Attention over virtual tokens for the Transformers model: whole at once, or in blocks of queries.

For: `modeling.py`, both of its attention implementations, with padding, caches and windows; and its
cache. A token's P states lie side by side in the last dimension, so that Transformers' own cache
layers, which count one entry per token, can hold, crop and reorder them unchanged.
Not for: paged caches (see `vllm/backend.py`) and not the definition (see `naive.py`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from transformers.cache_utils import (
    Cache,
    CacheLayerMixin,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionCacheLayerMixin,
)

from model_adapters.config import VIRTUAL, IHAConfig, VirtualMask

# Bounds a mask to BLOCK x keys entries.
BLOCK = 1024
# A windowed layer's block of queries reads window + block keys, so that half a window wastes a
# third; below this many queries the calls themselves cost more than they leave out.
SMALLEST_BLOCK = 64


@dataclass(frozen=True)
class Span:
    """Which virtual tokens a call sees, as indices on the whole sequence's virtual axis.

    Attributes:
        first_query: index of the first query, a token's first; the queries follow each other.
        first_key: index of the first key that is at hand, a token's first.
        sight: which of them a query sees.
        padding: boolean [B, keys], True where the key is a real token; None without padding.
    """

    first_query: int
    first_key: int
    sight: VirtualMask
    padding: Tensor | None

    def mask(self, queries: range, keys: range, device: torch.device) -> Tensor:
        """Boolean [B or 1, 1, queries, keys] for a block, given by indices within this call."""
        query = torch.arange(queries.start, queries.stop, device=device)[:, None] + self.first_query
        key = torch.arange(keys.start, keys.stop, device=device)[None, :] + self.first_key
        mask = self.sight.visible(query, key)[None, None]
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
    return Cache(layers=layers)


def pack(states: Tensor, pseudo_heads: int) -> Tensor:
    """[B, G, T*P, d] virtual tokens to [B, G, T, P*d] cache entries."""
    batch, heads, virtual, width = states.shape
    return states.reshape(batch, heads, virtual // pseudo_heads, pseudo_heads * width)


def unpack(entries: Tensor, pseudo_heads: int) -> Tensor:
    """[B, G, T, P*d] cache entries to [B, G, T*P, d] virtual tokens."""
    batch, heads, tokens, width = entries.shape
    return entries.reshape(batch, heads, tokens * pseudo_heads, width // pseudo_heads)
