"""How one layer's KV cache is described to vLLM: states per token, window, size of blocks.

For: `model.py`, whose layers answer with it when vLLM sizes its cache, and `backend.py`,
which turns it back into what a kernel sees.
Not for: the arithmetic of whole models, which needs no vLLM (`cost/blocks.py`).
"""

import math
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any

from vllm.v1.attention.backend import AttentionBackend, MultipleOf
from vllm.v1.kv_cache_interface import AttentionSpec

from model_adapters.config import VirtualMask
from model_adapters.errors import BackendError

# From vLLM 0.29 on a specification states how many tokens one cache state covers.
HAS_TOKENS_PER_STATE = "tokens_per_state" in {field.name for field in fields(AttentionSpec)}


@dataclass(frozen=True)
class CacheShape(VirtualMask):
    """How one layer's cache is described to the scheduler and to the base backend.

    It follows from what a layer's virtual tokens see.
    """

    @property
    def name(self) -> str:
        """Differs where layers cannot share a backend."""
        sizes = f"P{self.pseudo_heads}_W{self.window or 0}_S{self.slots or 0}"
        return f"{sizes}_{self.causal}_{self.edge}_"

    def for_scheduler(self, spec: AttentionSpec, block_tokens: int) -> AttentionSpec:
        """The specification in tokens; the P states per token show in its page size."""
        changes: dict[str, Any] = {"block_size": block_tokens}
        if HAS_TOKENS_PER_STATE:
            changes["tokens_per_state"] = Fraction(1, self.pseudo_heads)
        else:
            changes["num_kv_heads"] = spec.num_kv_heads * self.pseudo_heads
        if self.window is not None:
            changes["sliding_window"] = self.kept_tokens
        return replace(spec, **changes)

    def for_kernel(self, spec: AttentionSpec) -> AttentionSpec:
        """The specification in virtual tokens, as the base's builder understands it."""
        changes: dict[str, Any] = {"block_size": spec.block_size * self.pseudo_heads}
        if HAS_TOKENS_PER_STATE:
            changes["tokens_per_state"] = 1
        else:
            changes["num_kv_heads"] = spec.num_kv_heads // self.pseudo_heads
        # Without vLLM's hybrid cache manager a windowed layer's specification is a full one's.
        if getattr(spec, "sliding_window", None) is not None:
            changes["sliding_window"] = self.kernel_window
        return replace(spec, **changes)


def block_tokens(
    base: type[AttentionBackend], block_size: int, pseudo_heads: int, mixed: bool
) -> tuple[int, int]:
    """Tokens per cache block in a plain layer and in an IHA layer.

    Where both are in one model, their pages have to be of one size in bytes: an IHA block then
    holds 1/P of the tokens. (vLLM would enlarge the plain layers' blocks P times instead, and
    prefix hits would get as coarse.)

    Args:
        base: the base backend, which states what a block's number of states must divide into.
        block_size: tokens per block as configured.
        pseudo_heads: P.
        mixed: whether the model has plain and IHA layers.

    Returns:
        Tokens per block of a plain layer, tokens per block of an IHA layer.

    Raises:
        BackendError: the base cannot run such a block.
    """
    unit = min(_unit(size) for size in base.get_supported_kernel_block_sizes())
    if mixed and pseudo_heads > 1:
        step = math.lcm(unit, pseudo_heads)
        states = -(-block_size // step) * step
        return states, states // pseudo_heads
    if block_size * pseudo_heads % unit:
        raise BackendError(
            f"block_size is {block_size}, which with P={pseudo_heads} makes blocks of "
            f"{block_size * pseudo_heads} cache states, but {base.get_name()} needs a multiple of "
            f"{unit}: set block_size to a multiple of {unit // math.gcd(unit, pseudo_heads)}."
        )
    return block_size, block_size


def _unit(size: int | MultipleOf) -> int:
    return size.base if isinstance(size, MultipleOf) else size
