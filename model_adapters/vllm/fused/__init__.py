"""Mixing, rotary embedding and cache write of an IHA layer in one pass on a GPU.

For: the served model, where its engine is asked for it; see `launch.py` for when it can be.
Not for: attention itself, collapsing, or any machine without CUDA. It is off by default: the kernel
has been checked in Triton's interpreter and compiled for CUDA devices, but timed on none.

`naive.py` says what is computed, `kernel.py` computes it, `launch.py` sizes its blocks, and
`packed.py` is the way from vLLM's attention layer to either. Importing this imports no Triton.
"""

from model_adapters.vllm.fused.launch import KERNEL, PLAIN, SWITCH, chosen, why_not
from model_adapters.vllm.fused.mixing import MixingMatrices

__all__ = ["KERNEL", "PLAIN", "SWITCH", "MixingMatrices", "chosen", "why_not"]
