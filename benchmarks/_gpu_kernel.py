"""The fused pass against plain PyTorch, and how near it comes to the device's copy bandwidth.

For: `gpu.py`'s "kernel" cells. Bytes are counted as each input read once and each output written
once, whatever an implementation moves; so a share of the ceiling says how much time is left to win.
Not for: an engine's speed; see the serving cells.
"""

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from _gpu_cells import SHAPES, GpuCell
from _gpu_rows import RowFile
from torch import Tensor

from model_adapters.vllm.fused import MixingMatrices, naive
from model_adapters.vllm.fused.launch import plan
from model_adapters.vllm.fused.packed import cache_views

# Tokens at which plain PyTorch is compiled too: each compilation takes seconds of the cell's 60.
COMPILED = 2048
BLOCK = 16
# Of bfloat16 results: half a unit in the last place is 2^-9.
ROUNDING = 2**-7


def seconds(function: Callable[[], Any], device: str) -> float:
    """Median time of one call, after a first one; on a GPU as replayed from a graph."""
    function()
    if device == "cuda":
        from triton.testing import do_bench_cudagraph

        return float(do_bench_cudagraph(function, rep=60, return_mode="median")) / 1e3
    times = []
    for _ in range(3):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def copy_ceiling(device: str, size: int) -> float:
    """Bytes per second of a large copy, read and written bytes both counted."""
    source = torch.randn(size // 4, device=device)
    target = torch.empty_like(source)
    return 2 * size / seconds(lambda: target.copy_(source), device)


class FusedWork:
    """Random states of T tokens, and an empty cache with room for them.

    Args:
        shape: a model's sizes.
        pseudo_heads: P.
        tokens: T.
        device: where.
        dtype: of everything.
    """

    def __init__(
        self, shape: dict[str, Any], pseudo_heads: int, tokens: int, device: str, dtype: torch.dtype
    ) -> None:
        heads, kv_heads = shape["num_attention_heads"], shape["num_key_value_heads"]
        width, virtual = shape["head_dim"], tokens * pseudo_heads
        make = functools.partial(torch.randn, device=device, dtype=dtype)
        alphas = [make(pseudo_heads * count, count) for count in (heads, kv_heads, kv_heads)]
        self.mixing = MixingMatrices(*alphas, width=width, virtual=True)
        self.collapse = make(heads, pseudo_heads * heads)
        self.qkv = make(tokens, self.mixing.packed_width)
        self.attended = make(virtual, heads * width)
        self.positions = torch.arange(tokens, device=device)
        self.table = make(virtual, width)
        blocks = -(-virtual // BLOCK)
        self.slots = torch.randperm(blocks * BLOCK, device=device)[:virtual]
        cache = make(blocks, kv_heads, BLOCK, 2 * width)
        self.key_cache, self.value_cache = cache_views(cache, width)

    @property
    def fused_bytes(self) -> int:
        """States read, P times as many written."""
        return self.qkv.nbytes * (1 + self.mixing.pseudo_heads)

    @property
    def collapse_bytes(self) -> int:
        """P times the queries' size read, once written."""
        return self.attended.nbytes + self.attended.nbytes // self.mixing.pseudo_heads

    def arguments(self) -> tuple[Any, ...]:
        """Of the fused pass."""
        inputs = (self.qkv, self.positions, self.slots, self.table, self.mixing)
        return (*inputs, self.key_cache, self.value_cache)

    def plain(self) -> Tensor:
        """The fused pass as PyTorch operations on whole tensors, in the model's own type."""
        mixing = self.mixing
        counts = [mixing.heads, mixing.kv_heads, mixing.kv_heads]
        parts = self.qkv.unflatten(1, (-1, mixing.width)).split(counts, dim=1)
        alphas = (mixing.alpha_q, mixing.alpha_k, mixing.alpha_v)
        query, key, value = (
            torch.bmm(alpha.expand(len(part), -1, -1), part).view(-1, part.shape[1], mixing.width)
            for part, alpha in zip(parts, alphas, strict=True)
        )
        rows = self.table[naive.virtual_rows(self.positions, mixing)].unsqueeze(1)
        block, state = self.slots // BLOCK, self.slots % BLOCK
        self.key_cache[block, state] = _rotated(key, rows)
        self.value_cache[block, state] = value
        return _rotated(query, rows).flatten(1)

    def collapsed(self) -> Tensor:
        """[T*P, H*d] to [T, H*d], as the served model does it."""
        stacked = self.attended.view(-1, self.collapse.shape[1], self.mixing.width)
        return torch.bmm(self.collapse.expand(len(stacked), -1, -1), stacked)


def _rotated(states: Tensor, rows: Tensor) -> Tensor:
    cos, sin = rows.chunk(2, dim=-1)
    first, second = states.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def error(work: FusedWork, kernel: Callable[..., Tensor]) -> dict[str, float]:
    """Relative distance from the float32 version, in queries, keys and values; NaN if any is."""
    query, keys, values = naive.mix_rotate(work.qkv, work.positions, work.table, work.mixing)
    made = kernel(*work.arguments())
    block, state = work.slots // BLOCK, work.slots % BLOCK
    pairs = {
        "query": (made.float(), query.flatten(1)),
        "key": (work.key_cache[block, state].float(), keys),
        "value": (work.value_cache[block, state].float(), values),
    }
    return {name: float((got - want).norm() / want.norm()) for name, (got, want) in pairs.items()}


def row(work: FusedWork, device: str, ceiling: float) -> dict[str, Any]:
    """Times of the kernel, of plain PyTorch (once compiled too, on a GPU) and of collapsing."""
    from model_adapters.vllm.fused.kernel import mix_rotate_cache

    processors = (
        torch.cuda.get_device_properties(0).multi_processor_count if device == "cuda" else 1
    )
    launch = plan(len(work.qkv), work.mixing.sizes, processors)
    fused = functools.partial(mix_rotate_cache, launch=launch)
    measured: dict[str, Any] = {"error": error(work, fused)}
    ways = {
        "kernel": (lambda: fused(*work.arguments()), work.fused_bytes),
        "plain": (work.plain, work.fused_bytes),
        "collapse": (work.collapsed, work.collapse_bytes),
    }
    if device == "cuda" and len(work.qkv) == COMPILED:
        # Or the limit on compilations of one function would be reached without a word.
        torch.compiler.reset()
        ways["plain, compiled"] = (torch.compile(work.plain), work.fused_bytes)
    for name, (function, size) in ways.items():
        took = seconds(function, device)
        measured[name] = {"seconds": took, "of_copy_ceiling": size / took / ceiling}
    # Written so that a NaN is not right either.
    measured["right"] = all(value < ROUNDING for value in measured["error"].values())
    return measured


def run(cell: GpuCell, device: str, rows: RowFile) -> None:
    """All rows of a cell; shares are of the copy that is measured first, each time."""
    ceiling = copy_ceiling(device, 1 << (24 if cell.tiny else 30))
    rows.add("copy", {"bytes_per_second": ceiling})
    dtype = torch.float32 if cell.tiny else torch.bfloat16
    for shape in ["tiny"] if cell.tiny else ["2.4B", "1B"]:
        for pseudo_heads in (2, 4):
            for tokens in (1, 3) if cell.tiny else (1, 64, 2048, 8192):
                about = {"shape": shape, "pseudo_heads": pseudo_heads, "tokens": tokens}
                sizes = (SHAPES[shape], pseudo_heads, tokens, device, dtype)
                rows.measure(
                    f"{shape} P={pseudo_heads} T={tokens}",
                    lambda sizes=sizes, about=about: (
                        about | row(FusedWork(*sizes), device, ceiling)
                    ),
                )


def table(measured: dict[str, Any]) -> str:
    """Markdown of the rows by their keys."""
    copy = measured.get("copy", {"bytes_per_second": float("nan")})
    lines = [
        f"Copy ceiling: {copy['bytes_per_second'] / 1e9:.0f} GB/s\n",
        "| shape | P | tokens | kernel, us | of ceiling | plain / kernel | compiled / kernel "
        "| collapse of ceiling | worst error |",
        "|---" * 9 + "|",
    ]
    for entry in measured.values():
        if "kernel" not in entry:
            continue
        kernel = entry["kernel"]["seconds"]
        compiled = entry.get("plain, compiled")
        lines.append(
            f"| {entry['shape']} | {entry['pseudo_heads']} | {entry['tokens']} "
            f"| {kernel * 1e6:.1f} | {entry['kernel']['of_copy_ceiling']:.2f} "
            f"| {entry['plain']['seconds'] / kernel:.2f} "
            f"| {compiled['seconds'] / kernel if compiled else float('nan'):.2f} "
            f"| {entry['collapse']['of_copy_ceiling']:.2f} | {max(entry['error'].values()):.1e} |"
        )
    return "\n".join(lines)
