"""Answers that do not depend on what else is in the batch, bit for bit.

For: vLLM's CPU build. Its matrix products round differently for different numbers of rows, and its
attention splits long contexts by how busy it is; a sampled answer then changes when an interrupted
run goes on with fewer requests at once. Here every product is made of tiles of one size, and
attention is kept from splitting (see `engine.set_environment`).
Not for: GPUs, where vLLM's own VLLM_BATCH_INVARIANT does this.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

# Rows a tile: enough to use the processor well, few enough not to waste work on a small batch.
TILE = 32

Linear = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class BatchInvariance:
    """Mixed into vLLM's worker."""

    model_runner: Any
    device: Any

    def iha_make_batch_invariant(self) -> int:
        """Wrap the products of every linear layer, on a CPU, and mix one way; call it once.

        Returns:
            Number of layers wrapped.
        """
        for module in self.model_runner.model.modules():
            if hasattr(module, "one_way"):
                module.one_way = True
        layers = [
            module for module in self.model_runner.model.modules() if hasattr(module, "cpu_linear")
        ]
        for layer in layers:
            layer.cpu_linear = tiled(layer.cpu_linear)
        return len(layers)


def tiled(linear: Linear) -> Linear:
    """`linear`, a tile of rows at a time; the last one is filled up with zeros.

    Args:
        linear: takes rows [..., inputs], weight and bias, and gives rows [..., outputs].
    """

    def product(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        flat = rows.reshape(-1, rows.shape[-1])
        count = len(flat)
        flat = pad(flat, (0, 0, 0, -count % TILE))
        made = [linear(tile, weight, bias) for tile in flat.split(TILE)]
        whole = made[0] if len(made) == 1 else torch.cat(made)
        return whole[:count].reshape(*rows.shape[:-1], -1)

    return product
