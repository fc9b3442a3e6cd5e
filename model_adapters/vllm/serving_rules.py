"""What an IHA model can be served with: attention backends and kinds of parallelism.

For: the served model, and whoever starts an engine and wants to refuse before it does.
Not for: reading a checkpoint; imports nothing of vLLM.
"""

from collections.abc import Mapping
from typing import Any

from model_adapters.errors import BackendError

# Variable-length attention over a paged cache whose block size is a multiple, not a constant.
SUPPORTED_BACKENDS = ("CPU_ATTN", "FLASH_ATTN", "TRITON_ATTN")
# In the order in which they are tried where vLLM's own choice is none of them.
GPU_BACKENDS = ("FLASH_ATTN", "TRITON_ATTN")


def check_backend(name: str) -> None:
    """Refuse an attention backend that assumes one cache state per token.

    Raises:
        BackendError: it does; the text says what to set.
    """
    if name not in SUPPORTED_BACKENDS:
        raise BackendError(
            f"attention backend {name} assumes one cache state per token and cannot serve IHA: set "
            "attention_backend to FLASH_ATTN or TRITON_ATTN."
        )


def check_parallelism(
    heads: int, kv_heads: int, *, tensor: int = 1, pipeline: int = 1, decode_context: int = 1
) -> None:
    """Refuse what would be wrong or cannot be dealt out.

    Args:
        heads: H.
        kv_heads: G.
        tensor: tensor-parallel ranks.
        pipeline: pipeline-parallel ranks.
        decode_context: decode-context-parallel ranks.

    Raises:
        BackendError: one of them does not do; the text says what would.
    """
    if decode_context > 1:
        raise BackendError(
            f"decode_context_parallel_size is {decode_context}, but IHA's virtual tokens cannot be "
            "dealt out over ranks: set it to 1."
        )
    if pipeline > 1:
        raise BackendError(
            f"pipeline_parallel_size is {pipeline}, which IHA does not serve: set it to 1 and use "
            "tensor_parallel_size."
        )

    def even(ranks: int) -> bool:
        return not heads % ranks and (not kv_heads % ranks or not ranks % kv_heads)

    if not even(tensor):
        good = ", ".join(str(ranks) for ranks in range(1, heads + 1) if even(ranks))
        raise BackendError(
            f"tensor_parallel_size is {tensor}, over which {heads} heads and {kv_heads} key heads "
            f"cannot be dealt out evenly: use one of {good}."
        )


def check_engine(heads: int, kv_heads: int, engine: Mapping[str, Any]) -> None:
    """Refuse engine arguments that an IHA model cannot be served with.

    Args:
        heads: H.
        kv_heads: G.
        engine: arguments by vLLM's names; what is missing or None is vLLM's default.

    Raises:
        BackendError: one of them does not do; the text says what would.
    """

    def size(name: str) -> int:
        return int(engine.get(name) or 1)

    if engine.get("attention_backend"):
        check_backend(str(engine["attention_backend"]).upper())
    check_parallelism(
        heads,
        kv_heads,
        tensor=size("tensor_parallel_size"),
        pipeline=size("pipeline_parallel_size"),
        decode_context=size("decode_context_parallel_size"),
    )
