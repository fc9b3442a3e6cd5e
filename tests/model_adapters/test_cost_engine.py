"""Our count of the KV cache's blocks against what a running vLLM engine allocated and decided."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import engine, tiny_config

from model_adapters import default_checkpoint
from model_adapters.config import LAYER_KINDS, WINDOWED_KINDS
from model_adapters.cost import BlockPool, Paging, model_shape
from model_adapters.cost.blocks import block_tokens

pytestmark = pytest.mark.slow

BLOCK = 128


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An engine on the embedded hybrid."""
    arguments = {"dtype": "bfloat16", "max_model_len": 4096, "block_size": BLOCK}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IHA_EVAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        with engine(default_checkpoint.folder(), **arguments) as llm:
            yield llm


def paging(config: Any) -> Paging:
    # vLLM overwrites its configured block size with the smallest of any layer.
    return Paging(
        block_size=BLOCK,
        unit=32,
        batched_tokens=config.scheduler_config.max_num_batched_tokens,
        batches=config.max_concurrent_batches,
    )


def caches(llm: Any) -> list[Any]:
    core = llm.llm_engine.engine_core.engine_core
    return list(core.model_executor.driver_worker.worker.model_runner.kv_caches)


def test_bytes_are_those_that_the_worker_allocated(running: Any) -> None:
    config = running.llm_engine.vllm_config
    pool = BlockPool(model_shape(config.model_config.hf_config), 2, paging(config))
    storages = {one.untyped_storage().data_ptr(): one.untyped_storage() for one in caches(running)}
    allocated = sum(storage.nbytes() for storage in storages.values())
    assert config.cache_config.num_gpu_blocks * pool.block_bytes == allocated


def test_vllms_maximum_concurrency_is_of_what_it_needs_to_start(running: Any) -> None:
    config = running.llm_engine.vllm_config
    pool = BlockPool(model_shape(config.model_config.hf_config), 2, paging(config))
    requests = config.cache_config.num_gpu_blocks / pool.starting_blocks(4096)
    assert config.cache_config.kv_cache_max_concurrency == requests
    assert config.cache_config.kv_cache_size_tokens == int(requests * 4096)


@pytest.mark.parametrize("tokens", [5, 700, 4000])
def test_a_prompt_is_let_in_where_its_charge_is_free(running: Any, tokens: int) -> None:
    """What the scheduler's own check asks of the pool, of nothing that is cached."""
    config = running.llm_engine.vllm_config
    pool = BlockPool(model_shape(config.model_config.hf_config), 2, paging(config))
    coordinator = running.llm_engine.engine_core.engine_core.scheduler.kv_cache_manager.coordinator
    asked = sum(
        manager.get_num_blocks_to_allocate(
            "nobody", tokens, [], 0, 0, tokens, apply_admission_cap=True
        )
        for manager in coordinator.single_type_managers
    )
    assert pool.charged_blocks(tokens) == asked


@pytest.mark.parametrize("tokens", [5, 700, 3000])
def test_a_running_request_holds_no_more_blocks_than_we_say(running: Any, tokens: int) -> None:
    """Every step of a generation, in what the scheduler's cache manager has given it."""
    from vllm import SamplingParams, TokensPrompt

    config = running.llm_engine.vllm_config
    pool = BlockPool(model_shape(config.model_config.hf_config), 2, paging(config))
    core = running.llm_engine.engine_core.engine_core
    free = core.scheduler.kv_cache_manager.block_pool.get_num_free_blocks
    before, held = free(), []
    prompt = TokensPrompt(prompt_token_ids=list(range(10, 10 + tokens)))
    params = SamplingParams(temperature=0, max_tokens=40, ignore_eos=True, detokenize=False)
    running.llm_engine.add_request("one", prompt, params)
    while running.llm_engine.has_unfinished_requests():
        for output in running.llm_engine.step():
            if output.outputs[0].token_ids and not output.finished:
                held.append((len(output.outputs[0].token_ids), before - free()))
    assert len(held) > 30
    for generated, blocks in held[1:]:
        most = pool.held_blocks(tokens + generated + 1)
        assert most - len(pool._groups) <= blocks <= most


def specifications(model: Any, settings_: Paging) -> dict[str, Any]:
    """vLLM's description of each layer's cache, as the served model makes it."""
    import torch
    from vllm.v1.kv_cache_interface import FullAttentionSpec, SlidingWindowSpec

    from model_adapters.vllm.cache_spec import CacheShape

    mixed = len({layer.is_iha for layer in model.layers}) == 2
    plain, iha = block_tokens(settings_, max(one.pseudo_heads for one in model.layers), mixed)
    found = {}
    for index, layer in enumerate(model.layers):
        fields = {
            "block_size": BLOCK,
            "num_kv_heads": model.kv_heads,
            "head_size": model.head_dim,
            "dtype": torch.bfloat16,
        }
        shape = CacheShape(layer.pseudo_heads, layer.window)
        spec = (
            FullAttentionSpec(**fields)
            if layer.window is None
            else SlidingWindowSpec(**fields, sliding_window=layer.window)
        )
        tokens = iha if layer.pseudo_heads > 1 else plain
        found[f"layers.{index}"] = shape.for_scheduler(spec, tokens)
    return found


@given(
    kinds=st.lists(st.sampled_from(LAYER_KINDS), min_size=1, max_size=14),
    pseudo=st.integers(1, 5),
    window=st.integers(1, 700),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_schedule_is_grouped_and_charged_as_vllm_does(
    running: Any, kinds: list[str], pseudo: int, window: int
) -> None:
    from vllm.v1.core import kv_cache_utils

    config = running.llm_engine.vllm_config
    windowed = bool(set(kinds) & set(WINDOWED_KINDS))
    model = model_shape(
        tiny_config(kinds, num_pseudo_heads=pseudo, iha_window=window if windowed else None)
    )
    pool = BlockPool(model, 2, paging(config))
    groups = kv_cache_utils.get_kv_cache_groups(config, specifications(model, paging(config)))
    made = kv_cache_utils.get_kv_cache_config_from_groups(config, groups, 1 << 30)
    assert made.num_blocks == (1 << 30) // pool.block_bytes
    _, concurrency = kv_cache_utils.get_kv_cache_capacity(config, made)
    assert concurrency == pytest.approx(made.num_blocks / pool.starting_blocks(4096))


@pytest.mark.parametrize("pseudo", [1, 2, 3, 4, 20])
@pytest.mark.parametrize("mixed", [True, False], ids=["mixed", "one kind"])
def test_blocks_are_those_of_the_served_model(pseudo: int, mixed: bool) -> None:
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    from model_adapters.vllm import cache_spec

    settings_ = Paging(block_size=BLOCK, unit=32)
    served = cache_spec.block_tokens(CPUAttentionBackend, BLOCK, pseudo, mixed)
    assert block_tokens(settings_, pseudo, mixed) == served
    assert math.lcm(32, pseudo) <= 160
