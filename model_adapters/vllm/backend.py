"""Serves P virtual tokens per token through vLLM's own attention backends, unchanged kernels.

For: `model.py`. A backend class is derived per (base backend, P, window): its metadata builder
hands the base everything in virtual tokens, its implementation writes P cache states per token, and
`cache_spec.py` tells the scheduler, which keeps counting in tokens.
Not for: kernels of its own, and not the mixing and collapsing around attention.

vLLM's block pooling for causal Whisper (`models/whisper_causal.py`) is the precedent.
"""

import copy
import functools
import math
from dataclasses import replace
from typing import Any, ClassVar

import torch
from vllm.v1.attention.backend import (
    AttentionBackend,
    AttentionCGSupport,
    AttentionImpl,
    AttentionMetadataBuilder,
    CommonAttentionMetadata,
    MultipleOf,
    subclass_attention_backend_with_overrides,
)
from vllm.v1.kv_cache_interface import AttentionSpec

from model_adapters.vllm import cache_spec
from model_adapters.vllm.cache_spec import CacheShape
from model_adapters.vllm.serving_rules import check_backend

# What counts tokens in a batch's metadata, over all supported vLLM releases.
_COUNTS = ("num_actual_tokens", "max_query_len", "max_seq_len")
_CPU_TENSORS = (
    "query_start_loc_cpu",
    "seq_lens_cpu_upper_bound",
    "_seq_lens_cpu",
    "_num_computed_tokens_cpu",
)
# What a base builder derives from the above, in tokens, or what no supported base reads.
_STALE = ("_num_computed_tokens_cache", "_token_to_req_indices_cache", "positions")


# Backends whose metadata follow from the blocks in two fields only, though they do not say so.
_SHARES_METADATA = ("CPU_ATTN",)


@functools.cache
def iha_backend(base: type[AttentionBackend], shape: CacheShape) -> type[AttentionBackend]:
    """A backend that runs `base` on virtual tokens.

    Cached, because vLLM groups layers by backend class; named after P and the window, because
    it groups them by that name too. It answers to the base's name, which vLLM looks up.

    Args:
        base: backend class with variable-length attention over a paged cache.
        shape: P and W of the layers it is for.

    Returns:
        The derived class.

    Raises:
        BackendError: the base cannot serve more than one cache state per token.
    """
    check_backend(base.get_name())
    name = f"IHA_P{shape.pseudo_heads}_W{shape.window or 0}_"
    builder = _mixed_in(
        name,
        VirtualMetadataBuilder,
        base.get_builder_cls(),
        shape=shape,
        # Not where graphs are captured: those of the other groups read their own builder's lengths
        # and schedules, which `update_block_table` does not fill.
        supports_update_block_table=base.get_name() in _SHARES_METADATA,
    )
    implementation = _mixed_in(
        name,
        VirtualAttentionImpl,
        base.get_impl_cls(),
        base_writes_cache=base.forward_includes_kv_cache_update,
    )
    overrides: dict[str, Any] = {
        "get_builder_cls": staticmethod(lambda: builder),
        "get_impl_cls": staticmethod(lambda: implementation),
        "get_supported_kernel_block_sizes": staticmethod(
            lambda *args, **kwargs: _relaxed(base, shape.pseudo_heads, *args, **kwargs)
        ),
        "forward_includes_kv_cache_update": True,
    }
    if not cache_spec.HAS_TOKENS_PER_STATE:
        overrides["get_kv_cache_shape"] = staticmethod(
            functools.partial(_stretched_cache_shape, base, shape.pseudo_heads)
        )
    derived: type[AttentionBackend] = subclass_attention_backend_with_overrides(
        name, base, overrides
    )
    return derived


def _mixed_in(name: str, mixin: type[Any], base: type[Any], **attributes: Any) -> type[Any]:
    return type(name + base.__name__, (mixin, base), attributes)


