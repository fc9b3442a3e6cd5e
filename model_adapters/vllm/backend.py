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
import sys
import weakref
from dataclasses import replace
from typing import Any, ClassVar

import torch
from vllm import envs
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

from model_adapters.config import TOKEN
from model_adapters.vllm import cache_spec
from model_adapters.vllm.cache_spec import CacheShape
from model_adapters.vllm.serving_rules import check_backend
from model_adapters.vllm.virtual_batch import (
    APART,
    ONE_ROW,
    DecodeKernel,
    VirtualCounts,
    first_rows,
    layout,
)

# Backends whose metadata follow from the blocks in two fields only, though they do not say so.
_SHARES_METADATA = ("CPU_ATTN",)


@functools.cache
def iha_backend(base: type[AttentionBackend], shape: CacheShape) -> type[AttentionBackend]:
    """A backend that runs `base` on virtual tokens.

    Cached, because vLLM groups layers by backend class; named after P and the mask, because
    it groups them by that name too. It answers to the base's name, which vLLM looks up.

    Args:
        base: backend class with variable-length attention over a paged cache.
        shape: P and mask of the layers it is for.

    Returns:
        The derived class.

    Raises:
        BackendError: the base cannot serve more than one cache state per token.
    """
    check_backend(base.get_name())
    name = f"IHA_{shape.name}"
    builder = _mixed_in(
        name,
        VirtualMetadataBuilder,
        base.get_builder_cls(),
        shape=shape,
        base_backend=base,
        # Not where graphs are captured: those of the other groups read their own builder's lengths
        # and schedules, which `update_block_table` does not fill. Nor of rows, which have more of
        # them than there are requests.
        supports_update_block_table=base.get_name() in _SHARES_METADATA and shape.causal != TOKEN,
    )
    implementation = _mixed_in(
        name,
        VirtualAttentionImpl,
        base.get_impl_cls(),
        shape=shape,
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

    Mixed in before the base's builder, which its `super()` calls reach. With P = 1 a batch is
    handed on as it is.
    """

    shape: ClassVar[CacheShape]
    base_backend: ClassVar[type[AttentionBackend]]
    # Of CPU_ATTN's builders.
    isa: str

    def __init__(
        self, kv_cache_spec: AttentionSpec, layer_names: list[str], vllm_config: Any, device: Any
    ) -> None:
        kernel_spec = self.shape.for_kernel(kv_cache_spec)
        super().__init__(kernel_spec, layer_names, vllm_config, device)
        pseudo_heads = self.shape.pseudo_heads
        self.supports_draft_decode_metadata_update = False
        if hasattr(self, "isa"):
            self.isa = cpu_kernel(self.isa, pseudo_heads, kernel_spec.dtype)
            self._set_isa_to_layers(layer_names)
        # The base compares it with its number of tokens, which are virtual ones here.
        if getattr(self, "max_cudagraph_size", None):
            self.max_cudagraph_size *= pseudo_heads
        if getattr(self, "aot_schedule", False):
            # The base gives up schedules made ahead of time in a model of several windows, because
            # it does not know which layers it serves. These have one.
            window = self.shape.kernel_window
            self.aot_sliding_window = (-1, -1) if window is None else (window - 1, 0)
        if self.shape.window_differs:
            # Layers call with several windows, so that no schedule may count on one.
            self.window_size = -1
        if self.shape.window_differs or self.shape.causal == TOKEN:
            # Nor has FlashAttention room for the schedule of more rows than there are requests.
            self.aot_schedule = False
        self._kernel = self._decode_kernel(kernel_spec, device)
        self._in_one_row = layout(self.shape, self._kernel, 1, decodes=True) == ONE_ROW
        if self._in_one_row:
            for name in ("num_heads_q", "num_heads"):
                if hasattr(self, name):
                    setattr(self, name, pseudo_heads * getattr(self, name))
        scheduler = vllm_config.scheduler_config
        self._slots = torch.empty(0)
        self._most_slots = scheduler.max_num_batched_tokens
        self._row_blocks = torch.empty(0)
        self._most_rows = scheduler.max_num_seqs * pseudo_heads
        self._offsets = torch.arange(pseudo_heads, device=device)
        rows = 1 if self._in_one_row else pseudo_heads
        self._counts = _shared_counts(vllm_config, self.shape, device, rows)
        self._may_part = not envs.VLLM_BATCH_INVARIANT and vllm_config.speculative_config is None
        self._widen_scratch()

    @classmethod
    def get_cudagraph_support(cls, vllm_config: Any, kv_cache_spec: Any) -> AttentionCGSupport:
        """Whole-graph capture for batches of requests with equally many tokens at most.

        That is decoding, with or without speculated tokens.
        """
        support = super().get_cudagraph_support(vllm_config, kv_cache_spec)
        most = AttentionCGSupport.UNIFORM_BATCH
        if cls.shape.causal == TOKEN:
            most = AttentionCGSupport.UNIFORM_SINGLE_TOKEN_DECODE
        return min(support, most, key=lambda level: level.value)

    def build(
        self,
        common_prefix_len: int,
        common_attn_metadata: CommonAttentionMetadata,
        fast_build: bool = False,
    ) -> Any:
        """The base's metadata for P times the tokens."""
        tokens, pseudo_heads = common_attn_metadata, self.shape.pseudo_heads
        if pseudo_heads == 1:
            return super().build(common_prefix_len, tokens, fast_build)
        # Padding included, every request has one token.
        decodes = tokens.max_query_len == 1 and tokens.num_actual_tokens == tokens.num_reqs
        decodes = decodes and self._may_part and not common_prefix_len
        chosen = layout(self.shape, self._kernel, tokens.num_reqs, decodes=decodes)
        apart = chosen in (APART, ONE_ROW)
        changes = dict(self._counts.of(tokens, id(self), apart=apart))
        changes["slot_mapping"] = self._virtual_slots(tokens.slot_mapping)
        if apart:
            # Rows of one request share its blocks, but a prefix is no longer read once for all.
            common_prefix_len = 0
            changes["block_table_tensor"] = self._repeated(tokens.block_table_tensor)
        virtual = replace(tokens, **changes)
        metadata = super().build(common_prefix_len * pseudo_heads, virtual, fast_build)
        if self._in_one_row:
            # Which tells the implementation.
            metadata.in_one_row = True
        return metadata

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

    def _virtual_slots(self, slots: torch.Tensor) -> torch.Tensor:
        """Slot s becomes s*P .. s*P+P-1; padding stays negative."""
        pseudo_heads = self.shape.pseudo_heads
        if pseudo_heads == 1:
            return slots
        if not len(self._slots):
            rows = max(len(slots), self._most_slots)
            self._slots = slots.new_empty((rows, pseudo_heads))
        kept = first_rows(self._slots, len(slots), "slots")
        torch.add(self._offsets, slots.unsqueeze(1), alpha=pseudo_heads, out=kept)
        return kept.flatten()

    def _repeated(self, blocks: torch.Tensor) -> torch.Tensor:
        """[requests, blocks] to [rows, blocks]: each row once for each of the request's rows."""
        if self._counts.requests_of_rows is not None:
            return blocks[self._counts.requests_of_rows]
        (requests, width), each = blocks.shape, self._counts.rows
        if each == 1:
            return blocks
        if not len(self._row_blocks):
            rows = max(requests * each, self._most_rows)
            self._row_blocks = blocks.new_empty((rows, width))
        kept = first_rows(self._row_blocks, requests * each, "block tables")[:, :width]
        kept.unflatten(0, (requests, each)).copy_(blocks.unsqueeze(1))
        return kept

    def _decode_kernel(self, spec: AttentionSpec, device: Any) -> DecodeKernel:
        device = torch.device(device)
        is_gpu = device.type == "cuda"
        # From 0.33 on the Triton kernel splits several rows of a request; the name came with it.
        module = sys.modules[self.base_backend.get_builder_cls().__module__]
        return DecodeKernel(
            backend=self.base_backend.get_name(),
            version=int(getattr(module, "get_flash_attn_version", lambda: 0)() or 0),
            heads=getattr(self, "num_heads_q", getattr(self, "num_heads", spec.num_kv_heads)),
            kv_heads=spec.num_kv_heads,
            pseudo_heads=self.shape.pseudo_heads,
            processors=torch.cuda.get_device_properties(device).multi_processor_count
            if is_gpu
            else 0,
            split_rows=getattr(module, "MAX_3D_QUERY_LEN", 1),
            split_limit=getattr(self, "seq_threshold_3D", 0) or 0,
            segments=getattr(self, "num_par_softmax_segments", 1),
        )

    def _widen_scratch(self) -> None:
        """Give the Triton kernel's split decoding scratch for every row, and all heads of a row.

        It has a row for each request up to its limit, and does not split where that is too few.
        """
        kernel = self._kernel
        scratch = ("softmax_segm_output", "softmax_segm_max", "softmax_segm_expsum")
        if kernel.pseudo_heads == 1 or not hasattr(self, scratch[0]):
            return
        rows, heads = kernel.split_limit, kernel.heads
        if self._in_one_row:
            heads *= kernel.pseudo_heads
        elif kernel.pseudo_heads <= kernel.split_rows:
            rows *= kernel.pseudo_heads
        for name in scratch:
            had = getattr(self, name)
            if len(had) < rows or had.shape[1] < heads:
                setattr(self, name, had.new_empty((rows, heads, *had.shape[2:])))


def cpu_kernel(chosen: str, pseudo_heads: int, dtype: torch.dtype) -> str:
    """Which of CPU_ATTN's kernels serves a group of layers: vLLM's choice, or a better one.

    vLLM takes "vec" where it can, with eight rows and 32 keys at a time. "vec16" has 16 of both,
    which suits windows and several rows a token. Its time, of the other's, in vLLM 0.32 on a
    processor with AVX-512, bfloat16 (`benchmarks/cpu_attention.py`): prompts 0.79 to 0.83, decoding
    with P = 2 and 4 0.80 to 1.00. Decoding of plain layers takes 1.1 and in float32 twice as long:
    these keep vLLM's choice.

    Args:
        chosen: vLLM's choice.
        pseudo_heads: P of the layers.
        dtype: of the cache.
    """
    is_better = pseudo_heads > 1 and dtype == torch.bfloat16 and torch.cpu._is_avx512_supported()
    return "vec16" if chosen == "vec" and is_better else chosen


_COUNTS: weakref.WeakValueDictionary[tuple[Any, ...], VirtualCounts] = weakref.WeakValueDictionary()


def _shared_counts(vllm_config: Any, shape: CacheShape, device: Any, rows: int) -> VirtualCounts:
    """One for all builders of an engine with the same P, kind of mask and rows of a token.

    Two halves of a batch under way at once have to have their own.
    """
    scheduler, parallel = vllm_config.scheduler_config, vllm_config.parallel_config
    by_token = shape.causal == TOKEN
    key = (id(vllm_config), shape.pseudo_heads, by_token, rows, str(device))
    counts = _COUNTS.get(key)
    if counts is None or getattr(parallel, "use_ubatching", False):
        counts = VirtualCounts(
            shape.pseudo_heads, scheduler.max_num_seqs, device, by_token=by_token, rows=rows
        )
        # Alive as long as the numbers, so that no other configuration gets its identity.
        counts.owner = vllm_config
        _COUNTS[key] = counts
    return counts


class VirtualAttentionImpl(AttentionImpl[Any]):
    """The base's implementation, which writes the cache at the builder's virtual slots.

    Mixed in before it. vLLM itself would write at slots that it computed in tokens.
    """

    shape: ClassVar[CacheShape]
    base_writes_cache: ClassVar[bool]
    sliding_window: Any

    def forward(
        self,
        layer: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kv_cache: torch.Tensor,
        attn_metadata: Any,
        output: torch.Tensor,
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
        pseudo_heads = self.shape.pseudo_heads
        if getattr(attn_metadata, "in_one_row", False):
            # [T*P, H, d] as [T, H*P, d], and back: a key head's queries stay side by side.
            heads = _heads_of_one_row(query, pseudo_heads)
            inputs = (layer, heads, key, value, kv_cache, attn_metadata)
            rows = super().forward(*inputs, torch.empty_like(heads), *args, **kwargs)
            by_head = rows.view(len(heads), -1, pseudo_heads, query.shape[-1])
            output.view(by_head.transpose(1, 2).shape).copy_(by_head.transpose(1, 2))
            return output
        inputs = (layer, query, key, value, kv_cache, attn_metadata)
        attended: torch.Tensor = super().forward(*inputs, output, *args, **kwargs)
        if self.shape.window_differs and attn_metadata is not None:
            # The last pseudo-head has the whole window, see `virtual_batch.layout`.
            for index in range(pseudo_heads - 1):
                narrow = copy.copy(self)
                narrow.sliding_window = _narrowed(self.sliding_window, pseudo_heads - 1 - index)
                own = attn_metadata
                if getattr(attn_metadata, "sliding_window", None) is not None:
                    # As in vLLM 0.26's FLASH_ATTN, whose metadata overrule the layer's own window.
                    own = copy.copy(attn_metadata)
                    own.sliding_window = narrow.sliding_window
                rows = torch.empty_like(output)
                narrowed = (*inputs[:-1], own, rows)
                super(VirtualAttentionImpl, narrow).forward(*narrowed, *args, **kwargs)
                output[index::pseudo_heads] = rows[index::pseudo_heads]
        return attended


def _heads_of_one_row(query: torch.Tensor, pseudo_heads: int) -> torch.Tensor:
    """[T*P, H, d] to [T, H*P, d]."""
    by_head = query.view(-1, pseudo_heads, *query.shape[1:]).transpose(1, 2)
    return by_head.flatten(1, 2)


def _narrowed(window: Any, less: int) -> Any:
    """A base's window, by its own convention, of so many virtual tokens less."""
    if isinstance(window, int):
        return window - less
    left, right = window
    return (left - less, right)
