"""From vLLM's attention layer to the fused pass: one operator takes the projection's raw output.

For: `vllm/model.py` and `vllm/backend.py`. The layer hands qkv, positions and the rotary table to
vLLM's own attention operator in place of query, key and value. That operator is where vLLM cuts
its compiled graph and where it knows cache and slots, so nothing has to be registered; the
implementation behind it calls `Packed.unpack` first.
Not for: any other model's attention, nor for deciding whether to (see `launch.py`).
"""

import functools
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from model_adapters.errors import BackendError
from model_adapters.vllm.fused import naive
from model_adapters.vllm.fused.launch import (
    KERNEL,
    SWITCH,
    WARPS,
    chosen,
    launches,
    plan,
    why_not,
)
from model_adapters.vllm.fused.mixing import MixingMatrices

logger = logging.getLogger(__name__)


def cache_views(kv_cache: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Keys and values of vLLM's cache as the kernel wants them, without a copy.

    Args:
        kv_cache: [blocks, G, B, 2*d], the logical shape that FLASH_ATTN and TRITON_ATTN state
            whatever the order in memory; a state's key stands before its value.
        width: d.

    Returns:
        Two of [blocks, B, G, d].

    Raises:
        BackendError: the cache has another shape, as in other releases of vLLM.
    """
    if kv_cache.dim() != 4 or kv_cache.shape[-1] != 2 * width:
        raise BackendError(
            f"{SWITCH} is set, but this vLLM's cache has shape {list(kv_cache.shape)} instead of "
            f"[blocks, key heads, block size, {2 * width}]: leave {SWITCH} unset."
        )
    key_cache, value_cache = kv_cache.transpose(1, 2).split(width, dim=-1)
    return key_cache, value_cache


@dataclass(frozen=True)
class Packed:
    """What the attention layer keeps of its IHA layer when the fused pass is asked for.

    Attributes:
        mixing: the layer's matrices, loaded in place later.
        mode: `launch.KERNEL` or `launch.PLAIN`.
    """

    mixing: MixingMatrices
    mode: str

    def attend(self, layer: Any, qkv: Tensor, positions: Tensor, table: Tensor) -> Tensor:
        """Call vLLM's attention operator with the raw projections.

        Args:
            layer: vLLM's `Attention`.
            qkv: [T, (H + 2G) * d].
            positions: [T].
            table: [positions, d].

        Returns:
            [T*P, H*d].
        """
        rows = len(qkv) * self.mixing.pseudo_heads
        output = qkv.new_empty((rows, self.mixing.heads, self.mixing.width))
        operator, name = _operator(layer)
        operator(qkv, positions, table, output, name)
        return output.flatten(1)

    def unpack(
        self, query: Tensor, key: Tensor, value: Tensor, kv_cache: Tensor, metadata: Any
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """What the base implementation is to work on.

        Args:
            query: qkv, [T, (H + 2G) * d].
            key: positions, [T].
            value: the rotary table, [positions, d].
            kv_cache: see `cache_views`.
            metadata: the base's, with virtual slots; None in a profiling run.

        Returns:
            Queries [T*P, H, d], and either keys and values [T*P, G, d] that have to be written
            yet, or None for both: they are in the cache.
        """
        qkv, positions, table, mixing = query, key, value, self.mixing
        shape = (-1, mixing.heads, mixing.width)
        if metadata is None:
            if self.mode == KERNEL and qkv.is_cuda:
                warm_up(mixing, qkv, table, _graph_seconds)
            # As much memory as a real run takes.
            rows = len(qkv) * mixing.pseudo_heads
            return qkv.new_empty((rows, mixing.heads * mixing.width)).view(shape), None, None
        if self.mode == KERNEL:
            from model_adapters.vllm.fused.kernel import mix_rotate_cache

            slots = metadata.slot_mapping
            caches = cache_views(kv_cache, mixing.width)
            launch = plan(len(qkv), mixing.sizes, _processors(qkv.device))
            launch = replace(launch, warps=_warps(mixing, qkv).get(launch.variant, launch.warps))
            made = mix_rotate_cache(qkv, positions, slots, table, mixing, *caches, launch)
            return made.view(shape), None, None
        states = naive.mix_rotate(qkv, positions, table, mixing)
        query, key, value = (part.to(qkv.dtype).contiguous() for part in states)
        return query, key, value


Seconds = Callable[[Callable[[], Any]], float]


def warm_up(mixing: MixingMatrices, qkv: Tensor, table: Tensor, seconds: Seconds) -> None:
    """Compile the kernel for every batch there may be, and keep what is fastest on this device.

    vLLM calls the model once without metadata and with the longest batch before it serves.

    Args:
        mixing: a layer's matrices; layers of the same sizes share what is found.
        qkv: [most tokens, (H + 2G) * d].
        table: [positions, d].
        seconds: measures a function.
    """
    from model_adapters.vllm.fused.kernel import mix_rotate_cache

    best = _warps(mixing, qkv)
    if best:
        return
    caches = cache_views(qkv.new_empty((1, mixing.kv_heads, 1, 2 * mixing.width)), mixing.width)
    for tokens, launch in launches(len(qkv), mixing.sizes, _processors(qkv.device)).items():
        positions = torch.zeros(tokens, dtype=torch.int64, device=qkv.device)
        # Padding: nothing is written to the cache.
        slots = torch.full((tokens * mixing.pseudo_heads,), -1, device=qkv.device)
        arguments = (qkv[:tokens], positions, slots, table, mixing, *caches)
        times = {
            warps: seconds(
                functools.partial(mix_rotate_cache, *arguments, replace(launch, warps=warps))
            )
            for warps in WARPS
        }
        best[launch.variant] = min(times, key=lambda warps: times[warps])
    logger.info("%s: warps by tokens and pseudo-heads a program: %s", SWITCH, best)


_WARPS: dict[tuple[Any, ...], dict[tuple[int, int], int]] = {}


def _warps(mixing: MixingMatrices, qkv: Tensor) -> dict[tuple[int, int], int]:
    """Warps by variant of a launch, as measured for layers of these sizes; empty before that."""
    return _WARPS.setdefault((mixing.sizes, mixing.virtual, qkv.dtype, qkv.device), {})


def _graph_seconds(function: Callable[[], Any]) -> float:
    from triton.testing import do_bench  # type: ignore[import-untyped]

    return float(do_bench(function, warmup=2, rep=10, return_mode="median"))


def equip(layers: Iterable[Any], vllm_config: Any) -> str | None:
    """Give layers the fused pass where the engine was asked for it, or log why they do not get it.

    Args:
        layers: the served model's IHA layers whose weights are not folded.
        vllm_config: the engine's configuration.

    Returns:
        "kernel", "plain", or None where the plain path stays.

    Raises:
        BackendError: `additional_config` asks for something that there is not.
    """
    mode = chosen(vllm_config.additional_config)
    members = list(layers)
    if mode is None:
        return None
    if not members:
        logger.warning("%s is set, but all IHA layers are folded: the usual path is taken", SWITCH)
        return None
    reason = why_not(
        mode,
        device=str(vllm_config.device_config.device_type),
        dtype=vllm_config.model_config.dtype,
        cache_dtype=str(vllm_config.cache_config.cache_dtype),
        backend=members[0].attn.base_backend.get_name(),
        width=members[0].head_dim,
        ranks=members[0].ranks,
    )
    if reason is None:
        reason = next(filter(None, (layer.recipe.unfusable() for layer in members)), None)
    if reason is not None:
        logger.warning("%s is set, but %s: the usual path is taken", SWITCH, reason)
        return None
    virtual = vllm_config.model_config.hf_config.pseudo_rope == "virtual"
    for layer in members:
        alphas = (layer.alpha_q, layer.alpha_k, layer.alpha_v)
        mixing = MixingMatrices(*alphas, width=layer.head_dim, virtual=virtual)
        layer.attn.packed = Packed(mixing, mode)
    logger.info("%s: %s in %d layers", SWITCH, mode, len(members))
    return mode


@functools.cache
def _processors(device: torch.device) -> int:
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count


def _operator(layer: Any) -> tuple[Any, Any]:
    """The attention operator, and what it calls this layer."""
    from vllm.model_executor.layers.attention import attention

    if layer.use_direct_call:
        return attention.unified_attention_with_output, layer.layer_name
    name = attention._encode_layer_name(layer.layer_name)
    return torch.ops.vllm.unified_attention_with_output, name
