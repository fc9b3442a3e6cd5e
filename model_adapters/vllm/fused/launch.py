"""How the fused kernel's work is cut into programs: arithmetic, not tuning.

For: `kernel.py`. Not for: other kernels; nothing here was timed on a device, so every number states
the reason it was chosen for.

A program makes pseudo-heads of one block of heads for a few tokens: as a matrix product of
[rows, M] mixing weights and [M, tokens * d/2] states, once for each half of d, because rotary
embedding needs a number of the first half beside its partner in the second.
"""

import functools
from dataclasses import dataclass

from model_adapters.vllm.fused.mixing import Sizes

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
    """

    tokens: int
    half: int
    query_rows: int
    query_heads: int
    kv_rows: int
    kv_heads: int
    pseudo_heads: int
    grid: tuple[int, int]


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


def power_of_two(count: int) -> int:
    """The next power of two that matrix units take."""
    return max(SHORTEST, 1 << (count - 1).bit_length())
