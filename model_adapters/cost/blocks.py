"""How vLLM's paged KV cache rounds a model's states up to blocks, and what it charges a request.

For: telling before an engine is started how many requests its cache, or a GPU of given memory and
bandwidth, will hold, and how fast it can decode at best; the arithmetic is that of vLLM's cache
manager for the layers of `vllm/model.py`, tested against it.
Not for: allocating anything (imports nothing of vLLM), nor for predictions: a real engine also
needs memory for activations, and time for compute, launches and sampling.
"""

import math
from collections import Counter
from dataclasses import dataclass

from model_adapters.cost.shape import ModelShape


@dataclass(frozen=True)
class Paging:
    """An engine's settings that bear on its KV cache.

    Attributes:
        block_size: Tokens per block of a plain layer.
        unit: What the attention backend wants the states in a block to be a multiple of: 16 for
            FLASH_ATTN, 32 on a CPU.
        batched_tokens: max_num_batched_tokens, tokens computed in one step.
        batches: Steps under way at once: 2 with asynchronous scheduling, else 1.
    """

    block_size: int = 16
    unit: int = 16
    batched_tokens: int = 16384
    batches: int = 2

    @property
    def in_flight(self) -> int:
        """Tokens under way at once."""
        return self.batched_tokens * self.batches


@dataclass(frozen=True)
class _CacheGroup:
    """Layers that share a table of blocks.

    Attributes:
        block: Tokens per block.
        kept: Tokens that stay, the newest included; None for all.
    """

    block: int
    kept: int | None

    def bound(self, context: int, in_flight: int) -> int:
        """Blocks that vLLM reckons with for a request when it starts."""
        if self.kept is None:
            return math.ceil(context / self.block)
        tokens = min(self.kept - 1 + in_flight, context)
        # A window need not begin where a block does.
        return math.ceil(tokens / self.block) + 1

    def held(self, context: int, in_flight: int) -> int:
        """Blocks that a request fills at most."""
        return min(self.bound(context, in_flight), math.ceil(context / self.block))


class BlockPool:
    """The KV cache of one model, whose layers draw blocks of one size from one pool.

    Args:
        model: The sizes.
        item: Bytes per number in the cache.
        paging: The engine's settings.

    Attributes:
        paging: The same.
        block_bytes: Bytes of a block, over the layers that share it.
    """

    def __init__(self, model: ModelShape, item: int, paging: Paging) -> None:
        self.paging = paging
        pseudo_heads = max(layer.pseudo_heads for layer in model.layers)
        mixed = len({layer.is_iha for layer in model.layers}) == 2
        plain, iha = block_tokens(paging, pseudo_heads, mixed)
        kinds = Counter(
            _CacheGroup(iha if layer.pseudo_heads > 1 else plain, layer.mask.kept_tokens)
            for layer in model.layers
        )
        share = _layers_a_block(list(kinds.values()))
        self._groups = [group for group, n in kinds.items() for _ in range(math.ceil(n / share))]
        states = plain if mixed else plain * pseudo_heads
        self.block_bytes = share * states * model.state_bytes(item)

    def starting_blocks(self, context: int) -> int:
        """Blocks without which vLLM does not start, and of which its "maximum concurrency" is.

        Args:
            context: max_model_len in tokens.
        """
        return sum(group.bound(context, self.paging.in_flight) for group in self._groups)

    def charged_blocks(self, context: int) -> int:
        """Blocks that must be free for a prompt to be let in of which nothing is cached.

        A windowed layer is charged its window and all tokens in flight.

        Args:
            context: N in tokens.
        """
        return sum(group.held(context, self.paging.in_flight) for group in self._groups)

    def held_blocks(self, context: int) -> int:
        """Blocks that a request fills at most while it generates, a token a step.

        Args:
            context: N in tokens.
        """
        return sum(group.held(context, self.paging.batches) for group in self._groups)

    def fitting(self, blocks: int, context: int) -> int:
        """Requests that a cache holds while they generate; one block is vLLM's own.

        Args:
            blocks: Of the whole cache.
            context: N in tokens, of every request.
        """
        return max(0, blocks - 1) // self.held_blocks(context)

    def let_in(self, blocks: int, context: int) -> int:
        """Of those, how many vLLM lets run at once: the last one must find its charge free.

        That is for prompts of which no prefix is cached and with vLLM's defaults (no `watermark`,
        `scheduler_reserve_full_isl`), and where `max_num_seqs` is no less.

        Args:
            blocks: Of the whole cache.
            context: N in tokens, of every request, which is also max_model_len.
        """
        if blocks < self.starting_blocks(context):
            return 0
        spare = blocks - 1 - self.charged_blocks(context)
        return max(0, 1 + spare // self.held_blocks(context))

    def charged_bytes(self, context: int) -> int:
        """`charged_blocks` in bytes."""
        return self.charged_blocks(context) * self.block_bytes

    def held_bytes(self, context: int) -> int:
        """`held_blocks` in bytes."""
        return self.held_blocks(context) * self.block_bytes


def block_tokens(paging: Paging, pseudo_heads: int, mixed: bool) -> tuple[int, int]:
    """Tokens per block in a plain layer and in an IHA layer.

    Where a model has both, their blocks have to be of one size in bytes, so an IHA block holds
    1/P of the tokens, and both are enlarged to what the backend can run.

    Args:
        paging: The engine's settings.
        pseudo_heads: P.
        mixed: Whether the model has plain and IHA layers.
    """
    if not mixed or pseudo_heads == 1:
        return paging.block_size, paging.block_size
    step = math.lcm(paging.unit, pseudo_heads)
    states = math.ceil(paging.block_size / step) * step
    return states, states // pseudo_heads


def _layers_a_block(counts: list[int]) -> int:
    """Layers that a block serves: vLLM deals layers of each kind out in parts of one size.

    It takes the rarest kind's number, and the most frequent one's where that is less than half
    more; what does not divide is padded.
    """
    least, most = min(counts), max(counts)
    return most if most < 1.5 * least else least


#: Share of a GPU's memory that vLLM takes by itself.
GPU_SHARE = 0.9


@dataclass(frozen=True)
class Device:
    """A GPU.

    Attributes:
        memory: Bytes.
        bandwidth: Bytes per second.
        utilization: Share of the memory that weights and KV cache get.
    """

    memory: float
    bandwidth: float
    utilization: float = GPU_SHARE


@dataclass(frozen=True)
class Capacity:
    """What a device holds of a model.

    Attributes:
        weight_bytes: The weights.
        cache_bytes: What is left for the KV cache; 0 where the weights do not fit.
        requests: Requests of the context that are generated for at once, by the blocks they fill.
        admitted: Of those, what vLLM lets run (see `BlockPool.let_in`).
        single_rate: Tokens per second of one request, bound by bandwidth; None where none fits.
        full_rate: Tokens per second of all `requests` together; None where none fits.
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
        model: The sizes.
        context: N in tokens, of every request.
        item: Bytes per number, of weights and cache alike.
        device: The device.
        paging: The engine's settings.
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
