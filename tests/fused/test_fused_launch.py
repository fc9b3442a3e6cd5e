"""When an engine gets the fused pass; block sizes that cover everything once."""

from typing import Any

import pytest
import torch

from model_adapters.errors import BackendError
from model_adapters.vllm.fused import chosen, why_not
from model_adapters.vllm.fused.launch import ACCUMULATOR, plan, power_of_two
from model_adapters.vllm.fused.mixing import Sizes

FIT: dict[str, Any] = {
    "device": "cuda",
    "dtype": torch.bfloat16,
    "cache_dtype": "auto",
    "backend": "FLASH_ATTN",
    "width": 128,
    "ranks": 1,
}
SIZES = [
    Sizes(20, 20, 128, 4),
    Sizes(32, 8, 64, 2),
    Sizes(5, 5, 96, 1),
    Sizes(72, 1, 80, 3),
    Sizes(20, 20, 128, 20),
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("tokens", [1, 63, 129, 8192])
def test_all_work_is_dealt_out(tokens: int, sizes: Sizes) -> None:
    launch = plan(tokens, sizes, 132)
    programs, blocks = launch.grid
    assert programs * launch.tokens >= tokens > (programs - 1) * launch.tokens
    query_blocks = -(-sizes.heads // launch.query_rows)
    kv_blocks = -(-sizes.kv_heads // launch.kv_rows)
    assert blocks * launch.pseudo_heads == (query_blocks + kv_blocks) * sizes.pseudo_heads
    assert launch.query_heads >= sizes.heads
    assert launch.kv_heads >= sizes.kv_heads
    assert launch.half * 2 >= sizes.width


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_many_tokens_fill_the_registers_that_were_counted_on(sizes: Sizes) -> None:
    launch = plan(8192, sizes, 132)
    assert launch.pseudo_heads == sizes.pseudo_heads
    product = max(launch.query_rows, launch.kv_rows) * launch.tokens * launch.half
    assert product <= max(ACCUMULATOR, 64 * launch.half)


def test_one_token_is_spread() -> None:
    launch = plan(1, Sizes(20, 20, 128, 4), 132)
    assert (launch.tokens, launch.pseudo_heads, launch.grid) == (1, 1, (1, 8))


@pytest.mark.parametrize(("count", "rounded"), [(1, 16), (16, 16), (17, 32), (20, 32), (64, 64)])
def test_power_of_two(count: int, rounded: int) -> None:
    assert power_of_two(count) == rounded


@pytest.mark.parametrize(
    ("asked", "mode"),
    [
        ({}, None),
        (None, None),
        ({"iha_fused": False}, None),
        ({"iha_fused": None}, None),
        ({"iha_fused": True}, "kernel"),
        ({"iha_fused": "kernel"}, "kernel"),
        ({"iha_fused": "plain"}, "plain"),
    ],
    ids=str,
)
def test_what_is_asked_for(asked: object, mode: str | None) -> None:
    assert chosen(asked) == mode


@pytest.mark.parametrize("value", ["yes", 1.5, [True]], ids=str)
def test_another_value_is_refused(value: object) -> None:
    with pytest.raises(BackendError, match="set it to true, or leave it out"):
        chosen({"iha_fused": value})


def test_fits() -> None:
    assert why_not("kernel", **FIT) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"device": "cpu"}, "the device is cpu"),
        ({"backend": "CPU_ATTN"}, "the attention backend is CPU_ATTN"),
        ({"dtype": torch.float64}, "dtype is torch.float64"),
        ({"cache_dtype": "fp8"}, "the cache's dtype is fp8"),
        ({"cache_dtype": "float16"}, "the cache's dtype is float16"),
        ({"width": 512}, "heads are 512 wide"),
        ({"width": 20}, "heads are 20 wide"),
        ({"ranks": 2}, "tensor_parallel_size is 2"),
    ],
    ids=str,
)
def test_does_not_fit(change: dict[str, Any], reason: str) -> None:
    assert why_not("kernel", **FIT | change) == reason


def test_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert why_not("kernel", **FIT) == "Triton is not installed"


def test_plain_runs_on_any_device_but_one_rank() -> None:
    assert why_not("plain", **FIT | {"device": "cpu", "backend": "CPU_ATTN"}) is None
    assert why_not("plain", **FIT | {"ranks": 2}) == "tensor_parallel_size is 2"
