"""Block sizes: everything is covered once, and no size is one that the hardware refuses."""

import pytest

from model_adapters.vllm.fused.launch import ACCUMULATOR, plan, power_of_two
from model_adapters.vllm.fused.mixing import Sizes

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
