"""One layer's mixing matrices as the fused pass takes them, and what their shapes say.

For: `naive.py`, `kernel.py` and the served layer, which share the description.
Not for: loading or checking checkpoints.
"""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


class Sizes(NamedTuple):
    """H, G, d and P of a layer."""

    heads: int
    kv_heads: int
    width: int
    pseudo_heads: int


@dataclass(frozen=True)
class MixingMatrices:
    """The matrices of one IHA layer, and how its pseudo-heads are rotated.

    Row p * M + h of an alpha makes pseudo-head p of head h from all M heads of a token; the
    checkpoint's alpha [m, h, p] is stored that way by the served model.

    Attributes:
        alpha_q: [P*H, H].
        alpha_k: [P*G, G].
        alpha_v: [P*G, G].
        width: d, numbers per head.
        virtual: rotate virtual token (n, p) at n*P + p; otherwise at n.
    """

    alpha_q: Tensor
    alpha_k: Tensor
    alpha_v: Tensor
    width: int
    virtual: bool

    @property
    def heads(self) -> int:
        """H."""
        return self.alpha_q.shape[1]

    @property
    def kv_heads(self) -> int:
        """G."""
        return self.alpha_k.shape[1]

    @property
    def pseudo_heads(self) -> int:
        """P."""
        return self.alpha_q.shape[0] // self.alpha_q.shape[1]

    @property
    def sizes(self) -> Sizes:
        """H, G, d and P."""
        return Sizes(self.heads, self.kv_heads, self.width, self.pseudo_heads)

    @property
    def packed_width(self) -> int:
        """(H + 2G) * d, numbers per token as they come out of the projection."""
        return (self.heads + 2 * self.kv_heads) * self.width
