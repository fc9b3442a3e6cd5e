"""What alpha and collapse start as: exact, as in the paper, or exact with noise.

For: the four tensors of a layer, alike for every sharding, and seeded by layer and tensor.
Not for: the random start of a new model, which `hf/modeling.py` does.
"""

import numpy
import torch
from torch import Tensor

from model_adapters.config import IHAConfig
from model_adapters.convert.errors import ConversionError

INITS = ("exact", "paper", "noisy")
ROPES = {"exact": "token", "paper": "virtual", "noisy": "token"}
"""How virtual tokens are rotated for each start; only with "token" is the base's function kept."""
NOISE = {"exact": 0.0, "paper": 0.0, "noisy": 0.02}
"""Standard deviation of the noise where none is given; the last is Llama's usual init range."""


def check(init: str, noise: float | None, seed: int | None = None) -> tuple[float, int]:
    """The noise to add and its seed, 0 where none is given.

    Raises:
        ConversionError: there is no such start, or it does not go with the noise or the seed.
    """
    if init not in INITS:
        raise ConversionError(f"init is {init!r}: use one of {', '.join(INITS)}.")
    size = NOISE[init] if noise is None else noise
    if not 0 <= size <= 10:
        raise ConversionError(f"noise is {size:g}: give a standard deviation from 0 to 10.")
    if init == "exact" and size:
        raise ConversionError(f"noise is {size:g}, but init 'exact' has none: use init 'noisy'.")
    if seed is not None and not size:
        raise ConversionError(
            f"seed is {seed}, but init {init!r} without noise draws nothing: leave it out, or add "
            "noise with init 'noisy'."
        )
    if seed is not None and seed < 0:
        raise ConversionError(f"seed is {seed}: give a whole number of 0 or more.")
    return size, seed or 0


def identity_alpha(heads: int, pseudo_heads: int) -> Tensor:
    """[M, M, P] float32: every pseudo-head its own head."""
    return torch.eye(heads).unsqueeze(-1).repeat(1, 1, pseudo_heads)


def last_collapse(heads: int, pseudo_heads: int) -> Tensor:
    """[H, H*P] float32: each head takes its last pseudo-head, which alone sees all P copies."""
    matrix = torch.zeros(heads, heads, pseudo_heads)
    matrix[:, :, -1] = torch.eye(heads)
    return matrix.flatten(1)


def mean_collapse(heads: int, pseudo_heads: int) -> Tensor:
    """[H, H*P] float32: each head the mean of its pseudo-heads."""
    return torch.eye(heads).repeat_interleave(pseudo_heads, dim=1) / pseudo_heads


def layer_tensors(
    config: IHAConfig, layer: int, init: str, *, noise: float, seed: int, dtype: torch.dtype
) -> dict[str, Tensor]:
    """The four tensors of one IHA layer, by their last name.

    Args:
        config: for H, G and P.
        layer: index of the layer.
        init: one of `INITS`.
        noise: standard deviation of what is added to each of the four, drawn in float32.
        seed: of the noise.
        dtype: of the tensors.

    Returns:
        `alpha_q` [H, H, P], `alpha_k` and `alpha_v` [G, G, P], `collapse` [H, H*P].
    """
    heads, kv_heads, pseudo = config.num_attention_heads, config.kv_heads, config.num_pseudo_heads
    collapse = mean_collapse if init == "paper" else last_collapse
    start = {
        "alpha_q": identity_alpha(heads, pseudo),
        "alpha_k": identity_alpha(kv_heads, pseudo),
        "alpha_v": identity_alpha(kv_heads, pseudo),
        "collapse": collapse(heads, pseudo),
    }
    if noise:
        for index, (name, tensor) in enumerate(start.items()):
            start[name] = tensor + noise * _normal(tuple(tensor.shape), seed, layer, index)
    return {name: tensor.to(dtype).contiguous() for name, tensor in start.items()}


def _normal(shape: tuple[int, ...], *key: int) -> Tensor:
    """Philox, whose stream is the same on every machine; a stream a tensor."""
    draw = numpy.random.Generator(numpy.random.Philox(numpy.random.SeedSequence(key)))
    return torch.from_numpy(draw.standard_normal(shape, dtype=numpy.float32))
