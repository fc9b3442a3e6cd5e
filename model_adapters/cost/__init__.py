"""What a model costs, from its configuration alone: parameters, FLOPs, KV cache, what a GPU holds.

For: `iha-eval inspect`, and whoever plans a run; every count is tested against the real model or
the real engine. Not for: measured speed, and nothing here reads a weight.

Conventions: a multiply-add is 2 FLOPs; counted are matrix products alone, not norms, activations,
softmax or rotary embedding. Attention counts the query-key pairs that a query may see, no masked
ones. Sizes are in bytes, contexts in tokens.
"""

from model_adapters.cost.blocks import BlockPool, Capacity, Device, Paging, capacity
from model_adapters.cost.shape import (
    Flops,
    LayerShape,
    ModelShape,
    decode_flops,
    model_shape,
    prefill_flops,
)

__all__ = [
    "BlockPool",
    "Capacity",
    "Device",
    "Flops",
    "LayerShape",
    "ModelShape",
    "Paging",
    "capacity",
    "decode_flops",
    "model_shape",
    "prefill_flops",
]
