"""Derived GPU backends, builder and implementation, against naive attention; one process.

Prints one JSON object a group: worst error by case, and what the fast paths did. Run by
`test_backends.py`:

    python backend_child.py GROUP ...
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import gpu_on_cpu

gpu_on_cpu.pretend()

import torch
import vllm.v1.attention.backends.triton_attn as triton_attn
import vllm.v1.attention.ops.triton_unified_attention as unified
from vllm.v1.attention.backend import CommonAttentionMetadata
from vllm.v1.kv_cache_interface import FullAttentionSpec, SlidingWindowSpec

from model_adapters import naive
from model_adapters.config import VirtualMask
from model_adapters.vllm import backend as iha
from model_adapters.vllm import virtual_batch
from model_adapters.vllm.cache_spec import CacheShape

FLASH = gpu_on_cpu.FlashStandIns()
triton_attn.get_num_attention_heads_from_layers = lambda *_: None
FLASH.module.get_num_attention_heads_from_layers = lambda *_: None
BASES: dict[str, Any] = {
    "TRITON_ATTN": triton_attn.TritonAttentionBackend,
    "FLASH_ATTN": FLASH.module.FlashAttentionBackend,
}
SPLITS: list[bool] = []
NAN = float("nan")
Step = list[tuple[int, int]]
# Requests and their new tokens: prompts in chunks, decoding beside them, then decoding alone.
PREFILL: list[Step] = [[(0, 20), (1, 10), (2, 5)], [(0, 7), (1, 1)], [(0, 1), (1, 1), (2, 9)]]
DECODE: list[Step] = [[(0, 1), (1, 1), (2, 1)], [(2, 1), (0, 1), (1, 1)], [(1, 1), (2, 1)]]


class CountedKernel:
    """vLLM's kernel, which notes whether it was launched with split contexts."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel

    def __getitem__(self, grid: Any) -> Any:
        def launch(*arguments: Any, **constants: Any) -> Any:
            SPLITS.append(bool(constants["IS_3D"]))
            return self.kernel[grid](*arguments, **constants)

        return launch


unified.kernel_unified_attention = CountedKernel(unified.kernel_unified_attention)


@dataclass(frozen=True)
class Case:
    """One backend, layer and batch sequence; see `Scene`."""

    base: str = "FLASH_ATTN"
    pseudo: int = 2
    window: int | None = None
    heads: int = 4
    kv_heads: int = 4
    width: int = 32
    block: int = 16
    states_first: bool = True
    graphs: tuple[int, ...] = ()
    steps: tuple[Step, ...] = tuple(PREFILL + DECODE)
    padding: int = 0
    version: int = 3
    processors: int = 0
    dtype: torch.dtype = torch.float32
    slots: int | None = None
    causal: str = "virtual"
    edge: str = "virtual"


