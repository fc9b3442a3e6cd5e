"""The small modules around mixing that the Transformers and the served model share.

For: the RMS norm of queries and keys, the gate of heads and the embedding added to values, with
tensors whose last dimensions are heads and their numbers, whatever stands before; a per-head
collapse written out in full; and what nanochat does between layers.
Not for: the definition (`naive.py`), nor for mixing and collapsing, which each library does in the
layout of its own attention (`hf/modeling.py`, `vllm/mixing.py`).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from model_adapters.config import LayerRecipe, ValueRecipe


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


class ValueEmbedding(nn.Module):
    """What a layer adds to its values, of each token or of what the first layer takes in.

    Args:
        recipe: the layer's.
        kv_heads: G, or a rank's own.
        width: d.
    """

    def __init__(self, recipe: ValueRecipe, kv_heads: int, width: int) -> None:
        super().__init__()
        self.recipe, self.width = recipe, width
        shape = (recipe.inputs, kv_heads * width)
        self.weight = nn.Parameter(torch.empty(shape if recipe.is_table else shape[::-1]))
        self.gate = nn.Parameter(torch.empty(kv_heads, recipe.channels))

    def forward(self, hidden: Tensor, token_ids: Tensor | None, first: Tensor) -> Tensor:
        """Of the layer's input [..., D], ids [...] and the first layer's [..., D]: [..., G, d].

        Raises:
            ValueError: It is looked up by token, and there are no ids.
        """
        if not self.recipe.is_table:
            made = nn.functional.linear(first, self.weight)
        elif token_ids is None:
            raise ValueError("value embeddings are looked up by token: give input_ids")
        else:
            made = nn.functional.embedding(token_ids, self.weight)
        gate = nn.functional.linear(hidden[..., : self.recipe.channels], self.gate).sigmoid()
        heads: Tensor = made.unflatten(-1, (-1, self.width))
        return heads * (self.recipe.scale * gate).unsqueeze(-1)


class ResidualStream(nn.Module):
    """How states go from layer to layer of a nanochat; a base class of its model.

    Its parameters have the names that they have in a checkpoint.
    """

    # Any: an `IHANanoChatConfig`; each library types it for its own models.
    config: Any

    def add_lambdas(self) -> None:
        """To be called when the model is made."""
        config, layers = self.config, self.config.num_hidden_layers
        if config.residual_lambdas:
            self.residual_lambdas = nn.Parameter(torch.empty(layers))
            self.embedding_lambdas = nn.Parameter(torch.empty(layers))
        if config.skips:
            self.skip_lambdas = nn.Parameter(torch.empty(len(config.skips)))
        if config.smear_channels is not None:
            self.smear_gate = nn.Linear(config.smear_channels, 1, bias=False)
            self.smear_lambda = nn.Parameter(torch.empty(1))

    def smeared(self, hidden: Tensor, before: Tensor, begins: Tensor) -> Tensor:
        """Give each token some of the one before.

        Args:
            hidden: [.., D].
            before: [.., D], of the token before each.
            begins: boolean [..], where a sequence begins and there is none.
        """
        gate = self.smear_gate(hidden[..., : self.config.smear_channels]).sigmoid()
        smeared: Tensor = hidden + self.smear_lambda * gate * ~begins.unsqueeze(-1) * before
        return smeared

    def through(self, first: Tensor, run: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Pass all layers.

        Args:
            first: [.., D], what the first layer is handed.
            run: passes one layer, of an index and what it takes in.

        Returns:
            [.., D], for the last norm.
        """
        hidden: Tensor = first
        given: list[Tensor] = []
        for index in range(self.config.num_hidden_layers):
            hidden = self._skipped(hidden, given, index)
            if self.config.residual_lambdas:
                own, start = self.residual_lambdas[index], self.embedding_lambdas[index]
                hidden = own * hidden + start * first
            hidden = run(index, hidden)
            given.append(hidden)
        return self._skipped(hidden, given, len(given))

    def _skipped(self, hidden: Tensor, given: list[Tensor], layer: int) -> Tensor:
        for index, source in self.config.skips_into(layer):
            hidden = hidden + self.skip_lambdas[index] * given[source]
        return hidden


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
