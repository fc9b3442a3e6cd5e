"""Decoding attention alone, plain against IHA, as bytes per second beside a copy's.

For: `gpu.py`'s "attention" cells: vLLM's metadata builder and kernel of one layer, under a CUDA
graph, without an engine. Bytes are each visible KV state read once, whatever a kernel reads, so a
share of the ceiling says how much time is left to win.
Not for: prefill, nor for what stands around attention.
"""

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from _gpu_cells import BASE, SHAPES, GpuCell
from _gpu_kernel import copy_ceiling, seconds
from _gpu_rows import RowFile

BLOCK = 16
# Backend, and whether TRITON_ATTN may split a context.
WAYS = {"FLASH_ATTN": True, "TRITON_ATTN": True, "TRITON_ATTN, not split": False}


@dataclass(frozen=True)
class Decoding:
    """One row: a batch of decoding requests of one length in one layer.

    Attributes:
        way: a key of `WAYS`.
        pseudo_heads: P; 1 is the plain layer, which sees everything.
        batch: requests.
        context: N; an IHA layer's window is N / (2 P^2) as in the paper's hybrid.
    """

    way: str
    pseudo_heads: int
    batch: int
    context: int

    @property
    def window(self) -> int | None:
        """W in tokens."""
        pseudo = self.pseudo_heads
        return None if pseudo == 1 else max(1, self.context // (2 * pseudo * pseudo))

    @property
    def key(self) -> str:
        """What the row goes by."""
        kind = "plain" if self.pseudo_heads == 1 else f"IHA P={self.pseudo_heads}"
        return f"{self.way}, {kind}, batch {self.batch}, {self.context} tokens"


def decodings(cell: GpuCell) -> list[Decoding]:
    """Rows in the order of what they tell."""
    if cell.tiny:
        return [Decoding("CPU_ATTN", pseudo, 2, 64) for pseudo in (1, 2)]
    return [
        Decoding(way, pseudo, batch, context)
        for context in (16384, 4096)
        for batch in (1, 8, 64)
        for way in WAYS
        for pseudo in (1, 2, 4)
    ]


def engine_config(cell: GpuCell, device: str, folder: Path) -> Any:
    """VLLM's configuration of a model of the shape, of which nothing is loaded."""
    from transformers import LlamaConfig
    from vllm.engine.arg_utils import EngineArgs

    LlamaConfig(**SHAPES[cell.shape] | BASE, architectures=["LlamaForCausalLM"]).save_pretrained(
        folder
    )
    graphs = {} if device != "cuda" else {"cudagraph_capture_sizes": [1, 8, 64]}
    return EngineArgs(
        model=str(folder),
        skip_tokenizer_init=True,
        dtype="bfloat16",
        max_model_len=16384 + BLOCK,
        max_num_seqs=64,
        max_num_batched_tokens=4096,
        compilation_config={"mode": 0, **graphs},
    ).create_engine_config()


def layer(cell: GpuCell, decoding: Decoding, config: Any, device: str) -> Any:
    """A function that attends once, and bytes that it has to read."""
    from vllm.v1.attention.backend import CommonAttentionMetadata
    from vllm.v1.attention.backends.registry import AttentionBackendEnum
    from vllm.v1.kv_cache_interface import FullAttentionSpec, SlidingWindowSpec

    from model_adapters.vllm.backend import iha_backend
    from model_adapters.vllm.cache_spec import CacheShape

    sizes = SHAPES[cell.shape]
    heads, kv_heads = sizes["num_attention_heads"], sizes["num_key_value_heads"]
    width, dtype = sizes["head_dim"], torch.bfloat16
    pseudo, batch, context = decoding.pseudo_heads, decoding.batch, decoding.context
    shape = CacheShape(pseudo, decoding.window)
    base = AttentionBackendEnum[decoding.way.split(",")[0]].get_class()
    backend: Any = iha_backend(base, shape)
    common: dict[str, Any] = {
        "block_size": BLOCK * (1 if device == "cuda" else 2),
        "num_kv_heads": kv_heads,
        "head_size": width,
        "dtype": dtype,
    }
    window = shape.kernel_window
    stated: Any = (
        FullAttentionSpec(**common)
        if window is None
        else SlidingWindowSpec(**common, sliding_window=window)
    )
    block = common["block_size"]
    spec = shape.for_scheduler(stated, block)
    builder = backend.get_builder_cls()(spec, [], config, torch.device(device))
    if not WAYS.get(decoding.way, True):
        builder._kernel = replace(builder._kernel, processors=0)
        builder.seq_threshold_3D = 0
    impl = backend.get_impl_cls()(heads, width, width**-0.5, kv_heads, None, window, "auto", None)
    needed = -(-context // block)
    blocks, states = batch * needed + 1, block * pseudo
    if device == "cuda":
        # In memory state by state, as vLLM has it for both backends.
        cache = torch.randn((blocks, states, kv_heads, 2 * width), device=device, dtype=dtype)
        cache = cache.transpose(1, 2)
    else:
        cache = torch.randn((blocks, kv_heads, states, 2 * width), dtype=dtype)
    table = torch.arange(1, batch * needed + 1, dtype=torch.int32, device=device)
    table = table.view(batch, needed)
    starts = torch.arange(batch + 1, dtype=torch.int32, device=device)
    lengths = torch.full((batch,), context, dtype=torch.int32, device=device)
    tokens = CommonAttentionMetadata(
        query_start_loc=starts,
        query_start_loc_cpu=starts.cpu(),
        seq_lens=lengths,
        seq_lens_cpu_upper_bound=lengths.cpu(),
        num_reqs=batch,
        num_actual_tokens=batch,
        max_query_len=1,
        max_seq_len=context,
        block_table_tensor=table,
        slot_mapping=table[:, -1].long() * block + (context - 1) % block,
    )
    metadata = builder.build(0, tokens)
    query = torch.randn((batch * pseudo, heads, width), device=device, dtype=dtype)
    key, value = torch.randn((2, batch * pseudo, kv_heads, width), device=device, dtype=dtype)
    output = torch.empty_like(query)
    unit = torch.ones(1, device=device)
    scales: dict[str, Any] = {f"_{name}_scale": unit for name in "kvq"}
    scales |= {f"_{name}_scale_float": 1.0 for name in "kv"}
    holder = SimpleNamespace(
        **scales, kv_sharing_target_layer_name=None, isa=getattr(builder, "isa", None)
    )
    seen = context if decoding.window is None else decoding.window
    size = batch * seen * pseudo * 2 * kv_heads * width * cache.element_size()
    apart = pseudo > 1 and metadata.max_query_len == 1

    def attend() -> torch.Tensor:
        return impl.forward(holder, query, key, value, cache, metadata, output)

    return attend, size, apart


def row(
    cell: GpuCell, decoding: Decoding, config: Any, device: str, ceiling: float
) -> dict[str, Any]:
    """Time of one call and its share of what copying reaches."""
    attend, size, apart = layer(cell, decoding, config, device)
    took = seconds(attend, device)
    return {
        "way": decoding.way,
        "pseudo_heads": decoding.pseudo_heads,
        "batch": decoding.batch,
        "context": decoding.context,
        "seconds": took,
        "bytes": size,
        "of_copy_ceiling": size / took / ceiling,
        "rows_apart": apart,
    }


def run(cell: GpuCell, device: str, rows: RowFile) -> None:
    """All rows of a cell."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    from vllm.config import set_current_vllm_config

    ceiling = copy_ceiling(device, 1 << (24 if cell.tiny else 30))
    rows.add("copy", {"bytes_per_second": ceiling})
    with tempfile.TemporaryDirectory() as folder:
        config = engine_config(cell, device, Path(folder))
    with set_current_vllm_config(config), torch.inference_mode():
        for decoding in decodings(cell):
            rows.measure(
                decoding.key,
                lambda decoding=decoding: row(cell, decoding, config, device, ceiling),
            )


def table(measured: dict[str, Any]) -> str:
    """Markdown of the rows by their keys: microseconds, and shares of the copy."""
    lines = [
        "| context | batch | backend | plain, us | of ceiling | P = 2, plain's time / its own "
        "| of ceiling | P = 4 | of ceiling |",
        "|---" * 9 + "|",
    ]
    rows = {
        (row["context"], row["batch"], row["way"], row["pseudo_heads"]): row
        for row in measured.values()
        if "way" in row
    }
    for context, batch, way in dict.fromkeys(key[:3] for key in rows):
        plain = rows.get((context, batch, way, 1))
        if plain is None:
            continue
        cells = [f"{plain['seconds'] * 1e6:.1f} | {plain['of_copy_ceiling']:.2f}"]
        for pseudo in (2, 4):
            ours = rows.get((context, batch, way, pseudo))
            cells.append(
                f"{plain['seconds'] / ours['seconds']:.2f} | {ours['of_copy_ceiling']:.2f}"
                if ours
                else "- | -"
            )
        lines.append(f"| {context} | {batch} | {way} | {' | '.join(cells)} |")
    return "\n".join(lines)
