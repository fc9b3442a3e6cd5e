"""What a GPU of given memory and bandwidth holds of a model, and how fast it can decode at best.

For: bounds that need no GPU. Not for: predictions; a real engine also needs memory for
activations, and compute, launches and sampling take time that is not counted here.
"""

from dataclasses import dataclass

from model_adapters.cost.blocks import BlockPool, Paging
from model_adapters.cost.shape import ModelShape


@dataclass(frozen=True)
class Device:
    """A GPU.

    Attributes:
        memory: bytes.
        bandwidth: bytes per second.
        utilization: share of the memory that weights and KV cache get.
    """

    memory: float
    bandwidth: float
    utilization: float = 0.9


@dataclass(frozen=True)
class Capacity:
    """What a device holds of a model.

    Attributes:
        weight_bytes: the weights.
        cache_bytes: what is left for the KV cache; 0 where the weights do not fit.
        requests: requests of the context that are generated for at once, by the blocks they fill.
        admitted: of those, what vLLM lets run (see `BlockPool.let_in`).
        single_rate: tokens per second of one request, bound by bandwidth; None where none fits.
        full_rate: tokens per second of all `requests` together; None where none fits.
    """

    weight_bytes: int
    cache_bytes: int
    requests: int
    admitted: int
    single_rate: float | None
    full_rate: float | None


def capacity(
    model: ModelShape, context: int, item: int, device: Device, paging: Paging
) -> Capacity:
    """What a device holds of a model at a context.

    Args:
        model: the sizes.
        context: N in tokens, of every request.
        item: bytes per number, of weights and cache alike.
        device: the device.
        paging: the engine's settings.
    """
    weights = model.parameters * item
    room = max(0, int(device.memory * device.utilization) - weights)
    pool = BlockPool(model, item, paging)
    blocks = room // pool.block_bytes
    requests = pool.fitting(blocks, context)

    def rate(batch: int) -> float | None:
        if batch > requests:
            return None
        # A step reads the weights once and every request's states.
        read = model.parameters_read * item + batch * model.kv_bytes(context, item)
        return batch * device.bandwidth / read

    return Capacity(
        weight_bytes=weights,
        cache_bytes=room,
        requests=requests,
        admitted=pool.let_in(blocks, context),
        single_rate=rate(1),
        full_rate=rate(requests) if requests else None,
    )
