"""The kernel compiles for real devices, without one: the interpreter misses what types forbid."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from model_adapters.vllm.fused import kernel
from model_adapters.vllm.fused.launch import plan

ADDRESSES = {"positions": "*i64", "slots": "*i64"}


def compiled(batch: Any, tokens: int, capability: int, number: str) -> bytes:
    """Machine code for a batch, and arguments aligned as the engine's are."""
    constants = kernel.constants(batch.mixing, plan(tokens, batch.mixing.sizes, 132))
    function = kernel._mix_rotate_cache
    kinds, aligned = {}, {}
    for index, name in enumerate(function.arg_names):
        if name in constants:
            kinds[name] = "constexpr"
            continue
        is_count = name in ("tokens", "slot_tokens")
        is_number = is_count or name == "block_size" or name.endswith("stride")
        kinds[name] = "i32" if is_number else ADDRESSES.get(name, f"*{number}")
        if not is_count:
            aligned[(index,)] = [["tt.divisibility", 16]]
    source = ASTSource(function, kinds, constexprs=constants, attrs=aligned)
    target = GPUTarget("cuda", capability, 32)
    code: bytes = triton.compile(source, target=target, options={"num_warps": 4}).asm["cubin"]
    return code


@pytest.mark.parametrize(
    ("shape", "tokens", "capability", "number"),
    [
        pytest.param((1, 20, 20, 128, 4), 8192, 80, "bf16", id="H20-d128-P4-prefill-sm80"),
        pytest.param((1, 32, 8, 64, 2), 1, 90, "bf16", id="H32-G8-d64-P2-decode-sm90"),
    ],
)
def test_registers_suffice(
    shape: tuple[int, ...],
    tokens: int,
    capability: int,
    number: str,
    make_batch: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is spilled to memory, which would cost more than the fused pass saves."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")
    code = tmp_path / "code.cubin"
    code.write_bytes(compiled(make_batch(*shape), tokens, capability, number))
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    usage = subprocess.run([tool, "-res-usage", code], capture_output=True, text=True, check=True)
    (found,) = re.findall(r"REG:(\d+) STACK:(\d+)", usage.stdout)
    registers, stack = map(int, found)
    assert 32 <= registers <= 168
    assert stack == 0
