"""FLOPs per token, by what they are spent on.

For: prefill, as an average over a prompt, and decoding at a context. A multiply-add is 2 FLOPs.
Not for: seconds, nor for the small operations that are no matrix products.
"""

from dataclasses import dataclass

from model_adapters.cost.shape import LayerShape, ModelShape


@dataclass(frozen=True)
class Flops:
    """FLOPs per token.

    Attributes:
        projections: query, key, value and output.
        mixing: alpha and collapse.
        attention: scores and weighted values, over the pairs that a query may see.
        mlp: the gated MLP's three products.
        head: logits of one token; an engine computes them for a prompt's last token alone.
    """

    projections: float = 0
    mixing: float = 0
    attention: float = 0
    mlp: float = 0
    head: float = 0

    @property
    def total(self) -> float:
        """All of it."""
        return self.projections + self.mixing + self.attention + self.mlp + self.head

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(
            self.projections + other.projections,
            self.mixing + other.mixing,
            self.attention + other.attention,
            self.mlp + other.mlp,
            self.head + other.head,
        )


def layer_flops(model: ModelShape, layer: LayerShape, pairs: float) -> Flops:
    """FLOPs per token of one layer.

    Args:
        model: the sizes.
        layer: the layer.
        pairs: query-key pairs per head and token.
    """
    width = model.heads * model.head_dim
    kv_width = model.kv_heads * model.head_dim
    return Flops(
        projections=4 * model.hidden * (width + kv_width),
        # Each weight of alpha and collapse multiplies d numbers.
        mixing=2 * model.mixing_parameters(layer) * model.head_dim,
        attention=4 * width * pairs,
        mlp=6 * model.hidden * model.intermediate,
    )


def prefill_flops(model: ModelShape, context: int) -> Flops:
    """FLOPs per token of a prompt, on average over its tokens.

    Args:
        model: the sizes.
        context: N in tokens, at least 1.
    """
    return _sum(model, [layer.pairs(context) / context for layer in model.layers])


def decode_flops(model: ModelShape, context: int) -> Flops:
    """FLOPs of one token that is the last of `context`.

    Args:
        model: the sizes.
        context: N in tokens, at least 1; the token itself is one of them.
    """
    return _sum(model, [layer.last_pairs(context) for layer in model.layers])


def _sum(model: ModelShape, pairs: list[float]) -> Flops:
    total = Flops(head=2 * model.embedding_parameters)
    for layer, count in zip(model.layers, pairs, strict=True):
        total += layer_flops(model, layer, count)
    return total
