"""Block-wise attention against whole attention, at awkward sizes."""

import pytest
import torch

from model_adapters import attend
from model_adapters.attend import Span


@pytest.mark.parametrize("window", [None, 1, 2, 64, 2000], ids=lambda w: f"W{w}")
@pytest.mark.parametrize(("queries", "past"), [(1, 0), (1, 999), (63, 66), (129, 0), (1000, 24)])
@pytest.mark.parametrize("block", [1, 64, 1024], ids=lambda b: f"block{b}")
def test_blocks_equal_the_whole(
    queries: int, past: int, window: int | None, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Grouped heads, a cache behind, and a block size that does or does not divide."""
    if block == 1 and queries > 200:
        block = 7
    monkeypatch.setattr(attend, "BLOCK", block)
    generator = torch.Generator().manual_seed(queries + past)
    query = torch.randn(2, 4, queries, 16, generator=generator)
    key, value = torch.randn(2, 2, 2, queries + past, 16, generator=generator)
    span = Span(first_query=past, first_key=0, window=window, padding=None)
    want, _ = attend.eager(query, key, value, span, 0.25)
    got = attend.sdpa(query, key, value, span, 0.25)
    assert (got - want).abs().max() < 1e-5


def test_padded_rows_ignore_padding_and_stay_finite() -> None:
    """Padding on the left of one row; its padded queries see themselves only."""
    query, key, value = torch.randn(3, 2, 2, 9, 16, generator=torch.Generator().manual_seed(0))
    padding = torch.ones(2, 9, dtype=torch.bool)
    padding[1, :4] = False
    span = Span(first_query=0, first_key=0, window=None, padding=padding)
    whole, weights = attend.eager(query, key, value, span, 0.25)
    blocks = attend.sdpa(query, key, value, span, 0.25)
    assert torch.isfinite(whole).all()
    assert (whole - blocks).abs().max() < 1e-5
    assert weights[1, :, 4:, :4].abs().max() == 0
    assert torch.equal(weights[1, 0, :4, :4], torch.eye(4))


def test_keys_before_the_cache_are_not_asked_for() -> None:
    """A sliding cache starts late: first_key says where."""
    query, key, value = torch.randn(3, 1, 2, 20, 16, generator=torch.Generator().manual_seed(1))
    whole = Span(first_query=0, first_key=0, window=5, padding=None)
    late = Span(first_query=16, first_key=12, window=5, padding=None)
    want = attend.sdpa(query, key, value, whole, 0.25)[:, :, 16:]
    got = attend.sdpa(query[:, :, 16:], key[:, :, 12:], value[:, :, 12:], late, 0.25)
    assert (got - want).abs().max() < 1e-6
