"""Batches for a model without a scheduler: alike in length, bounded in rows and tokens.

For: `iha-hf`. Not for: vLLM, which schedules by itself.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")

# Rows times longest row, in tokens: modest, since nothing measures the memory.
CPU_TOKENS = 16_384
GPU_TOKENS = 131_072
ROWS = 64


def batches(
    items: Sequence[Item],
    length: Callable[[Item], int],
    *,
    rows: int | None,
    tokens: int,
) -> Iterator[list[Item]]:
    """Sort by length, the longest first, and cut into batches.

    Args:
        items: what to batch.
        length: the length in tokens that an item may reach.
        rows: rows of each batch; None is up to `ROWS`, as many as `tokens` allow, at least one, and
            none shorter than half of the longest, which would be mostly padding.
        tokens: most tokens in a batch, padding included; without effect if `rows` is given.
    """
    order = sorted(items, key=length, reverse=True)
    start = 0
    while start < len(order):
        # The first is the longest: all others are padded to it.
        longest = length(order[start])
        fitting = max(1, min(ROWS, tokens // max(1, longest)))
        batch = order[start : start + (rows or fitting)]
        if rows is None:
            batch = [item for item in batch if 2 * length(item) >= longest]
        yield batch
        start += len(batch)
