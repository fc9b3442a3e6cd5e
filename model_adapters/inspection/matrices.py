"""Reads the mixing weights and the collapse of each IHA layer out of a checkpoint's files.

For: whoever measures or draws them. Not for: checking; call `checkpoint.read` first.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from model_adapters.errors import CheckpointError
from model_adapters.layout import IHA_TENSORS

_NAME = re.compile(rf"^model\.layers\.(\d+)\.self_attn\.({'|'.join(IHA_TENSORS)})$")


@dataclass(frozen=True)
class LayerTensors:
    """The four tensors of one IHA layer, in float64.

    Attributes:
        layer: index of the layer.
        alpha_q: [H, H, P], source head, destination head, pseudo-head.
        alpha_k: [G, G, P].
        alpha_v: [G, G, P].
        collapse: [H, H*P], destination head; source head and pseudo-head.
    """

    layer: int
    alpha_q: Tensor
    alpha_k: Tensor
    alpha_v: Tensor
    collapse: Tensor

    @property
    def alphas(self) -> dict[str, Tensor]:
        """The three alphas by name."""
        return {"alpha_q": self.alpha_q, "alpha_k": self.alpha_k, "alpha_v": self.alpha_v}

    @property
    def pseudo_heads(self) -> int:
        """P."""
        return self.alpha_q.shape[2]


def read_layers(folder: Path) -> list[LayerTensors]:
    """The IHA layers of a checkpoint in order; none of a plain one.

    Args:
        folder: a checkpoint folder that `checkpoint.read` has found good.

    Raises:
        CheckpointError: a file is not readable, or a layer has not all four tensors.
    """
    found: dict[int, dict[str, Tensor]] = {}
    for layer, name, tensor in _mixing(folder):
        found.setdefault(layer, {})[name] = tensor.double()
    for layer, tensors in found.items():
        absent = [name for name in IHA_TENSORS if name not in tensors]
        if absent:
            raise CheckpointError(
                f"{folder}: layer {layer} lacks {', '.join(absent)}: save the whole state dict."
            )
    return [LayerTensors(layer, **found[layer]) for layer in sorted(found)]


def _mixing(folder: Path) -> Iterator[tuple[int, str, Tensor]]:
    for file in sorted(folder.glob("*.safetensors")):
        # A consolidated copy that some publishers add holds everything a second time.
        if file.name.startswith("consolidated"):
            continue
        try:
            with safe_open(file, framework="pt") as stored:
                for name in stored.keys():  # noqa: SIM118
                    if match := _NAME.match(name):
                        yield int(match[1]), match[2], stored.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{file} is not a whole safetensors file ({error}): copy it again."
            ) from error


def magnitudes(tensor: Tensor) -> list[list[float]]:
    """A tensor as a matrix without signs, rounded to four figures.

    Args:
        tensor: alpha [M, M, P], of which the root mean square over pseudo-heads is taken, or
            collapse [H, H*P].

    Returns:
        [M, M] or [H, H*P].
    """
    values = tensor.double()
    flat = values.square().mean(-1).sqrt() if values.dim() == 3 else values.abs()
    return [[float(f"{value:.4g}") for value in row] for row in flat.tolist()]
