"""Block-wise attention against whole attention, at awkward sizes."""

from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from model_adapters.config import VirtualMask
from model_adapters.hf import attention
from model_adapters.hf.attention import Span


@pytest.mark.parametrize("window", [None, 1, 2, 64, 2000], ids=lambda w: f"W{w}")
@pytest.mark.parametrize(("queries", "past"), [(1, 0), (1, 999), (63, 66), (129, 0), (1000, 24)])
@pytest.mark.parametrize("block", [1, 64, 1024], ids=lambda b: f"block{b}")
def test_blocks_equal_the_whole(
    queries: int, past: int, window: int | None, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Grouped heads, a cache behind, and a block size that does or does not divide."""
    if block == 1 and queries > 200:
        block = 7
    monkeypatch.setattr(attention, "BLOCK", block)
    generator = torch.Generator().manual_seed(queries + past)
    query = torch.randn(2, 4, queries, 16, generator=generator)
    key, value = torch.randn(2, 2, 2, queries + past, 16, generator=generator)
    span = Span(first_query=past, first_key=0, sight=VirtualMask(1, window), padding=None)
    want, _ = attention.eager(query, key, value, span, 0.25)
    got = attention.sdpa(query, key, value, span, 0.25)
    assert (got - want).abs().max() < 1e-5


@pytest.mark.parametrize("window", [None, 1, 3, 130, 1000], ids=lambda w: f"W{w}")
@pytest.mark.parametrize("tokens", [1, 63, 129, 1000])
def test_gradients_are_those_of_the_whole(tokens: int, window: int | None) -> None:
    """With blocks as they are: one causal call, several small blocks, a window as long as all."""
    generator = torch.Generator().manual_seed(tokens)
    query = torch.randn(1, 4, tokens, 16, generator=generator)
    key, value, towards = torch.randn(3, 1, 4, tokens, 16, generator=generator)
    inputs = [query, key[:, :2].clone(), value[:, :2].clone()]
    for one in inputs:
        one.requires_grad_()
    span = Span(first_query=0, first_key=0, sight=VirtualMask(1, window), padding=None)
    outputs = attention.sdpa(*inputs, span, 0.25), attention.eager(*inputs, span, 0.25)[0]
    assert (outputs[0] - outputs[1]).abs().max() < 1e-5
    got, want = (torch.autograd.grad(one, inputs, towards) for one in outputs)
    assert (
        max(float((ours - theirs).abs().max()) for ours, theirs in zip(got, want, strict=True))
        < 1e-4
    )


@pytest.mark.parametrize("window", [None, 300], ids=lambda w: f"W{w}")
def test_no_scores_are_formed_where_nothing_but_the_future_is_hidden(window: int | None) -> None:
    """With every kernel that would form them forbidden, grouped heads and gradients."""
    query = torch.randn(1, 4, 300, 16, requires_grad=True)
    key, value = torch.randn(2, 1, 2, 300, 16)
    span = Span(first_query=0, first_key=0, sight=VirtualMask(1, window), padding=None)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        attention.sdpa(query, key, value, span, 0.25).sum().backward()
    assert query.grad is not None


@pytest.mark.parametrize(
    ("block", "calls"), [(64, 5), (1024, 1)], ids=["longer-than-a-block", "one-block"]
)
def test_dropout_goes_block_by_block(
    block: int, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no fused kernel on a CPU: a call over everything would form all scores."""
    monkeypatch.setattr(attention, "BLOCK", block)
    sizes = []

    def counted(query: torch.Tensor, *others: Any, **options: Any) -> torch.Tensor:
        sizes.append(query.shape[2])
        assert options["dropout_p"] == 0.5
        return whole(query, *others, **options)

    whole = functional.scaled_dot_product_attention
    monkeypatch.setattr(functional, "scaled_dot_product_attention", counted)
    query, key, value = torch.randn(3, 1, 2, 300, 16)
    span = Span(first_query=0, first_key=0, sight=VirtualMask(1), padding=None)
    attention.sdpa(query, key, value, span, 0.25, dropout=0.5)
    assert (len(sizes), sum(sizes)) == (calls, 300)


@pytest.mark.parametrize(
    ("window", "block"), [(None, 1024), (1, 64), (129, 64), (1000, 500), (10**6, 1024)]
)
def test_a_block_is_half_a_window_within_bounds(window: int | None, block: int) -> None:
    assert attention._block(window) == block


def test_padded_rows_ignore_padding_and_stay_finite() -> None:
    """Padding on the left of one row; its padded queries see themselves only."""
    query, key, value = torch.randn(3, 2, 2, 9, 16, generator=torch.Generator().manual_seed(0))
    padding = torch.ones(2, 9, dtype=torch.bool)
    padding[1, :4] = False
    span = Span(first_query=0, first_key=0, sight=VirtualMask(1), padding=padding)
    whole, weights = attention.eager(query, key, value, span, 0.25)
    blocks = attention.sdpa(query, key, value, span, 0.25)
    assert torch.isfinite(whole).all()
    assert (whole - blocks).abs().max() < 1e-5
    assert weights[1, :, 4:, :4].abs().max() == 0
    assert torch.equal(weights[1, 0, :4, :4], torch.eye(4))


def test_keys_before_the_cache_are_not_asked_for() -> None:
    """A sliding cache starts late: first_key says where."""
    query, key, value = torch.randn(3, 1, 2, 20, 16, generator=torch.Generator().manual_seed(1))
    whole = Span(first_query=0, first_key=0, sight=VirtualMask(1, 5), padding=None)
    late = Span(first_query=16, first_key=12, sight=VirtualMask(1, 5), padding=None)
    want = attention.sdpa(query, key, value, whole, 0.25)[:, :, 16:]
    got = attention.sdpa(query[:, :, 16:], key[:, :, 12:], value[:, :, 12:], late, 0.25)
    assert (got - want).abs().max() < 1e-6
