"""Blocks and capacity by hand, without an engine (that is test_cost_engine.py)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import GLOBAL, HYBRID, tiny_config

from model_adapters import IHAConfig
from model_adapters.cost import BlockPool, Device, LayerShape, ModelShape, Paging, model_shape
from model_adapters.cost.blocks import capacity

SMALL = Paging(block_size=16, batched_tokens=32, batches=1)


def bfloat16_bench(pseudo: int) -> ModelShape:
    """Ten layers, hybrid 4:1, FLOP-matched at 4096 tokens; 20480 bytes a token when plain."""
    return model_shape(
        IHAConfig(
            vocab_size=100,
            hidden_size=512,
            intermediate_size=1024,
            num_hidden_layers=10,
            num_attention_heads=8,
            num_key_value_heads=8,
            head_dim=64,
            num_pseudo_heads=pseudo,
            iha_layer_types=HYBRID * 2,
            iha_window=4096 // (2 * pseudo**2),
        )
    )


def test_a_plain_model_is_charged_its_tokens_in_whole_blocks() -> None:
    model = bfloat16_bench(2).baseline
    pool = BlockPool(model, 2, SMALL)
    assert pool.charged_bytes(4096) == model.kv_bytes(4096, 2) == 4096 * 20480
    assert pool.charged_bytes(4097) == pool.held_bytes(4097) == 4112 * 20480


def test_a_hybrid_is_charged_a_token_what_vllm_was_seen_to_charge() -> None:
    """256 tokens in flight in blocks of 128 on a CPU: 10752 bytes a token at P = 4."""
    paging = Paging(block_size=128, unit=32, batched_tokens=256, batches=1)
    assert BlockPool(bfloat16_bench(4), 2, paging).charged_bytes(4096) == 4096 * 10752


def test_many_tokens_in_flight_cost_a_hybrid_its_advantage_until_it_is_running() -> None:
    model = bfloat16_bench(4)
    pool = BlockPool(model, 2, Paging())
    plain = BlockPool(model.baseline, 2, Paging())
    assert pool.charged_bytes(4096) > 3 * plain.charged_bytes(4096)
    # 0.30 of the baseline's states, and a block or two more for each layer's window.
    assert 0.30 < pool.held_bytes(4096) / plain.held_bytes(4096) < 0.32


@given(
    pseudo=st.integers(1, 4),
    window=st.integers(1, 600),
    context=st.integers(1, 5000),
    kinds=st.lists(
        st.sampled_from(["iha_sliding", "iha_global", "full", "sliding"]), min_size=1, max_size=9
    ),
)
def test_blocks_hold_at_least_the_states_and_no_more_than_is_charged(
    pseudo: int, window: int, context: int, kinds: list[str]
) -> None:
    windowed = any("sliding" in kind for kind in kinds)
    model = model_shape(
        tiny_config(kinds, num_pseudo_heads=pseudo, iha_window=window if windowed else None)
    )
    pool = BlockPool(model, 4, SMALL)
    assert model.kv_bytes(context, 4) <= pool.held_bytes(context) <= pool.charged_bytes(context)


def test_only_the_last_request_must_find_its_whole_charge_free() -> None:
    """Those that run have given back what whole steps took; one block is vLLM's own."""
    steps = replace(SMALL, batched_tokens=64)
    pool = BlockPool(model_shape(tiny_config(["iha_sliding"] * 2, iha_window=17)), 4, steps)
    charged, held = pool.charged_blocks(500), pool.held_blocks(500)
    assert charged > 2 * held
    assert pool.starting_blocks(500) == charged
    assert [pool.let_in(blocks, 500) for blocks in (0, charged, charged + 1)] == [0, 0, 1]
    assert pool.let_in(charged + held, 500) == 1
    assert pool.let_in(charged + 7 * held + 1, 500) == 8
    assert pool.fitting(7 * held, 500) == 6
    assert pool.fitting(7 * held + 1, 500) == 7


def test_a_short_prompt_is_charged_its_blocks_but_not_enough_to_start() -> None:
    """VLLM starts only where there would be a block more for the border of a window."""
    pool = BlockPool(model_shape(tiny_config(["iha_sliding"] * 2, iha_window=17)), 4, SMALL)
    assert (pool.starting_blocks(16), pool.charged_blocks(16), pool.held_blocks(16)) == (2, 1, 1)
    assert [pool.let_in(blocks, 16) for blocks in (1, 2, 3)] == [0, 1, 2]


def test_an_iha_block_is_enlarged_until_the_backend_can_run_it() -> None:
    """P = 3 in a mixed model: 48 states, which are 16 tokens of an IHA layer, 48 of a plain one."""
    model = model_shape(tiny_config(["iha_global", "full"], num_pseudo_heads=3))
    pool = BlockPool(model, 2, SMALL)
    assert pool.block_bytes == 48 * model.state_bytes(2)
    assert pool.held_blocks(16) == 2
    assert pool.held_blocks(49) == 4 + 2


PLAIN = model_shape(tiny_config(GLOBAL)).baseline


def test_a_gpu_holds_what_its_memory_leaves_and_decodes_as_fast_as_it_reads() -> None:
    context, item = 160, 2
    request = PLAIN.kv_bytes(context, item)
    weights = PLAIN.parameters * item
    # Rounded up: what is left after the weights holds three requests and not four.
    device = Device(memory=(weights + 3.5 * request) / 0.9, bandwidth=1e9)
    found = capacity(PLAIN, context, item, device, SMALL)
    assert (found.weight_bytes, found.requests, found.admitted) == (weights, 3, 3)
    assert found.cache_bytes == pytest.approx(3.5 * request, abs=2)
    read = PLAIN.parameters_read * item
    assert found.single_rate == pytest.approx(1e9 / (read + request))
    assert found.full_rate == pytest.approx(3e9 / (read + 3 * request))


@pytest.mark.parametrize("spare", [-1, 0.5], ids=["weights do not fit", "no request fits"])
def test_what_does_not_fit_has_no_rate(spare: float) -> None:
    request = PLAIN.kv_bytes(160, 2)
    memory = (PLAIN.parameters * 2 + spare * request) / 0.9
    found = capacity(PLAIN, 160, 2, Device(memory, 1e9), SMALL)
    assert (found.requests, found.admitted) == (0, 0)
    assert (found.single_rate, found.full_rate) == (None, None)
    assert found.cache_bytes == max(0, int(memory * 0.9) - PLAIN.parameters * 2)


def test_a_table_that_is_not_read_slows_nothing() -> None:
    large = replace(PLAIN, vocabulary=10**6)
    device = Device(memory=1e12, bandwidth=1e9)
    untied = capacity(replace(large, tied=False), 160, 2, device, SMALL)
    tied = capacity(replace(large, tied=True), 160, 2, device, SMALL)
    assert untied.single_rate == tied.single_rate
    assert untied.weight_bytes > tied.weight_bytes


def test_a_window_of_an_iha_layer_reaches_into_one_token_more() -> None:
    """W = 16 tokens and one in flight: two blocks of 16 when plain, 17 tokens need three."""
    layers = {1: LayerShape("sliding", 1, 16), 2: LayerShape("iha_sliding", 2, 16)}
    held = {
        pseudo: BlockPool(replace(PLAIN, layers=(layer,)), 2, SMALL).held_blocks(1000)
        for pseudo, layer in layers.items()
    }
    assert held == {1: 2, 2: 3}
