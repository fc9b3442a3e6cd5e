"""Ways of mixing and collapsing on one rank, and on several, against the plain sums."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_models import tiny_config
from torch import Tensor

from model_adapters import CheckpointError, naive
from model_adapters.vllm import mixing
from model_adapters.vllm.mixing import (
    FEW_PRODUCTS,
    FEW_TOKENS,
    PseudoHeads,
    times_each,
    widened,
)

WIDTH = 8
SHAPES = [(1, 4, 4), (2, 4, 4), (2, 4, 1), (3, 4, 2), (4, 3, 3)]
Make = Callable[..., PseudoHeads]


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    """One rank's layer with the same matrices whatever the number of ranks."""

    def built(pseudo: int, heads: int, kv_heads: int, *, ranks: int = 1, rank: int = 0) -> Any:
        monkeypatch.setattr(mixing, "get_tensor_model_parallel_world_size", lambda: ranks)
        monkeypatch.setattr(mixing, "get_tensor_model_parallel_rank", lambda: rank)
        layer = PseudoHeads(heads, kv_heads, WIDTH, pseudo)
        layer.add_mixing()
        stored = matrices(pseudo, heads, kv_heads)
        for name, parameter in layer.named_parameters():
            parameter.weight_loader(parameter, stored[name])  # type: ignore[attr-defined]
        layer.fill_blocks()
        return layer

    return built


def matrices(pseudo: int, heads: int, kv_heads: int) -> dict[str, Tensor]:
    return {
        "alpha_q": random(heads, heads, pseudo),
        "alpha_k": random(kv_heads, kv_heads, pseudo),
        "alpha_v": random(kv_heads, kv_heads, pseudo) + 1,
        "collapse": random(heads, heads * pseudo),
    }


def expected(qkv: Tensor, pseudo: int, heads: int, kv_heads: int) -> list[Tensor]:
    """[T, P, heads, d] of queries, keys and values, from the definition."""
    stored = matrices(pseudo, heads, kv_heads)
    parts = qkv.view(len(qkv), -1, WIDTH).split([heads, kv_heads, kv_heads], dim=1)
    names = ("alpha_q", "alpha_k", "alpha_v")
    return [
        torch.einsum("tmd,mhp->tphd", part, stored[name])
        for part, name in zip(parts, names, strict=True)
    ]