class Scene:
    """A cache, its requests, and the vLLM side of one group of layers."""

    def __init__(self, case: Case) -> None:
        torch.manual_seed(0)
        self.case = case
        self.shape = CacheShape(case.pseudo, case.window, case.slots, case.causal, case.edge)
        FLASH.version = case.version
        # A hybrid model: this layer's window beside another one's.
        slots = self.shape.kernel_window
        own = (-1, -1) if slots is None else (slots - 1, 0)
        FLASH.windows = {own, (99, 0)}
        backend = iha.iha_backend(BASES[case.base], self.shape)
        sizes: dict[str, Any] = {
            "block_size": case.block,
            "num_kv_heads": case.kv_heads,
            "head_size": case.width,
            "dtype": case.dtype,
        }
        window = self.shape.kernel_window
        stated: Any = (
            FullAttentionSpec(**sizes)
            if window is None
            else SlidingWindowSpec(**sizes, sliding_window=window)
        )
        spec = self.shape.for_scheduler(stated, case.block)
        (unit,) = backend.get_supported_kernel_block_sizes()
        assert case.block % unit.base == 0
        config = gpu_on_cpu.engine_config(case.heads, case.kv_heads, case.width, graphs=case.graphs)
        self.builder: Any = backend.get_builder_cls()(spec, ["layer"], config, torch.device("cpu"))
        self.builder._kernel = replace(self.builder._kernel, processors=case.processors)
        self.impl: Any = backend.get_impl_cls()(
            case.heads, case.width, case.width**-0.5, case.kv_heads, None, window, "auto", None
        )
        ones = {f"_{name}_scale": torch.ones(1) for name in "kvq"}
        self.layer = SimpleNamespace(**ones, kv_sharing_target_layer_name=None)
        blocks, states, content = 64, case.block * case.pseudo, 2 * case.width
        order = (
            (blocks, states, case.kv_heads, content)
            if case.states_first
            else (blocks, case.kv_heads, states, content)
        )
        cache = torch.full(order, NAN, dtype=case.dtype)
        self.cache = cache.transpose(1, 2) if case.states_first else cache
        # vLLM's null block stands for what a window has left, and holds anything.
        self.cache[0] = 50.0
        self.free = (torch.randperm(blocks - 1) + 1).tolist()
        self.was_apart = False
        self.held: dict[int, list[int]] = {}
        self.done: dict[int, int] = {}
        self.data: dict[int, list[torch.Tensor]] = {}
        self.truth: dict[int, torch.Tensor] = {}
        for request in {request for step in case.steps for request, _ in step}:
            self._begin(request)
        self.starts = torch.zeros(9, dtype=torch.int32)
        self.lengths = torch.zeros(8, dtype=torch.int32)
        self.slots = torch.zeros(64, dtype=torch.int64)
        self.table = torch.zeros(8, 16, dtype=torch.int32)

    def _begin(self, request: int) -> None:
        case = self.case
        total = sum(new for step in case.steps for other, new in step if other == request)
        draw = [
            torch.randn(total * case.pseudo, heads, case.width).to(case.dtype)
            for heads in (case.heads, case.kv_heads, case.kv_heads)
        ]
        kind = {"slots": case.slots, "causal": case.causal, "edge": case.edge}
        mask = naive.visible(total, case.pseudo, case.window, **kind)
        self.data[request], self.done[request], self.held[request] = draw, 0, []
        heads_first = [states.transpose(0, 1).double() for states in draw]
        query, key, value = heads_first
        self.truth[request] = naive.attend(query, key, value, mask).transpose(0, 1)

    def _metadata(self, new: list[int], tokens: int, requests: int) -> CommonAttentionMetadata:
        """Views of vLLM's persistent buffers, as its runner hands them out."""
        starts, lengths = self.starts[: requests + 1], self.lengths[:requests]
        return CommonAttentionMetadata(
            query_start_loc=starts,
            query_start_loc_cpu=starts.clone(),
            seq_lens=lengths,
            seq_lens_cpu_upper_bound=lengths.clone(),
            num_reqs=requests,
            num_actual_tokens=tokens,
            max_query_len=max(new),
            max_seq_len=256 if self.case.graphs else int(lengths.max()),
            block_table_tensor=self.table[:requests],
            slot_mapping=self.slots[:tokens],
        )

    def capture(self, requests: int) -> Any:
        """The metadata that a graph of so many decoding requests records."""
        self.starts[: requests + 1] = torch.arange(requests + 1)
        self.lengths[:requests] = 1
        self.slots.fill_(-1)
        self.table.zero_()
        return self.builder.build_for_cudagraph_capture(self._metadata([1], requests, requests))

    def _place(self, step: Step) -> None:
        """Blocks for new tokens; what windows have left is given up and spoilt."""
        size, kept = self.case.block, self.shape.kept_tokens
        self.table.zero_()
        slots = []
        for row, (request, new) in enumerate(step):
            done, held = self.done[request], self.held[request]
            held += [self.free.pop() for _ in range(-(-(done + new) // size) - len(held))]
            if kept is not None:
                for index in range(max(done - kept + 1, 0) // size):
                    if held[index]:
                        self.cache[held[index]] = NAN
                        held[index] = 0
            self.table[row, : len(held)] = torch.tensor(held, dtype=torch.int32)
            slots += [held[at // size] * size + at % size for at in range(done, done + new)]
        self.slots.fill_(-1)
        self.slots[: len(slots)] = torch.tensor(slots)

    def run(self, step: Step, graph: Any = None, graph_size: int = 0) -> float:
        """Worst error of one step; a replayed graph reads the metadata of its capture."""
        new = [count for _, count in step]
        tokens, requests = sum(new), len(step)
        padded = graph_size or tokens + self.case.padding
        rows = graph_size or requests + (1 if self.case.padding else 0)
        self._place(step)
        self.starts.fill_(tokens)
        self.starts[: requests + 1] = torch.tensor([0, *new]).cumsum(0)
        self.lengths.zero_()
        self.lengths[:requests] = torch.tensor([self.done[r] + count for r, count in step])
        metadata = self.builder.build(0, self._metadata(new, padded, rows))
        pseudo, case = self.case.pseudo, self.case
        heads = (case.heads, case.kv_heads, case.kv_heads)
        spans = {r: slice(self.done[r] * pseudo, (self.done[r] + n) * pseudo) for r, n in step}
        parts = []
        for part, count in enumerate(heads):
            filler = torch.full(((padded - tokens) * pseudo, count, case.width), NAN).to(case.dtype)
            parts.append(torch.cat([*(self.data[r][part][spans[r]] for r, _ in step), filler]))
        output = torch.full((padded * pseudo, case.heads, case.width), 7.0).to(case.dtype)
        read = graph if graph is not None else metadata
        self.was_apart |= case.pseudo > 1 and read.max_query_len == 1
        self.impl.forward(self.layer, *parts, self.cache, read, output)
        worst, at = 0.0, 0
        for request, count in step:
            want = self.truth[request][spans[request]]
            got = output[at : at + count * pseudo].double()
            error = float((got - want).abs().max())
            worst = max(worst, error if error == error else float("inf"))
            at += count * pseudo
            self.done[request] += count
        return worst


def measure(case: Case) -> dict[str, Any]:
    """Worst error over a case's steps, schedules made ahead of time, whether contexts split."""
    began = time.process_time()
    scene, worst = Scene(case), 0.0
    graphs = {size: scene.capture(size) for size in case.graphs}
    FLASH.schedules.clear()
    SPLITS.clear()
    for step in case.steps:
        is_decode = all(new == 1 for _, new in step)
        size = next((size for size in case.graphs if size >= len(step)), 0)
        SPLITS.clear()
        worst = max(
            worst,
            scene.run(step, graphs[size], size) if is_decode and size else scene.run(step),
        )
    return {
        "error": worst,
        "schedules": len(FLASH.schedules),
        "windows": sorted({schedule["window_size"] for schedule in FLASH.schedules}),
        "split": any(SPLITS),
        "apart": scene.was_apart,
        "seconds": round(time.process_time() - began, 2),
    }


def flash_cases() -> dict[str, Case]:
    """Every P, window, key heads and block size, in both layouts of memory."""
    cases = {}
    for pseudo in (1, 2, 3, 4, 8):
        for window in (None, 7):
            for kv_heads in (4, 2, 1):
                for block in (16, 32):
                    name = f"P{pseudo}-W{window or 0}-G{kv_heads}-block{block}"
                    first = block == 16
                    cases[name] = Case(
                        pseudo=pseudo,
                        window=window,
                        kv_heads=kv_heads,
                        block=block,
                        states_first=first,
                        padding=0 if first else 5,
                    )
    cases |= {
        f"small-block-P{pseudo}": Case(pseudo=pseudo, window=7, kv_heads=2, block=16 // pseudo)
        for pseudo in (2, 4, 8)
    }
    for window in (None, 7):
        graph = Case(window=window, kv_heads=2, block=8, graphs=(1, 2, 4))
        cases[f"graph-W{window or 0}"] = graph
        # FlashAttention 2 with grouped heads, few requests on many processors: rows apart.
        cases[f"apart-W{window or 0}"] = replace(
            graph, version=2, processors=132, pseudo=3, block=16
        )
        cases[f"apart-eager-W{window or 0}"] = replace(
            graph, version=2, processors=132, graphs=(), padding=1
        )
    cases["bfloat16"] = Case(kv_heads=2, window=7, dtype=torch.bfloat16)
    return cases


def mask_cases() -> dict[str, Case]:
    """Windows that are no multiple of P, windows by token, and the token mask."""
    kinds: dict[str, dict[str, Any]] = {
        "slots": {"window": 7, "slots": 13},
        "edge": {"window": 7, "edge": "token"},
        "edge-of-one": {"window": 1, "edge": "token"},
        "token": {"causal": "token"},
        "token-W7": {"window": 7, "causal": "token", "edge": "token"},
    }
    cases = {}
    for name, kind in kinds.items():
        for version in (2, 3):
            for pseudo in (2, 3):
                if pseudo == 3 and "slots" in kind:
                    kind = kind | {"slots": 20}
                case = Case(version=version, pseudo=pseudo, kv_heads=2, **kind)
                cases[f"{name}-P{pseudo}-FA{version}"] = case
        graphs = {"graphs": (1, 2, 4), "block": 8, "kv_heads": 2}
        cases[f"{name}-graph"] = Case(**graphs, **kinds[name])
        cases[f"{name}-padded"] = Case(padding=5, block=32, states_first=False, **kinds[name])
        steps = (PREFILL[0], PREFILL[2], DECODE[0])
        cases[f"{name}-triton"] = Case(
            base="TRITON_ATTN", kv_heads=2, block=8, steps=steps, **kinds[name]
        )
    for name in ("token", "token-W7"):
        cases[f"{name}-P4-G1"] = Case(pseudo=4, kv_heads=1, **kinds[name])
        cases[f"{name}-P4-H4-graph"] = Case(pseudo=4, graphs=(1, 2, 4), block=8, **kinds[name])
    cases["token-split-triton"] = replace(
        cases["token-W7-triton"], graphs=(1, 2, 8), processors=132, steps=(PREFILL[0], [(0, 1)])
    )
    return cases


def triton_cases() -> dict[str, Case]:
    """Few, because each takes seconds in the interpreter."""
    triton = Case(base="TRITON_ATTN", steps=(PREFILL[0], PREFILL[2], DECODE[0]))
    one = (PREFILL[0], [(0, 1)])
    return {
        "P2-W7-G2-heads-first": replace(
            triton, window=7, kv_heads=2, block=8, states_first=False, padding=3
        ),
        "P4-G1": replace(triton, pseudo=4, kv_heads=1, block=4),
        "graph-P2-W7": replace(triton, window=7, kv_heads=2, graphs=(1, 2, 4)),
        "split-graph-P2": replace(triton, kv_heads=2, graphs=(1, 2, 8), processors=132, steps=one),
        "split-P3-W7": replace(triton, pseudo=3, window=7, processors=132, steps=one),
    }


def triton_more_cases() -> dict[str, Case]:
    """The others, for when there are minutes."""
    triton = Case(base="TRITON_ATTN", steps=tuple(PREFILL + DECODE))
    cases = {
        f"P{pseudo}-W{window or 0}-G{kv_heads}": replace(
            triton, pseudo=pseudo, window=window, kv_heads=kv_heads
        )
        for pseudo in (1, 3, 8)
        for window in (None, 7)
        for kv_heads in (4, 2)
    }
    for pseudo in (2, 4, 8, 9, 20):
        cases[f"split-P{pseudo}"] = replace(
            triton, pseudo=pseudo, window=7, kv_heads=2, graphs=(1, 2, 8), processors=132
        )
    return cases


Undo = Callable[[], None]


def swapped(owner: Any, name: str, value: Any) -> Undo:
    """Put something else in a name's place; calling the result puts it back."""
    had = owner.__dict__[name]
    setattr(owner, name, value)
    return lambda: setattr(owner, name, had)


def buffers_not_kept() -> Undo:
    """A graph goes on reading what it was captured with."""

    def fresh(buffer: Any, count: int, _: str) -> Any:
        return buffer.new_empty((count, *buffer.shape[1:]))

    undo = [swapped(module, "first_rows", fresh) for module in (iha, virtual_batch)]
    return lambda: [back() for back in undo] and None


def window_of_w() -> Undo:
    """The scheduler gives up a token that the first virtual query still reaches into."""
    return swapped(VirtualMask, "kept_tokens", property(lambda mask: mask.window))


def rows_see_the_whole_token() -> Undo:
    """All rows of a token are as long as its last one."""
    made = virtual_batch.VirtualCounts.__init__

    def wrong(self: Any, *arguments: Any, **options: Any) -> None:
        made(self, *arguments, **options)
        self._offsets.zero_()

    return swapped(virtual_batch.VirtualCounts, "__init__", wrong)


def counts_of_an_earlier_step() -> Undo:
    """The first numbers are taken for every step's."""
    made = virtual_batch.VirtualCounts._together

    def stale(self: Any, tokens: Any) -> Any:
        return self._made or made(self, tokens)

    return swapped(virtual_batch.VirtualCounts, "_together", stale)


def base_finds_the_windows() -> Undo:
    """The base looks at the whole model, finds two windows and makes no schedules."""
    made = iha.VirtualMetadataBuilder.__init__

    def unset(self: Any, *arguments: Any) -> None:
        made(self, *arguments)
        self.aot_sliding_window = None

    return swapped(iha.VirtualMetadataBuilder, "__init__", unset)


MUTANTS: tuple[Callable[[], Undo], ...] = (
    buffers_not_kept,
    window_of_w,
    rows_see_the_whole_token,
    counts_of_an_earlier_step,
    base_finds_the_windows,
)


def mutants() -> dict[str, Any]:
    """Results of the cases that watch over graphs, windows and rows, with each mutant in turn."""
    cases = {name: case for name, case in flash_cases().items() if "W7" in name}
    watched = {name: case for name, case in cases.items() if name.startswith(("graph", "apart"))}
    results = {}
    for mutant in MUTANTS:
        undo = mutant()
        for name, case in watched.items():
            results[f"{mutant.__name__}: {name}"] = safely(case)
        undo()
    return results


def safely(case: Case) -> dict[str, Any]:
    """`measure`, where an error of the stand-ins or of a buffer counts as a wrong result."""
    try:
        return measure(case)
    except (AssertionError, RuntimeError, IndexError):
        return {"error": float("inf"), "schedules": 0}


GROUPS = {
    "flash": flash_cases,
    "masks": mask_cases,
    "triton": triton_cases,
    "triton-more": triton_more_cases,
}


def main() -> None:
    """Print the results of the groups named."""
    for group in sys.argv[1:]:
        if group == "mutants":
            print(json.dumps(mutants()), flush=True)
        else:
            results = {name: measure(case) for name, case in GROUPS[group]().items()}
            print(json.dumps(results), flush=True)


if __name__ == "__main__":
    main()