def _relaxed(
    base: type[AttentionBackend], pseudo_heads: int, *args: Any, **kwargs: Any
) -> list[int | MultipleOf]:
    """The base's supported block sizes, in tokens of P states."""
    sizes: list[int | MultipleOf] = []
    for size in base.get_supported_kernel_block_sizes(*args, **kwargs):
        if isinstance(size, MultipleOf):
            sizes.append(MultipleOf(size.base // math.gcd(size.base, pseudo_heads)))
        elif size % pseudo_heads == 0:
            sizes.append(size // pseudo_heads)
    return sizes


def _stretched_cache_shape(
    base: type[AttentionBackend],
    pseudo_heads: int,
    num_blocks: int,
    block_size: int,
    num_kv_heads: int,
    *args: Any,
    **kwargs: Any,
) -> tuple[int, ...]:
    """Cache tensor shape where the specification states P states per token as P times the heads."""
    stretched = (num_blocks, block_size * pseudo_heads, num_kv_heads // pseudo_heads)
    shape: tuple[int, ...] = base.get_kv_cache_shape(*stretched, *args, **kwargs)
    return shape


class VirtualMetadataBuilder(AttentionMetadataBuilder[Any]):
    """Feeds the base's metadata builder with virtual tokens from persistent buffers.

    Mixed in before the base's builder, which its `super()` calls reach.
    """

    shape: ClassVar[CacheShape]

    def __init__(
        self, kv_cache_spec: AttentionSpec, layer_names: list[str], vllm_config: Any, device: Any
    ) -> None:
        kernel_spec = self.shape.for_kernel(kv_cache_spec)
        super().__init__(kernel_spec, layer_names, vllm_config, device)
        self.supports_draft_decode_metadata_update = False
        # The base compares it with its number of tokens, which are virtual ones here.
        if getattr(self, "max_cudagraph_size", None):
            self.max_cudagraph_size *= self.shape.pseudo_heads
        scheduler = vllm_config.scheduler_config
        self._rows = {"slots": scheduler.max_num_batched_tokens}
        self._rows_per_request = scheduler.max_num_seqs + 1
        self._buffers: dict[str, torch.Tensor] = {}
        self._offsets = torch.arange(self.shape.pseudo_heads, device=device)

    @classmethod
    def get_cudagraph_support(cls, vllm_config: Any, kv_cache_spec: Any) -> AttentionCGSupport:
        """Whole-graph capture for single-token decode at most."""
        support = super().get_cudagraph_support(vllm_config, kv_cache_spec)
        single = AttentionCGSupport.UNIFORM_SINGLE_TOKEN_DECODE
        return min(support, single, key=lambda level: level.value)

    def build(
        self,
        common_prefix_len: int,
        common_attn_metadata: CommonAttentionMetadata,
        fast_build: bool = False,
    ) -> Any:
        """The base's metadata for P times the tokens."""
        virtual = self._virtual(common_attn_metadata)
        return super().build(common_prefix_len * self.shape.pseudo_heads, virtual, fast_build)

    def update_block_table(
        self, metadata: Any, blk_table: torch.Tensor, slot_mapping: torch.Tensor
    ) -> Any:
        """Metadata of a group of layers that differs from another's in its blocks alone.

        vLLM deals eight sliding layers and two full ones out into five groups, four of one kind.
        """
        updated = copy.copy(metadata)
        updated.block_table = blk_table
        updated.slot_mapping = self._virtual_slots(slot_mapping)
        return updated

    def _virtual(self, tokens: CommonAttentionMetadata) -> CommonAttentionMetadata:
        pseudo_heads = self.shape.pseudo_heads
        changes: dict[str, Any] = dict.fromkeys(name for name in _STALE if hasattr(tokens, name))
        for name in (*_COUNTS, *_CPU_TENSORS):
            value = getattr(tokens, name, None)
            if value is not None:
                changes[name] = value * pseudo_heads
        for name in ("query_start_loc", "seq_lens"):
            counts = getattr(tokens, name)
            changes[name] = self._kept(name, counts.shape, counts)
            torch.mul(counts, pseudo_heads, out=changes[name])
        changes["slot_mapping"] = self._virtual_slots(tokens.slot_mapping)
        return replace(tokens, **changes)

    def _virtual_slots(self, slots: torch.Tensor) -> torch.Tensor:
        """Slot s becomes s*P .. s*P+P-1; padding stays negative."""
        pseudo_heads = self.shape.pseudo_heads
        kept = self._kept("slots", (len(slots), pseudo_heads), slots)
        torch.add(slots.unsqueeze(1) * pseudo_heads, self._offsets, out=kept)
        return kept.clamp_(min=-1).flatten()

    def _kept(self, name: str, shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
        """A view of a buffer whose address stays, because CUDA graphs record addresses."""
        if name not in self._buffers:
            rows = max(shape[0], self._rows.get(name, self._rows_per_request))
            self._buffers[name] = like.new_empty((rows, *shape[1:]))
        buffer = self._buffers[name]
        if len(buffer) < shape[0]:
            raise RuntimeError(
                f"a batch has {shape[0]} rows of {name}, but {len(buffer)} were planned; a larger "
                "buffer would have another address than the one that graphs recorded"
            )
        return buffer[: shape[0]]


class VirtualAttentionImpl(AttentionImpl[Any]):
    """The base's implementation, which writes the cache at the builder's virtual slots.

    Mixed in before it. vLLM itself would write at slots that it computed in tokens.
    """

    base_writes_cache: ClassVar[bool]

    def forward(
        self,
        layer: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kv_cache: torch.Tensor,
        attn_metadata: Any,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Write keys and values [T*P, G, d], then attend; shapes as in the base."""
        packed = getattr(layer, "packed", None)
        if packed is not None:
            query, key, value = packed.unpack(query, key, value, kv_cache, attn_metadata)
        if attn_metadata is not None and key is not None and not self.base_writes_cache:
            slots = attn_metadata.slot_mapping
            self.do_kv_cache_update(layer, key, value, kv_cache, slots)
        output: torch.Tensor = super().forward(
            layer, query, key, value, kv_cache, attn_metadata, *args, **kwargs
        )
        return output
