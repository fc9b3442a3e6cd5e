"""Whether an engine gets the fused pass, and how the kernel's work is cut into programs.

For: the served model, which takes the plain path where it does not, and `kernel.py`, whose block
sizes are arithmetic, not tuning: nothing here was timed on a device, so every number states the
reason it was chosen for.
Not for: running it, nor for other kernels; imports neither Triton nor vLLM.

The switch is an entry of vLLM's `additional_config`, not a variable of the environment: vLLM keeps
compiled graphs under a hash of its configuration, and a graph of the one path must not be found
when the other is asked for.

A program makes pseudo-heads of one block of heads for a few tokens: as a matrix product of
[rows, M] mixing weights and [M, tokens * d/2] states, once for each half of d, because rotary
embedding needs a number of the first half beside its partner in the second.
"""

import functools
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from model_adapters.errors import BackendError
from model_adapters.vllm.fused.mixing import Sizes

SWITCH = "iha_fused"
KERNEL = "kernel"
# The same way through the engine, with the arithmetic in plain PyTorch: to tell apart, on a new
# device, a fault of the kernel from one of the way to it.
PLAIN = "plain"

# Those whose cache is laid out as the kernel expects.
BACKENDS = ("FLASH_ATTN", "TRITON_ATTN")
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
CACHE_DTYPES = {
    torch.float16: ("auto", "float16"),
    torch.bfloat16: ("auto", "bfloat16"),
    torch.float32: ("auto", "float32"),
}
WIDEST = 256

# Matrix units take no side shorter than this.
SHORTEST = 16
# More rows of a product than this bring no further reuse: states are read once per block of them.
MOST_ROWS = 64
# Two accumulators of this many float32 are 32 registers of each of 128 threads. Compiled for
# compute capability 9.0 the kernel then takes 92 (bfloat16), so that five programs fit on a
# processor; with twice as many it takes 144, and float32 spills.
ACCUMULATOR = 2048
# Programs per processor below which the work is cut finer: with two, one's loads hide the other's.
PROGRAMS_PER_PROCESSOR = 2
# Numbers of warps that are tried; the first is what the registers above are counted for.
WARPS = (4, 8)


@dataclass(frozen=True)
class Launch:
    """Sizes of one launch, all powers of two but for the counts of programs.

    Attributes:
        tokens: tokens per program.
        half: d/2, rounded up.
        query_rows: query heads per program.
        query_heads: H, rounded up: length of the query product's sums.
        kv_rows: key heads per program.
        kv_heads: G, rounded up.
        pseudo_heads: pseudo-heads that a program makes one after another: P or 1.
        grid: programs along tokens, and along blocks of heads times groups of pseudo-heads.
        warps: groups of 32 threads per program; `packed.warm_up` measures which number is best.
    """

    tokens: int
    half: int
    query_rows: int
    query_heads: int
    kv_rows: int
    kv_heads: int
    pseudo_heads: int
    grid: tuple[int, int]
    warps: int = WARPS[0]

    @property
    def variant(self) -> tuple[int, int]:
        """What a layer's launches differ in, but for how many programs there are."""
        return self.tokens, self.pseudo_heads


