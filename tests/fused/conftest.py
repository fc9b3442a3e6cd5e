"""The kernel in Triton's interpreter, and batches for it."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import model_adapters.vllm.fused
from model_adapters.vllm.fused import MixingMatrices
from model_adapters.vllm.fused.packed import cache_views

# Of a rotary table; no sequence is longer.
POSITIONS = 3000
KERNEL = Path(model_adapters.vllm.fused.__file__).with_name("kernel.py")


@pytest.fixture(scope="session")
def interpreted() -> ModuleType:
    """A second copy of the kernel's module, which no other test can come by.

    Triton decides when a kernel is defined whether it will be interpreted; the variable is back at
    its old value before the first test runs.
    """
    spec = importlib.util.spec_from_file_location("interpreted_kernel", KERNEL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        spec.loader.exec_module(module)
    assert "TRITON_INTERPRET" not in os.environ
    return module


class Batch:
    """Random states of T tokens and an empty cache with room for them.

    Every number is drawn; the cache is filled with a number that nothing computes, so that a
    write too few and a write too many both show.
    """

    UNWRITTEN = 77.0
    BLOCK = 16

    def __init__(
        self,
        tokens: int,
        heads: int = 4,
        kv_heads: int = 4,
        width: int = 64,
        pseudo_heads: int = 2,
        *,
        virtual: bool = True,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        padding: int = 0,
        slots_short: int = 0,
        row_gap: int = 0,
    ) -> None:
        random = torch.Generator().manual_seed(tokens * 31 + heads * 7 + pseudo_heads)

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=random).to(device, dtype)

        self.mixing = MixingMatrices(
            draw(pseudo_heads * heads, heads) / heads**0.5,
            draw(pseudo_heads * kv_heads, kv_heads) / kv_heads**0.5,
            draw(pseudo_heads * kv_heads, kv_heads) / kv_heads**0.5,
            width,
            virtual,
        )
        self.qkv = draw(tokens, self.mixing.packed_width + row_gap)[:, : self.mixing.packed_width]
        # Tokens of several sequences stand in any order.
        self.positions = torch.randint(0, POSITIONS, (tokens,), generator=random).to(device)
        angles = torch.rand((POSITIONS * pseudo_heads, width // 2), generator=random) * 6.3
        self.table = torch.cat([angles.cos(), angles.sin()], dim=1).to(device, dtype)
        blocks = -(-tokens * pseudo_heads // self.BLOCK) + 3
        slots = torch.randperm(blocks * self.BLOCK, generator=random)[: tokens * pseudo_heads]
        slots[tokens * pseudo_heads - padding :] = -1
        self.slots = slots[: tokens * pseudo_heads - slots_short].to(device)
        self.cache = torch.full(
            (blocks, kv_heads, self.BLOCK, 2 * width), self.UNWRITTEN, dtype=dtype, device=device
        )

    def run(self, function: Any, **more: Any) -> tuple[Tensor, Tensor]:
        """The queries and a new cache, as `function` makes them."""
        cache = self.cache.clone()
        query = function(
            self.qkv,
            self.positions,
            self.slots,
            self.table,
            self.mixing,
            *cache_views(cache, self.mixing.width),
            **more,
        )
        return query, cache


@pytest.fixture(scope="session")
def make_batch() -> type[Batch]:
    return Batch
