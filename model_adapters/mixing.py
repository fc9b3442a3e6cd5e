"""The small modules around mixing that the Transformers and the served model share.

For: the RMS norm of queries and keys and the gate of heads, with tensors whose last dimensions are
heads and their numbers, whatever stands before; and a per-head collapse written out in full.
Not for: the definition (`naive.py`), nor for mixing and collapsing, which each library does in the
layout of its own attention (`hf/modeling.py`, `vllm/mixing.py`).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from model_adapters.config import LayerRecipe


class HeadNorm(nn.Module):
    """RMS norm over the numbers of each head or of all heads, computed in float32 or wider.

    Args:
        width: d.
        eps: added to the mean square.
        weight: shape of the weight: [d], [heads, d], [heads * d], or () for none.
        across: whether all heads of a token are normed as one, and the weight is [heads * d].
    """

    def __init__(
        self, width: int, eps: float, weight: tuple[int, ...] = (), *, across: bool = False
    ) -> None:
        super().__init__()
        self.width, self.eps, self.across = width, eps, across
        self.weight = nn.Parameter(torch.ones(weight)) if weight else None
        # The mean over tensor-parallel ranks, where heads are dealt out to several.
        self.over_ranks: Callable[[Tensor], Tensor] | None = None

    def forward(self, states: Tensor) -> Tensor:
        """[..., heads, d] to the same; without weight [..., d] does too."""
        wide = states.to(torch.promote_types(states.dtype, torch.float32))
        square = wide.pow(2).mean((-2, -1) if self.across else -1, True)
        if self.over_ranks is not None:
            square = self.over_ranks(square)
        normed = (wide * torch.rsqrt(square + self.eps)).to(states.dtype)
        if self.weight is None:
            return normed
        return (self.weight.view(-1, self.width) if self.across else self.weight) * normed


class HeadGate(nn.Module):
    """Multiplies each head by the sigmoid of a product with the layer's input.

    Args:
        heads: H, or a rank's own.
        channels: c, the numbers of the input that are read.
    """

    def __init__(self, heads: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(heads, channels))

    def forward(self, heads: Tensor, hidden: Tensor) -> Tensor:
        """[..., H, d] and [..., D] to [..., H, d]."""
        gate = nn.functional.linear(hidden[..., : self.weight.shape[1]], self.weight)
        return heads * gate.sigmoid().unsqueeze(-1)


def head_norm(recipe: LayerRecipe, heads: int, width: int, eps: float) -> HeadNorm | None:
    """The norm of a layer's queries or keys, None where it has none.

    Args:
        recipe: the layer's.
        heads: H for queries, G for keys; of a rank, its own.
        width: d.
        eps: `rms_norm_eps`.
    """
    shapes = {
        None: (),
        "shared": (width,),
        "per_head": (heads, width),
        "projection": (heads * width,),
    }
    if recipe.qk_norm == "none":
        return None
    across = recipe.qk_norm == "projection_before_mixing"
    return HeadNorm(width, eps, shapes[recipe.qk_norm_weight], across=across)


def full_collapse(collapse: Tensor, pseudo_heads: int) -> Tensor:
    """A collapse as [H, H*P], with zeros where it is per head.

    Args:
        collapse: [H, H*P], or [H, P].
        pseudo_heads: P.
    """
    if collapse.shape[1] == len(collapse) * pseudo_heads:
        return collapse
    return torch.diag_embed(collapse.T).permute(1, 2, 0).flatten(1)
