"""The key/value cache of the Transformers model: P states per token and layer.

For: generation. A token's P states lie side by side in the last dimension, so that Transformers'
own cache layers, which count one entry per token, can hold, crop and reorder them unchanged.
Not for: serving; there vLLM's paged cache holds them (see `vllm/backend.py`).
"""

from torch import Tensor
from transformers.cache_utils import (
    Cache,
    CacheLayerMixin,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionCacheLayerMixin,
)

from model_adapters.config import IHAConfig


def make_cache(config: IHAConfig) -> Cache:
    """An empty cache in which a windowed layer keeps only its window.

    The stock sliding layer keeps one entry less than the window it is told. The first virtual
    query of an IHA token reaches into the token W back, so an IHA layer has to keep W tokens.
    """
    layers: list[CacheLayerMixin | LinearAttentionCacheLayerMixin] = []
    for index in range(config.num_hidden_layers):
        window = config.window(index)
        if window is None:
            layers.append(DynamicLayer())
        else:
            reach = window + 1 if config.pseudo_heads(index) > 1 else window
            # The stock layer's slice `[-0:]` would keep everything at a window of one.
            layers.append(DynamicSlidingWindowLayer(sliding_window=max(reach, 2)))
    return Cache(layers=layers)


def pack(states: Tensor, pseudo_heads: int) -> Tensor:
    """[B, G, T*P, d] virtual tokens to [B, G, T, P*d] cache entries."""
    batch, heads, virtual, width = states.shape
    return states.reshape(batch, heads, virtual // pseudo_heads, pseudo_heads * width)


def unpack(entries: Tensor, pseudo_heads: int) -> Tensor:
    """[B, G, T, P*d] cache entries to [B, G, T*P, d] virtual tokens."""
    batch, heads, tokens, width = entries.shape
    return entries.reshape(batch, heads, tokens * pseudo_heads, width // pseudo_heads)
