"""IHA's own tensors from whatever order of axes they were kept in, given by letters.

For: alpha and collapse of other people's code. Not for: projections (see `foreign_tensors.py`).

`m` is the source head, `h` the destination head, `p` the pseudo-head; a group in parentheses is one
axis that holds several, the last of them fastest. A tensor without `m` mixes no heads: destination
head h reads head h alone.
"""

import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor

from model_adapters.convert.errors import ConversionError

OURS = {"alpha": "mhp", "collapse": "h(mp)"}
"""How the checkpoint format keeps them."""
_GROUP = re.compile(r"([mhp])|\(([mhp]{2,3})\)")


@dataclass(frozen=True)
class Axes:
    """An order of axes.

    Attributes:
        text: as it was written.
        groups: the letters of each axis.
    """

    text: str
    groups: tuple[str, ...]

    @property
    def letters(self) -> str:
        """All letters in order."""
        return "".join(self.groups)


def parse(text: str) -> Axes:
    """Read letters such as `hpm`, `hp` or `h(mp)`.

    Raises:
        ConversionError: they are no order of axes.
    """
    groups = tuple(found[1] or found[2] for found in _GROUP.finditer(text))
    letters = "".join(groups)
    whole = sum(len(group) + 2 * (len(group) > 1) for group in groups) == len(text)
    if not whole or len(set(letters)) < len(letters) or not {"h", "p"} <= set(letters):
        raise ConversionError(
            f"axes {text!r} is no order of axes: use m (source head), h (destination head) and p "
            "(pseudo-head) once each, parentheses around those that share an axis, as in hpm or "
            "h(mp); only m may be left out."
        )
    return Axes(text, groups)


def rearrange(tensor: Tensor, axes: Axes, name: str, heads: int, pseudo_heads: int) -> Tensor:
    """A tensor in our order.

    Args:
        tensor: as it was kept.
        axes: its order.
        name: "collapse", or one of the alphas; chooses the order it is brought into.
        heads: M, the heads that it mixes.
        pseudo_heads: P.

    Returns:
        [M, M, P] for an alpha, [M, M*P] for the collapse.

    Raises:
        ConversionError: its shape does not go with the letters.
    """
    sizes = {"m": heads, "h": heads, "p": pseudo_heads}
    wanted = [math.prod(sizes[letter] for letter in group) for group in axes.groups]
    if list(tensor.shape) != wanted:
        raise ConversionError(
            f"it has shape {list(tensor.shape)}, but axes {axes.text!r} with {heads} heads and "
            f"{pseudo_heads} pseudo-heads asks for {wanted}: mend axes in the map."
        )
    split = tensor.reshape([sizes[letter] for letter in axes.letters])
    if "m" not in axes.letters:
        diagonal = split if axes.letters == "hp" else split.T
        full = torch.zeros(heads, heads, pseudo_heads, dtype=tensor.dtype)
        index = torch.arange(heads)
        full[index, index] = diagonal
        return full.flatten(1) if name == "collapse" else full
    order = "hmp" if name == "collapse" else "mhp"
    ours = split.permute([axes.letters.index(letter) for letter in order])
    return (ours.flatten(1) if name == "collapse" else ours).contiguous()
