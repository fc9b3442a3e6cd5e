"""Whether an engine asked for the fused pass, and whether it can have it.

For: the served model, which takes the plain path otherwise.
Not for: running it; imports neither Triton nor vLLM.

The switch is an entry of vLLM's `additional_config`, not a variable of the environment: vLLM keeps
compiled graphs under a hash of its configuration, and a graph of the one path must not be found
when the other is asked for.
"""

import importlib.util
from collections.abc import Mapping
from typing import Any

import torch

from model_adapters.errors import BackendError

SWITCH = "iha_fused"
KERNEL = "kernel"
# The same way through the engine, with the arithmetic in plain PyTorch: to tell apart, on a new
# device, a fault of the kernel from one of the way to it.
PLAIN = "plain"

# Those whose cache is laid out as the kernel expects.
BACKENDS = ("FLASH_ATTN", "TRITON_ATTN")
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
CACHE_DTYPES = {
    torch.float16: ("auto", "float16"),
    torch.bfloat16: ("auto", "bfloat16"),
    torch.float32: ("auto", "float32"),
}
WIDEST = 256


def chosen(additional_config: object) -> str | None:
    """What the engine's `additional_config` asks for: "kernel", "plain" or nothing.

    Raises:
        BackendError: something else is asked for.
    """
    if not isinstance(additional_config, Mapping):
        return None
    value = additional_config.get(SWITCH, False)
    if value is True or value == KERNEL:
        return KERNEL
    if value == PLAIN:
        return PLAIN
    if value not in (False, None):
        raise BackendError(
            f"additional_config has {SWITCH} {value!r}: set it to true, or leave it out."
        )
    return None


def why_not(
    mode: str,
    *,
    device: str,
    dtype: torch.dtype,
    cache_dtype: str,
    backend: str,
    width: int,
    ranks: int,
) -> str | None:
    """The first thing that keeps an engine from the fused pass, as a clause; None if nothing does.

    Args:
        mode: "kernel" or "plain".
        device: type of the engine's device.
        dtype: of weights and states.
        cache_dtype: as vLLM names it, "auto" included.
        backend: name of the base attention backend.
        width: d.
        ranks: tensor-parallel ranks.
    """
    # Each rank projects its own heads, and mixing needs all of them.
    if ranks > 1:
        return f"tensor_parallel_size is {ranks}"
    if mode == PLAIN:
        return None
    problems: dict[str, Any] = {
        f"the device is {device}": device != "cuda",
        f"the attention backend is {backend}": backend not in BACKENDS,
        f"dtype is {dtype}": dtype not in DTYPES,
        f"the cache's dtype is {cache_dtype}": cache_dtype not in CACHE_DTYPES.get(dtype, ()),
        f"heads are {width} wide": not 16 <= width <= WIDEST or bool(width % 8),
        "Triton is not installed": importlib.util.find_spec("triton") is None,
    }
    return next((text for text, holds in problems.items() if holds), None)