@functools.lru_cache(maxsize=4096)
def plan(tokens: int, sizes: Sizes, processors: int) -> Launch:
    """Block sizes for a batch.

    With many tokens a program keeps its states in registers while it makes all P pseudo-heads of
    them, so that every number is read once. With few, that would leave processors idle: then a
    program takes one token and one pseudo-head, and the states are read again from the cache.

    Args:
        tokens: T of the batch.
        sizes: H, G, d and P of the layer.
        processors: multiprocessors of the device.
    """
    heads, kv_heads, width, pseudo_heads = sizes
    half = power_of_two(width // 2)
    rows = [min(MOST_ROWS, power_of_two(count)) for count in (heads, kv_heads)]
    blocks = -(-heads // rows[0]) + -(-kv_heads // rows[1])
    enough = PROGRAMS_PER_PROCESSOR * processors
    tile = max(1, ACCUMULATOR // (max(rows) * half))
    while tile > 1 and -(-tokens // tile) * blocks < enough:
        tile //= 2
    programs = -(-tokens // tile) * blocks
    each = pseudo_heads if programs >= enough else 1
    return Launch(
        tokens=tile,
        half=half,
        query_rows=rows[0],
        query_heads=power_of_two(heads),
        kv_rows=rows[1],
        kv_heads=power_of_two(kv_heads),
        pseudo_heads=each,
        grid=(-(-tokens // tile), blocks * (pseudo_heads // each)),
    )


def launches(most: int, sizes: Sizes, processors: int) -> dict[int, Launch]:
    """Every launch that batches may take, under the largest number of tokens that takes it.

    Args:
        most: tokens of the largest batch.
        sizes: H, G, d and P of the layer.
        processors: multiprocessors of the device.
    """
    largest = {}
    for tokens in range(1, most + 1):
        launch = plan(tokens, sizes, processors)
        largest[launch.variant] = tokens, launch
    return dict(largest.values())


def bytes_moved(tokens: int, launch: Launch, sizes: Sizes, item: int) -> int:
    """What a launch loads and stores, with 8 bytes for each position and slot.

    A program reads its tokens' states once for all pseudo-heads that it makes, and the mixing
    weights and angles of each. What several programs read again may come from the device's cache.

    Args:
        tokens: T of the batch, all with slots.
        launch: its launch.
        sizes: H, G, d and P of the layer.
        item: bytes per number.
    """
    heads, kv_heads, width, pseudo_heads = sizes
    query_blocks, kv_blocks = -(-heads // launch.query_rows), -(-kv_heads // launch.kv_rows)
    groups, tiles = pseudo_heads // launch.pseudo_heads, launch.grid[0]
    states = (query_blocks * heads + kv_blocks * 2 * kv_heads) * groups * tokens * width
    weights = (heads**2 + 2 * kv_heads**2) * pseudo_heads * tiles
    angles = (query_blocks + kv_blocks) * pseudo_heads * tokens * width
    numbers = states + weights + angles + tokens * pseudo_heads * (heads + 2 * kv_heads) * width
    # Loaded for every number of a half, so as not to be moved between threads.
    known = tokens * launch.half * 8
    places = known * ((query_blocks + kv_blocks) * groups + 2 * kv_blocks * pseudo_heads)
    return numbers * item + places


def least_bytes(tokens: int, sizes: Sizes, item: int) -> int:
    """What cannot be spared: states, weights, angles, positions and slots once, results once.

    Args:
        tokens: T of the batch, all with slots and at positions of their own.
        sizes: H, G, d and P of the layer.
        item: bytes per number.
    """
    heads, kv_heads, width, pseudo_heads = sizes
    states = tokens * (heads + 2 * kv_heads) * width
    weights = (heads**2 + 2 * kv_heads**2) * pseudo_heads
    angles = tokens * pseudo_heads * width
    return (states * (1 + pseudo_heads) + weights + angles) * item + tokens * 8 * (1 + pseudo_heads)


def power_of_two(count: int) -> int:
    """The next power of two that matrix units take."""
    return max(SHORTEST, 1 << (count - 1).bit_length())


def chosen(additional_config: object) -> str | None:
    """What the engine's `additional_config` asks for: "kernel", "plain" or nothing.

    Raises:
        BackendError: something else is asked for.
    """
    if not isinstance(additional_config, Mapping):
        return None
    value = additional_config.get(SWITCH, False)
    if value is True or value == KERNEL:
        return KERNEL
    if value == PLAIN:
        return PLAIN
    if value not in (False, None):
        raise BackendError(
            f"additional_config has {SWITCH} {value!r}: set it to true, or leave it out."
        )
    return None


def why_not(
    mode: str,
    *,
    device: str,
    dtype: torch.dtype,
    cache_dtype: str,
    backend: str,
    width: int,
    ranks: int,
) -> str | None:
    """The first thing that keeps an engine from the fused pass, as a clause; None if nothing does.

    Args:
        mode: "kernel" or "plain".
        device: type of the engine's device.
        dtype: of weights and states.
        cache_dtype: as vLLM names it, "auto" included.
        backend: name of the base attention backend.
        width: d.
        ranks: tensor-parallel ranks.
    """
    # Each rank projects its own heads, and mixing needs all of them.
    if ranks > 1:
        return f"tensor_parallel_size is {ranks}"
    if mode == PLAIN:
        return None
    problems: dict[str, Any] = {
        f"the device is {device}": device != "cuda",
        f"the attention backend is {backend}": backend not in BACKENDS,
        f"dtype is {dtype}": dtype not in DTYPES,
        f"the cache's dtype is {cache_dtype}": cache_dtype not in CACHE_DTYPES.get(dtype, ()),
        f"heads are {width} wide": not 16 <= width <= WIDEST or bool(width % 8),
        "Triton is not installed": importlib.util.find_spec("triton") is None,
    }
    return next((text for text, holds in problems.items() if holds), None)
