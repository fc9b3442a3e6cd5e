"""vLLM's GPU attention on a processor: Triton's interpreter, and stand-ins for what has no source.

For: the children of `tests/gpu_path`, each a process of its own: what is replaced here stays so.
Call `pretend()` before anything imports vLLM.
Not for: rounding of real kernels, FlashAttention's own code, inductor, or time.
"""

import math
import os
from types import SimpleNamespace
from typing import Any

import torch


def pretend() -> None:
    """Make vLLM's CPU build take Triton for installed; its kernels run in the interpreter."""
    os.environ["TRITON_INTERPRET"] = "1"
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    import triton.backends

    class Driver:
        @staticmethod
        def is_active() -> bool:
            return False

    registered: Any = triton.backends.backends
    registered["cpu"] = SimpleNamespace(driver=Driver, compiler=None)
    import vllm.triton_utils

    assert vllm.triton_utils.HAS_TRITON
    del registered["cpu"]
    capability: Any = lambda *_: (9, 0)  # noqa: E731
    torch.cuda.get_device_capability = capability


def flash_attention(
    q: Any,
    k: Any,
    v: Any,
    out: Any = None,
    cu_seqlens_q: Any = None,
    max_seqlen_q: int = 0,
    seqused_k: Any = None,
    max_seqlen_k: int = 0,
    softmax_scale: float = 1.0,
    causal: bool = True,
    window_size: Any = None,
    block_table: Any = None,
    **_: Any,
) -> Any:
    """`flash_attn_varlen_func` over a paged cache, spelled out; its claims about sizes are checked.

    Args:
        q: [rows, H, d].
        k: [blocks, B, G, d].
        v: likewise.
        out: [rows, H, d], written.
        cu_seqlens_q: [requests + 1].
        max_seqlen_q: no request has more rows.
        seqused_k: [requests], lengths.
        max_seqlen_k: no length is greater.
        softmax_scale: of scores.
        causal: always so here.
        window_size: states to the left and right, -1 for all.
        block_table: [requests, blocks].
    """
    assert causal is True
    for request, length in enumerate(seqused_k.tolist()):
        first, last = (int(cu_seqlens_q[request + side]) for side in (0, 1))
        if first == last:
            continue
        rows = last - first
        assert rows <= max_seqlen_q
        assert length <= max_seqlen_k
        blocks = block_table[request, : -(-length // k.shape[1])].long()
        group = q.shape[1] // k.shape[2]
        keys, values = (
            cache[blocks].flatten(0, 1)[:length].repeat_interleave(group, 1).float()
            for cache in (k, v)
        )
        at = torch.arange(rows)[:, None] + length - rows
        other = torch.arange(length)[None]
        seen = other <= at
        if window_size and window_size[0] >= 0:
            seen &= other >= at - window_size[0]
        scores = torch.einsum("qhd,khd->hqk", q[first:last].float(), keys) * softmax_scale
        weights = scores.masked_fill(~seen, -math.inf).softmax(-1)
        # What is not seen may be anything, NaN included.
        values = values.masked_fill(~seen.any(0)[:, None, None], 0)
        out[first:last] = torch.einsum("hqk,khd->qhd", weights, values).to(out.dtype)
    return out


def write_cache(key: Any, value: Any, k_cache: Any, v_cache: Any, slots: Any, *_: Any) -> None:
    """`reshape_and_cache_flash`, row by row."""
    size = k_cache.shape[1]
    for row, slot in enumerate(slots.tolist()):
        if slot >= 0:
            k_cache[slot // size, slot % size] = key[row]
            v_cache[slot // size, slot % size] = value[row]


class FlashStandIns:
    """Puts stand-ins in vLLM's FLASH_ATTN module.

    Args:
        version: of FlashAttention, as vLLM is told.

    Attributes:
        module: vLLM's.
        schedules: arguments of every schedule that was made ahead of time.
        windows: what vLLM finds the model's layers to have.
    """

    def __init__(self, version: int = 3) -> None:
        import vllm.v1.attention.backends.flash_attn as module

        self.module: Any = module
        self.version = version
        self.schedules: list[dict[str, Any]] = []
        self.windows: set[tuple[int, int]] = set()
        module.flash_attn_varlen_func = flash_attention
        module.reshape_and_cache_flash = write_cache
        kernel = getattr(module, "_FA4_DENSE_ATTENTION_KERNEL", None)
        if kernel is not None:
            type(kernel).kernel = staticmethod(flash_attention)
        module.get_flash_attn_version = lambda *_, **__: self.version
        module.flash_attn_supports_quant_query_input = lambda: False
        module.get_scheduler_metadata = self._schedule
        module._get_sliding_window_configs = lambda _: set(self.windows)
        if hasattr(module, "get_dcp_world_size_and_rank"):
            module.get_dcp_world_size_and_rank = lambda *_: (1, 0)

    def _schedule(self, **arguments: Any) -> torch.Tensor:
        self.schedules.append(arguments)
        return torch.zeros(1 + 4 * arguments["batch_size"], dtype=torch.int32)


def engine_config(
    heads: int, kv_heads: int, width: int, *, requests: int = 8, tokens: int = 256, graphs: Any = ()
) -> Any:
    """What metadata builders look at of `VllmConfig`.

    Args:
        heads: H.
        kv_heads: G.
        width: d.
        requests: max_num_seqs.
        tokens: max_num_batched_tokens.
        graphs: sizes of CUDA graphs; none are captured without.
    """
    from vllm.config import CUDAGraphMode

    graphs = list(graphs)
    mode = CUDAGraphMode.FULL_AND_PIECEWISE if graphs else CUDAGraphMode.NONE
    model = SimpleNamespace(
        get_num_attention_heads=lambda _: heads,
        get_num_kv_heads=lambda _: kv_heads,
        get_head_size=lambda: width,
        rswa_window=None,
        is_mm_prefix_lm=False,
        dtype=torch.float32,
        hf_config=SimpleNamespace(model_type="iha_llama"),
        max_model_len=256,
    )
    compilation = SimpleNamespace(
        cudagraph_mode=mode,
        cudagraph_capture_sizes=graphs,
        max_cudagraph_capture_size=max(graphs, default=0),
        static_forward_context={},
    )
    return SimpleNamespace(
        model_config=model,
        compilation_config=compilation,
        scheduler_config=SimpleNamespace(max_num_seqs=requests, max_num_batched_tokens=tokens),
        speculative_config=None,
        parallel_config=SimpleNamespace(
            cp_kv_cache_interleave_size=1, decode_context_parallel_size=1, use_ubatching=False
        ),
        cache_config=SimpleNamespace(cache_dtype="auto"),
        attention_config=SimpleNamespace(flash_attn_max_num_splits_for_cuda_graph=32),
        kernel_config=SimpleNamespace(enable_jit_warmup=False),
        use_v2_model_runner=True,
    )
