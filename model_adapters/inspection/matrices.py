"""Alpha and collapse of each IHA layer: read from a checkpoint's files, and measured.

For: how far they are from keeping every head to itself, and which pseudo-heads they use, per layer
and head. Not for: drawing; nor for checking a checkpoint: call `checkpoint.read` first.

A pseudo-head (h, p) is head h's p-th. An alpha is an identity where every pseudo-head is its own
head; a collapse is where every head is a sum of its own pseudo-heads whose weights add up to 1:
the mean of them, which training starts from, or one of them alone, as in an exact conversion.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from model_adapters.errors import CheckpointError
from model_adapters.layout import IHA_TENSORS
from model_adapters.mixing import full_collapse

_NAME = re.compile(rf"^model\.layers\.(\d+)\.self_attn\.({'|'.join(IHA_TENSORS)})$")


@dataclass(frozen=True)
class LayerTensors:
    """The four tensors of one IHA layer, in float64.

    Attributes:
        layer: Index of the layer.
        alpha_q: [H, H, P], source head, destination head, pseudo-head.
        alpha_k: [G, G, P].
        alpha_v: [G, G, P].
        collapse: [H, H*P], destination head; source head and pseudo-head; 0 from other heads where
            it is stored per head.
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
        folder: A checkpoint folder that `checkpoint.read` has found good.

    Raises:
        CheckpointError: A file is not readable, or a layer has not all four tensors.
    """
    layers: dict[int, dict[str, Tensor]] = {}
    for layer, name, tensor in _mixing(folder):
        layers.setdefault(layer, {})[name] = tensor.double()
    for layer, tensors in layers.items():
        absent = [name for name in IHA_TENSORS if name not in tensors]
        if absent:
            raise CheckpointError(
                f"{folder}: layer {layer} lacks {', '.join(absent)}: save the whole state dict."
            )
        tensors["collapse"] = full_collapse(tensors["collapse"], tensors["alpha_q"].shape[2])
    return [LayerTensors(layer, **layers[layer]) for layer in sorted(layers)]


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
        tensor: Alpha [M, M, P], of which the root mean square over pseudo-heads is taken, or
            collapse [H, H*P].

    Returns:
        [M, M] or [H, H*P].
    """
    values = tensor.double()
    flat = values.square().mean(-1).sqrt() if values.dim() == 3 else values.abs()
    return [[float(f"{value:.4g}") for value in row] for row in flat.tolist()]


# A pseudo-head is dead where all heads together weigh it less than this share of the most used.
DEAD = 0.01


@dataclass(frozen=True)
class MixingMeasures:
    """Of one alpha [M, M, P].

    Attributes:
        distance: Frobenius norm of alpha minus identity, relative to the identity's.
        head_distances: [M], the same for what goes into each destination head.
        effective_ranks: [P], of the [M, M] matrix of each pseudo-head: exp of the entropy of its
            singular values as shares of their sum; M for an identity, 0 for a matrix of zeros.
    """

    distance: float
    head_distances: list[float]
    effective_ranks: list[float]


@dataclass(frozen=True)
class CollapseMeasures:
    """Of one collapse [H, H*P].

    Attributes:
        distance: Frobenius norm of the collapse minus the nearest identity, relative to that
            identity's.
        head_distances: [H], the same for each destination head.
        effective_ranks: [P], as in `MixingMeasures`, of the [H, H] matrix that takes the heads'
            p-th pseudo-heads in.
        entropies: [H], in nats: of the shares of a destination head's weight, without signs, that
            go to each pseudo-head; 0 for one alone, log(H*P) for all alike.
        used: [H], exp of the entropies: how many pseudo-heads a head takes in, effectively.
        masses: [H][P], weight without signs that all heads together give a pseudo-head, as a share
            of the most used one's.
        dead: pseudo-heads (h, p) whose mass is below `DEAD`.
    """

    distance: float
    head_distances: list[float]
    effective_ranks: list[float]
    entropies: list[float]
    used: list[float]
    masses: list[list[float]]
    dead: list[tuple[int, int]]


def measure_alpha(alpha: Tensor) -> MixingMeasures:
    """Measure mixing weights.

    Args:
        alpha: [M, M, P], source head, destination head, pseudo-head.
    """
    values = alpha.double()
    heads, _, pseudo = values.shape
    identity = torch.eye(heads, dtype=values.dtype).unsqueeze(-1)
    squares = (values - identity).square().sum(dim=(0, 2))
    return MixingMeasures(
        distance=float((squares.sum() / (heads * pseudo)).sqrt()),
        head_distances=(squares / pseudo).sqrt().tolist(),
        effective_ranks=[_effective_rank(values[:, :, p]) for p in range(pseudo)],
    )


def measure_collapse(collapse: Tensor) -> CollapseMeasures:
    """Measure a collapse.

    Args:
        collapse: [H, H*P], destination head; source head and pseudo-head.
    """
    heads = collapse.shape[0]
    values = collapse.double().reshape(heads, heads, -1)
    identity = _nearest_identity(values)
    squares, sizes = ((values - identity).square().sum((1, 2)), identity.square().sum((1, 2)))
    weights = values.abs()
    mass = weights.sum(dim=0)
    mass = mass / mass.max().clamp(min=torch.finfo(mass.dtype).tiny)
    entropies = [_entropy(row.flatten()) for row in weights]
    return CollapseMeasures(
        distance=float((squares.sum() / sizes.sum()).sqrt()),
        head_distances=(squares / sizes).sqrt().tolist(),
        effective_ranks=[_effective_rank(values[:, :, p]) for p in range(values.shape[2])],
        entropies=entropies,
        # A head that takes nothing in has no shares to speak of.
        used=[
            math.exp(entropy) if row.any() else 0.0
            for entropy, row in zip(entropies, weights, strict=True)
        ],
        masses=mass.tolist(),
        dead=[(int(head), int(p)) for head, p in (mass < DEAD).nonzero()],
    )


def _nearest_identity(collapse: Tensor) -> Tensor:
    """[H, H, P]: own weights moved alike until they add up to 1, all others 0."""
    heads, _, pseudo = collapse.shape
    own = collapse.diagonal().T
    own = own + (1 - own.sum(dim=1, keepdim=True)) / pseudo
    return torch.eye(heads, dtype=collapse.dtype).unsqueeze(-1) * own.unsqueeze(1)


def _effective_rank(matrix: Tensor) -> float:
    values = torch.linalg.svdvals(matrix)
    return math.exp(_entropy(values)) if values.any() else 0.0


def _entropy(weights: Tensor) -> float:
    """Entropy in nats of weights as shares of their sum; 0 where there are none."""
    total = weights.sum()
    shares = weights / total if total > 0 else weights
    return float(-torch.special.xlogy(shares, shares).sum()) + 0.0
