"""The way from the attention layer to the pass and back, without an engine."""

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_models import tiny_config

from model_adapters.errors import BackendError
from model_adapters.vllm.fused import KERNEL, PLAIN, naive, packed
from model_adapters.vllm.fused.launch import plan
from model_adapters.vllm.fused.packed import Packed, cache_views, equip


def unpacked(batch: Any, mode: str, cache: torch.Tensor) -> Any:
    metadata = SimpleNamespace(slot_mapping=batch.slots)
    packed = Packed(batch.mixing, mode)
    return packed.unpack(batch.qkv, batch.positions, batch.table, cache, metadata)


def test_kernel_leaves_nothing_to_write(
    interpreted: ModuleType, make_batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter in the compiled kernel's place; all else is what runs on a device."""
    monkeypatch.setattr(
        "model_adapters.vllm.fused.kernel.mix_rotate_cache", interpreted.mix_rotate_cache
    )
    monkeypatch.setattr("model_adapters.vllm.fused.packed._processors", lambda device: 132)
    batch = make_batch(3, 4, 2, 64, 3)
    cache = batch.cache.clone()
    query, key, value = unpacked(batch, KERNEL, cache)
    wanted_query, wanted_cache = batch.run(naive.mix_rotate_cache)
    assert (key, value) == (None, None)
    torch.testing.assert_close(query, wanted_query.unflatten(1, (4, 64)))
    torch.testing.assert_close(cache, wanted_cache)


def test_plain_leaves_keys_and_values_to_the_base(make_batch: Any) -> None:
    batch = make_batch(3, 4, 2, 64, 3, dtype=torch.bfloat16)
    cache = batch.cache.clone()
    query, key, value = unpacked(batch, PLAIN, cache)
    assert (query.shape, key.shape, value.shape) == ((9, 4, 64), (9, 2, 64), (9, 2, 64))
    assert {query.dtype, key.dtype, value.dtype} == {torch.bfloat16}
    assert torch.equal(cache, batch.cache)


@pytest.mark.parametrize("mode", [KERNEL, PLAIN])
def test_a_profiling_run_takes_the_memory_of_a_real_one(mode: str, make_batch: Any) -> None:
    batch = make_batch(3, 4, 2, 64, 3)
    packed = Packed(batch.mixing, mode)
    query, key, value = packed.unpack(batch.qkv, batch.positions, batch.table, batch.cache, None)
    assert query.shape == (9, 4, 64)
    assert (key, value) == (None, None)


def test_another_release_s_cache_is_refused() -> None:
    """Two times [blocks, B, G, d], as releases before had it."""
    with pytest.raises(BackendError, match=r"\[2, 5, 16, 4, 64\].*leave iha_fused unset"):
        cache_views(torch.zeros(2, 5, 16, 4, 64), 64)
    with pytest.raises(BackendError, match="iha_fused"):
        cache_views(torch.zeros(5, 4, 16, 64), 64)


def layer(batch: Any, **changes: Any) -> Any:
    """What `equip` looks at of a served layer."""
    alphas = {name: getattr(batch.mixing, name) for name in ("alpha_q", "alpha_k", "alpha_v")}
    base = SimpleNamespace(get_name=lambda: "CPU_ATTN")
    attn = SimpleNamespace(base_backend=base, packed=None)
    recipe = tiny_config(**changes).recipe(0)
    return SimpleNamespace(**alphas, attn=attn, head_dim=64, ranks=1, recipe=recipe)


def engine_config(asked: object) -> Any:
    return SimpleNamespace(
        additional_config={} if asked is None else {"iha_fused": asked},
        device_config=SimpleNamespace(device_type="cpu"),
        model_config=SimpleNamespace(
            dtype=torch.bfloat16, hf_config=SimpleNamespace(pseudo_rope="token")
        ),
        cache_config=SimpleNamespace(cache_dtype="auto"),
    )


def test_layers_are_equipped(make_batch: Any) -> None:
    layers = [layer(make_batch(1)), layer(make_batch(2))]
    assert equip(iter(layers), engine_config("plain")) == PLAIN
    for one in layers:
        assert one.attn.packed.mode == PLAIN
        assert one.attn.packed.mixing.alpha_k is one.alpha_k
        assert not one.attn.packed.mixing.virtual


@pytest.mark.parametrize("asked", [None, False, True])
def test_layers_keep_the_usual_path(
    asked: object, make_batch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """By default, and where what is asked for does not run, which is logged."""
    one = layer(make_batch(1))
    assert equip([one], engine_config(asked)) is None
    assert one.attn.packed is None
    wanted = ["iha_fused is set, but the device is cpu: the usual path is taken"] if asked else []
    assert caplog.messages == wanted


@pytest.mark.parametrize(
    "changes", [{"qk_norm": "pseudo_head_after_rope"}, {"pseudo_rope": "none"}], ids=str
)
def test_layers_with_other_steps_keep_the_usual_path(
    changes: dict[str, str], make_batch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The fused pass neither norms nor leaves a layer unrotated."""
    assert equip([layer(make_batch(1), **changes)], engine_config("plain")) is None
    assert f"iha_fused is set, but {next(iter(changes))} is" in caplog.text


def test_a_model_without_such_layers() -> None:
    assert equip([], engine_config(True)) is None


def test_what_a_device_is_fastest_with_is_measured_once_for_every_launch(
    interpreted: ModuleType, make_batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before serving; a clock that likes eight warps stands in for the device's."""
    ran: list[tuple[int, Any]] = []

    def kernel(qkv: torch.Tensor, *arguments: Any) -> torch.Tensor:
        ran.append((len(qkv), arguments[-1]))
        return interpreted.mix_rotate_cache(qkv, *arguments)

    def seconds(function: Any) -> float:
        function()
        return 1.0 / ran[-1][1].warps

    monkeypatch.setattr("model_adapters.vllm.fused.kernel.mix_rotate_cache", kernel)
    monkeypatch.setattr("model_adapters.vllm.fused.packed._processors", lambda device: 4)
    monkeypatch.setattr(packed, "_WARPS", {})
    batch = make_batch(40, 4, 2, 64, 2)
    packed.warm_up(batch.mixing, batch.qkv, batch.table, seconds)
    variants = {plan(tokens, batch.mixing.sizes, 4).variant for tokens in range(1, 41)}
    assert len(variants) >= 3
    assert {launch.variant for _, launch in ran} == variants
    assert len(ran) == 2 * len(variants)
    packed.warm_up(batch.mixing, batch.qkv, batch.table, seconds)
    assert len(ran) == 2 * len(variants)
    cache = batch.cache.clone()
    unpacked(batch, KERNEL, cache)
    assert ran[-1][1].warps == 8
    _, wanted = batch.run(naive.mix_rotate_cache)
    torch.testing.assert_close(cache, wanted)
