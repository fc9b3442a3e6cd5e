"""A small matrix times every token's states, in the type in which that takes least time.

For: mixing and collapsing a few tokens (`mixing.py`).
Not for: projections, nor for batches that have to round alike whatever their size.
"""

import torch
from torch import Tensor

# Multiply-adds up to which a CPU is done sooner in float32: getting a product in a narrow type
# under way costs more than its arithmetic.
FEW_PRODUCTS = 2**19
NARROW = (torch.bfloat16, torch.float16)


def widened(matrix: Tensor) -> Tensor | None:
    """The matrix in float32 where that can be of use, on a CPU and from a narrow type."""
    if matrix.device.type != "cpu" or matrix.dtype not in NARROW:
        return None
    return matrix.float()


def times(matrix: Tensor, wide: Tensor | None, states: Tensor) -> Tensor:
    """The product with each token's states.

    Args:
        matrix: [m, n].
        wide: what `widened` made of it.
        states: [T, n, d].

    Returns:
        [T, m, d] in the states' type.
    """
    tokens, _, width = states.shape
    if wide is None or matrix.numel() * tokens * width > FEW_PRODUCTS:
        # Spelled as a batch, or the states would be transposed in memory, there and back.
        return torch.bmm(matrix.expand(tokens, -1, -1), states)
    return torch.bmm(wide.expand(tokens, -1, -1), states.float()).to(states.dtype)
