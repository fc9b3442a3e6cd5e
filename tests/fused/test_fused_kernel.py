"""The Triton kernel against plain PyTorch: in the interpreter, and on a GPU where there is one."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch

from model_adapters.vllm.fused import naive
from model_adapters.vllm.fused.launch import bytes_moved, least_bytes, plan
from model_adapters.vllm.fused.mixing import Sizes

# Tokens, H, G, d, P.
SHAPES = [
    pytest.param((1, 4, 4, 64, 2), id="T1-H4-G4-d64-P2"),
    pytest.param((63, 4, 2, 32, 3), id="T63-H4-G2-d32-P3"),
    pytest.param((129, 8, 1, 32, 1), id="T129-H8-G1-d32-P1"),
    pytest.param((7, 4, 1, 80, 4), id="T7-H4-G1-d80-P4"),
    pytest.param((5, 5, 5, 96, 1), id="T5-H5-G5-d96-P1"),
    pytest.param((2, 20, 20, 128, 2), id="T2-H20-G20-d128-P2"),
    # More heads than a program makes.
    pytest.param((1, 72, 8, 64, 2), id="T1-H72-G8-d64-P2"),
    pytest.param((1, 8, 2, 128, 8), id="T1-H8-G2-d128-P8"),
    pytest.param((1, 4, 4, 64, 20), id="T1-H4-G4-d64-P20"),
    pytest.param((1000, 2, 2, 32, 1), id="T1000-H2-G2-d32-P1"),
]
DTYPES = [
    pytest.param(torch.float32, 2e-6, id="float32"),
    pytest.param(torch.float16, 2**-10, id="float16"),
    # One unit in the last place: the plain version rounds once as well.
    pytest.param(torch.bfloat16, 2**-7, id="bfloat16"),
]


def check(batch: Any, kernel: Any, tolerance: float, launch: Any) -> None:
    """Queries and the whole cache, every number that stays unwritten included."""
    wanted_query, wanted_cache = batch.run(naive.mix_rotate_cache)
    query, cache = batch.run(kernel, launch=launch)
    torch.testing.assert_close(query, wanted_query, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(cache, wanted_cache, rtol=tolerance, atol=tolerance)
    untouched = wanted_cache == batch.UNWRITTEN
    assert torch.equal(cache[untouched], wanted_cache[untouched])


def tiles(batch: Any, tokens: int | None = None) -> Any:
    """Every program makes all pseudo-heads of several tokens; of many, to be interpreted soon."""
    count = len(batch.qkv)
    launch = plan(count, batch.mixing.sizes, 1)
    if tokens is None:
        return launch
    return replace(launch, tokens=tokens, grid=(-(-count // tokens), launch.grid[1]))


def split(batch: Any) -> Any:
    """Every program makes one pseudo-head of one token, as on a device with many processors."""
    return plan(len(batch.qkv), batch.mixing.sizes, 10**6)


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape: tuple[int, ...], interpreted: ModuleType, make_batch: Any) -> None:
    batch = make_batch(*shape)
    check(batch, interpreted.mix_rotate_cache, 2e-6, tiles(batch, 128 if shape[0] > 10 else None))


@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[6], SHAPES[7]])
def test_few_tokens(shape: tuple[int, ...], interpreted: ModuleType, make_batch: Any) -> None:
    batch = make_batch(*shape)
    assert split(batch).pseudo_heads == 1
    check(batch, interpreted.mix_rotate_cache, 2e-6, split(batch))


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_dtypes(
    dtype: torch.dtype, tolerance: float, interpreted: ModuleType, make_batch: Any
) -> None:
    batch = make_batch(9, 4, 2, 32, 3, dtype=dtype)
    check(batch, interpreted.mix_rotate_cache, tolerance, tiles(batch, 16))


ODD = [
    pytest.param({"padding": 7}, id="padding-from-mid-token"),
    pytest.param({"padding": 22}, id="all-padding"),
    pytest.param({"slots_short": 8}, id="fewer-slots-than-tokens"),
    pytest.param({"slots_short": 22}, id="no-slots"),
    pytest.param({"row_gap": 24}, id="rows-with-gaps"),
    pytest.param({"virtual": False}, id="token-positions"),
]


@pytest.mark.parametrize("more", ODD)
def test_odd_batches(more: dict[str, Any], interpreted: ModuleType, make_batch: Any) -> None:
    batch = make_batch(11, 4, 2, 64, 2, **more)
    check(batch, interpreted.mix_rotate_cache, 2e-6, tiles(batch))


def test_states_before_heads_in_memory(interpreted: ModuleType, make_batch: Any) -> None:
    """The cache's order in memory is the engine's choice; its logical shape stays."""
    batch = make_batch(11, 4, 2, 64, 3)
    # In memory [blocks, B, G, 2d].
    batch.cache = batch.cache.transpose(1, 2).contiguous().transpose(1, 2)
    assert batch.cache.clone().stride() == batch.cache.stride()
    check(batch, interpreted.mix_rotate_cache, 2e-6, tiles(batch))


def test_no_tokens(interpreted: ModuleType, make_batch: Any) -> None:
    batch = make_batch(0)
    query, _ = batch.run(interpreted.mix_rotate_cache, launch=tiles(make_batch(1)))
    assert query.shape == (0, 256)


@pytest.mark.gpu
@pytest.mark.parametrize("shape", SHAPES)
def test_on_a_gpu(shape: tuple[int, ...], make_batch: Any) -> None:
    from model_adapters.vllm.fused.kernel import mix_rotate_cache

    for dtype, tolerance in (
        (torch.float32, 1e-5),
        (torch.float16, 2**-9),
        (torch.bfloat16, 2**-6),
    ):
        batch = make_batch(*shape, dtype=dtype, device="cuda", padding=1, row_gap=16)
        for launch in (tiles(batch), split(batch)):
            check(batch, mix_rotate_cache, tolerance, launch)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("shape", [(7, 4, 1, 80, 4), (3, 4, 4, 64, 2), (1, 72, 8, 64, 2)], ids=str)
def test_what_is_moved_is_what_was_counted(
    shape: tuple[int, ...],
    apart: bool,
    interpreted: ModuleType,
    make_batch: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every load and store of the interpreter, masked ones left out."""
    from triton.runtime import interpreter

    moved: list[int] = []
    builder = interpreter.InterpreterBuilder
    load, store = builder.create_masked_load, builder.create_masked_store

    def counted(pointers: Any, mask: Any) -> None:
        bits = pointers.get_element_ty().primitive_bitwidth
        moved.append(int(mask.data.sum()) * bits // 8)

    def loaded(self: Any, pointers: Any, mask: Any, *more: Any) -> Any:
        counted(pointers, mask)
        return load(self, pointers, mask, *more)

    def stored(self: Any, pointers: Any, value: Any, mask: Any, *more: Any) -> Any:
        counted(pointers, mask)
        return store(self, pointers, value, mask, *more)

    monkeypatch.setattr(builder, "create_masked_load", loaded)
    monkeypatch.setattr(builder, "create_masked_store", stored)
    batch = make_batch(*shape)
    launch = split(batch) if apart else tiles(batch)
    batch.run(interpreted.mix_rotate_cache, launch=launch)
    tokens, sizes = len(batch.qkv), batch.mixing.sizes
    assert sum(moved) == bytes_moved(tokens, launch, sizes, 4)
    assert sum(moved) >= least_bytes(tokens, sizes, 4)


def test_a_long_prompt_s_states_are_moved_about_once() -> None:
    """The paper's sizes in bfloat16: states, of all that is moved most, once read and once written.

    Positions and slots are loaded for every number of a tile, from the device's cache.
    """
    sizes = Sizes(20, 20, 128, 4)
    launch = plan(8192, sizes, 132)
    states = 8192 * 60 * 128 * (1 + 4) * 2
    assert least_bytes(8192, sizes, 2) < 1.08 * states
    assert launch.grid[1] * launch.pseudo_heads == 2 * 4