@pytest.mark.parametrize("tokens", [1, 63, 129, 1000])
@pytest.mark.parametrize(("pseudo", "heads", "kv_heads"), SHAPES)
def test_both_ways_of_mixing_give_the_pseudo_heads(
    tokens: int, pseudo: int, heads: int, kv_heads: int, make: Make
) -> None:
    layer, qkv = make(pseudo, heads, kv_heads), random(tokens, (heads + 2 * kv_heads) * WIDTH)
    want = expected(qkv, pseudo, heads, kv_heads)
    for way in (layer.mix, layer.mix_at_once, layer.mix_one_by_one):
        for found, wanted in zip(way(qkv), want, strict=True):
            assert found.shape == (tokens * pseudo, wanted[0, 0].numel())
            torch.testing.assert_close(found, wanted.reshape(found.shape), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tokens", [1, FEW_TOKENS, FEW_TOKENS + 1])
def test_few_tokens_are_mixed_at_once(
    tokens: int, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = make(2, 4, 4)
    monkeypatch.setattr(layer, "mix_at_once", lambda qkv: "at once")
    monkeypatch.setattr(layer, "mix_one_by_one", lambda qkv: "one by one")
    assert layer.mix(random(tokens, 1)) == ("at once" if tokens <= FEW_TOKENS else "one by one")


@pytest.mark.parametrize("tokens", [1, 63, 129, 1000])
@pytest.mark.parametrize(("pseudo", "heads", "kv_heads"), SHAPES)
def test_collapsing_sums_over_heads_and_pseudo_heads(
    tokens: int, pseudo: int, heads: int, kv_heads: int, make: Make
) -> None:
    attended = random(tokens, pseudo, heads, WIDTH)
    collapse = matrices(pseudo, heads, kv_heads)["collapse"].view(heads, heads, pseudo)
    want = torch.einsum("hkp,tpkd->thd", collapse, attended).flatten(1)
    found = make(pseudo, heads, kv_heads).collapsed(attended.view(tokens * pseudo, -1))
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tokens", [1, 129])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "ranks"), [(4, 4, 2), (4, 2, 2), (4, 2, 4), (4, 1, 2)]
)
def test_each_rank_makes_its_own_pseudo_heads_after_one_exchange(
    tokens: int,
    heads: int,
    kv_heads: int,
    ranks: int,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The exchange stands in for the ranks' own; key heads are copied where they are fewer."""
    pseudo, kv_own = 3, max(1, kv_heads // ranks)
    query, key, value = (
        random(tokens, count * WIDTH) + shift
        for shift, count in enumerate((heads, kv_heads, kv_heads))
    )
    want = expected(torch.cat([query, key, value], dim=1), pseudo, heads, kv_heads)

    def local(states: Tensor, rank: int, count: int, copies: int = 1) -> Tensor:
        first = rank // copies * count
        return states.view(tokens, -1, WIDTH)[:, first : first + count].flatten(1)

    copies = max(1, ranks // kv_heads)
    projected = [
        torch.cat(
            [local(query, rank, heads // ranks)]
            + [local(part, rank, kv_own, copies) for part in (key, value)],
            dim=1,
        )
        for rank in range(ranks)
    ]
    exchanges: list[Tensor] = []

    def exchange(states: Tensor) -> Tensor:
        exchanges.append(states)
        return torch.cat(projected, dim=1)

    monkeypatch.setattr(mixing, "tensor_model_parallel_all_gather", exchange)
    for rank in range(ranks):
        layer = make(pseudo, heads, kv_heads, ranks=ranks, rank=rank)
        found = layer.mix(projected[rank])
        counts = (heads // ranks, kv_own, kv_own)
        firsts = (rank * counts[0], *[rank // copies * kv_own] * 2)
        for states, whole, first, count in zip(found, want, firsts, counts, strict=True):
            part = whole[:, :, first : first + count].reshape(states.shape)
            torch.testing.assert_close(states, part, rtol=1e-4, atol=1e-5)
    assert len(exchanges) == ranks


def test_ranks_add_up_to_the_collapse(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rank's part is over its own heads; the exchange adds them."""
    parts: list[Tensor] = []

    def kept(states: Tensor) -> Tensor:
        parts.append(states)
        return states

    monkeypatch.setattr(mixing, "tensor_model_parallel_reduce_scatter", kept)
    attended = random(7, 3, 4, WIDTH)
    for rank in range(2):
        own = attended[:, :, 2 * rank : 2 * rank + 2].reshape(21, -1)
        make(3, 4, 2, ranks=2, rank=rank).collapsed(own)
    want = make(3, 4, 2).collapsed(attended.view(21, -1))
    torch.testing.assert_close(parts[0] + parts[1], want, rtol=1e-4, atol=1e-4)


def test_blocks_follow_alphas_that_came_another_way(make: Make) -> None:
    """Sharded states and reloads go past the loaders."""
    layer = make(2, 4, 2)
    qkv = random(3, 8 * WIDTH)
    with torch.no_grad():
        layer.alpha_q.mul_(2)
    layer.fill_blocks()
    at_once, one_by_one = layer.mix_at_once(qkv), layer.mix_one_by_one(qkv)
    for ours, theirs in zip(at_once, one_by_one, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_one_way_is_taken_for_every_batch_where_asked_for(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ways round differently, and answers would depend on the batch."""
    layer = make(2, 4, 2)
    monkeypatch.setattr(layer, "mix_at_once", lambda _: "at once")
    assert layer.mix(random(3, 8 * WIDTH)) == "at once"
    layer.one_way = True
    assert layer.mix(random(3, 8 * WIDTH)) != "at once"


def test_vllm_s_own_switch_for_batch_invariance_counts(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU no worker of ours says so."""
    assert not make(2, 4, 2).one_way
    monkeypatch.setenv("VLLM_BATCH_INVARIANT", "1")
    assert make(2, 4, 2).one_way


@pytest.mark.parametrize("one_way", [False, True])
def test_few_narrow_tokens_are_collapsed_in_float32_unless_batches_must_round_alike(
    one_way: bool, make: Make
) -> None:
    """The float32 copies follow the weights; another one shows whether it is looked at."""
    layer = make(2, 4, 4).bfloat16()
    layer.fill_blocks()
    layer.one_way = one_way
    assert layer.wide_collapse is not None
    assert layer.wide_alpha is not None
    torch.testing.assert_close(layer.wide_collapse, layer.collapse.data.float())
    torch.testing.assert_close(layer.wide_alpha, layer.block_alpha.float())
    attended = random(2, 4 * WIDTH).bfloat16()
    before = layer.collapsed(attended)
    layer.wide_collapse = torch.zeros_like(layer.wide_collapse)
    assert torch.equal(layer.collapsed(attended), before) is one_way


@pytest.mark.parametrize("tokens", [1, 8, 63, 129, 1000])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_products_are_those_of_the_definition(tokens: int, dtype: torch.dtype) -> None:
    """Both sides of the border: 32 x 16 times 16 wide states, up to 64 tokens in float32."""
    generator = torch.Generator().manual_seed(tokens)
    matrix = torch.randn(32, 16, generator=generator).to(dtype)
    states = torch.randn(tokens, 16, 16, generator=generator).to(dtype)
    found = times_each(matrix, widened(matrix), states)
    want = torch.einsum("mn,tnd->tmd", matrix.double(), states.double())
    assert found.dtype == dtype
    torch.testing.assert_close(found, want.to(dtype), rtol=2e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("tokens", "wide"), [(1, True), (64, True), (65, False)], ids=["one", "few", "many"]
)
def test_few_tokens_are_multiplied_in_float32(
    tokens: int, wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = torch.zeros(32, 256, dtype=torch.bfloat16)
    assert 64 * matrix.numel() == FEW_PRODUCTS
    types: list[torch.dtype] = []
    product = torch.bmm

    def watched(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        types.append(one.dtype)
        return product(one, other)

    monkeypatch.setattr(mixing.torch, "bmm", watched)
    times_each(matrix, widened(matrix), torch.zeros(tokens, 256, 1, dtype=torch.bfloat16))
    assert types == [torch.float32 if wide else torch.bfloat16]


def test_there_is_nothing_to_widen_in_float32_and_off_the_cpu() -> None:
    assert widened(torch.zeros(2, 2)) is None
    assert widened(torch.zeros(2, 2, dtype=torch.bfloat16, device="meta")) is None


@pytest.mark.parametrize(("kv_heads", "ranks"), [(4, 1), (4, 2), (2, 4), (1, 2)])
def test_ranks_collapse_norm_and_gate_their_own_heads(
    kv_heads: int, ranks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collapse per head, and a norm and a gate for each head, need nothing of other ranks."""
    fields: dict[str, Any] = {
        "head_dim": WIDTH,
        "num_key_value_heads": kv_heads,
        "qk_norm": "head_before_mixing",
        "qk_norm_weight": "per_head",
        "head_gate_channels": 12,
        "collapse": "per_head",
    }
    config, pseudo, tokens = tiny_config(**fields), 2, 9
    attended, hidden = random(4, tokens * pseudo, WIDTH), random(tokens, 64)
    collapse, gates, norms = random(4, pseudo), random(4, 12), random(kv_heads, WIDTH)
    monkeypatch.setattr(mixing, "get_tensor_model_parallel_world_size", lambda: ranks)
    wanted = naive.collapse_per_head(attended, collapse)
    gated = wanted * (hidden[:, :12] @ gates.T).sigmoid().unsqueeze(-1)
    for rank in range(ranks):
        monkeypatch.setattr(mixing, "get_tensor_model_parallel_rank", lambda rank=rank: rank)
        layer = PseudoHeads(4, kv_heads, WIDTH, pseudo, collapse_per_head=True)
        layer.add_mixing()
        layer.add_norms_and_gate(config, 0)
        parameters: dict[str, Any] = dict(layer.named_parameters())
        for name, stored in (
            ("collapse", collapse),
            ("head_gate.weight", gates),
            ("k_norm.weight", norms),
        ):
            parameters[name].weight_loader(parameters[name], stored)
        layer.collapse.requires_grad_(False)
        own, count = layer.own_heads, 4 // ranks
        virtual = attended[own].permute(1, 0, 2).reshape(tokens * pseudo, count * WIDTH)
        heads = layer.collapsed(virtual).unflatten(1, (count, WIDTH))
        torch.testing.assert_close(heads, wanted[:, own])
        assert layer.head_gate is not None
        torch.testing.assert_close(layer.head_gate(heads, hidden), gated[:, own])
        first = rank * kv_heads // ranks
        assert torch.equal(parameters["k_norm.weight"], norms[first : first + layer.kv_heads])
        with pytest.raises(CheckpointError, match=r"config.json asks for \[4, 12\]"):
            parameters["head_gate.weight"].weight_loader(parameters["head_gate.weight"], norms)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("tokens", [1, 63, 129, 1000])
def test_norms_in_one_call_are_those_of_the_definition(tokens: int, dtype: torch.dtype) -> None:
    """Alone and with a residual, rounded once; each row is the same in any batch."""
    from vllm.platforms import current_platform

    from model_adapters.vllm.model import normed_at_once

    current_platform.import_kernels()
    states, residual = random(tokens, 96).to(dtype), 2 * random(tokens, 96).to(dtype)
    norm: Any = SimpleNamespace(weight=random(96).to(dtype), variance_epsilon=1e-5)

    def defined(rows: Tensor) -> Tensor:
        scale = torch.rsqrt(rows.pow(2).mean(-1, keepdim=True) + 1e-5)
        return rows * scale * norm.weight.float()

    # Rounded once in narrow types; in float32 sums may take another order.
    close = {"rtol": max(torch.finfo(dtype).eps, 1e-6), "atol": 2e-6}
    alone = normed_at_once(norm, states)
    torch.testing.assert_close(alone, defined(states.float()).to(dtype), **close)
    row = normed_at_once(norm, states[-1:].clone(), residual[-1:].clone())
    wanted = states.float() + residual.float()
    made, total = normed_at_once(norm, states, residual)
    torch.testing.assert_close(made, defined(wanted).to(dtype), **close)
    assert torch.equal(total, wanted.to(dtype))
    assert torch.equal(row[0], made[-1:])
    assert torch.equal(row[1], total[-1:])
