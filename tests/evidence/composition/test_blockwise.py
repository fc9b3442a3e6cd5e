"""Attention in blocks against the definition: outputs and gradients, at awkward sizes."""

import pytest
import torch
from torch import Tensor

from iha_eval.evidence.composition import blockwise
from model_adapters import naive


def states(
    heads: int, queries: int, keys: int, width: int, kind: torch.dtype = torch.float64
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(queries + keys)
    return [
        torch.randn(heads, count, width, generator=generator, dtype=kind).requires_grad_()
        for count in (queries, keys, keys)
    ]


def by_definition(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    mask = torch.ones(query.shape[1], key.shape[1], dtype=torch.bool)
    return naive.attend(query, key, value, mask)


@pytest.mark.parametrize("scores", [1, 7, 200, 2**18], ids=lambda scores: f"{scores}-at-a-time")
@pytest.mark.parametrize(
    ("heads", "queries", "keys", "width"),
    [(1, 1, 1, 4), (3, 1, 63, 4), (5, 7, 49, 4), (2, 63, 63, 1), (3, 13, 129, 5), (2, 129, 2, 4)],
    ids=lambda size: f"{size}",
)
def test_outputs_and_gradients_are_those_of_the_definition(
    heads: int, queries: int, keys: int, width: int, scores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All heads at once, some, one, some of its queries, one query."""
    monkeypatch.setattr(blockwise, "_CPU_SCORES", scores)
    inputs = states(heads, queries, keys, width)
    got, wanted = blockwise.attend(*inputs), by_definition(*inputs)
    torch.testing.assert_close(got, wanted)
    towards = torch.randn(wanted.shape, dtype=wanted.dtype)
    for ours, theirs in zip(
        torch.autograd.grad(got, inputs, towards),
        torch.autograd.grad(wanted, inputs, towards),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_training_precision_is_that_of_the_definition() -> None:
    """At the experiment's largest size."""
    inputs = states(2, 800, 800, 4, torch.float32)
    got, wanted = blockwise.attend(*inputs), by_definition(*inputs)
    torch.testing.assert_close(got, wanted)
    for ours, theirs in zip(
        torch.autograd.grad(got.square().sum(), inputs),
        torch.autograd.grad(wanted.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_large_scores_do_not_overflow() -> None:
    query, key, value = states(2, 9, 9, 4, torch.float32)
    attended = blockwise.attend(1e4 * query, key, value)
    torch.testing.assert_close(attended, by_definition(1e4 * query, key, value))
    attended.sum().backward()
    assert query.grad is not None
    assert query.grad.isfinite().all()


def test_constant_shares_of_equal_keys() -> None:
    """By hand: the mean of the values."""
    query, _, value = states(1, 3, 4, 4)
    attended = blockwise.attend(query, torch.ones(1, 4, 4, dtype=torch.float64), value)
    torch.testing.assert_close(attended, value.mean(dim=1, keepdim=True).expand(1, 3, 4))
