"""Banks of powers: what the layers compute, from how many heads, with how many parameters."""

import pytest
import torch
from torch import Tensor

from iha_eval.evidence import bank
from model_adapters.naive import hard_scores, linear_scores, softmax_scores


def drawn(tokens: int = 7, width: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(tokens, tokens, dtype=torch.float64, generator=generator) / 2
    return matrix, torch.randn(tokens, width, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("count", [1, 2, 4, 5, 7, 9, 10])
def test_both_layers_hold_the_powers_in_order(count: int) -> None:
    matrix, inputs = drawn()
    wanted = [inputs]
    while len(wanted) < count:
        wanted.append(matrix @ wanted[-1])
    for build in (bank.multi_head_bank, bank.interleaved_bank):
        layer = build(matrix, count, 3)
        made = layer(bank.with_positions(inputs), linear_scores)[:, : 3 * count]
        torch.testing.assert_close(made, torch.cat(wanted, dim=1), rtol=1e-12, atol=1e-12)


def test_softmax_in_place_of_linear_attention_gives_something_else() -> None:
    matrix, inputs = drawn()
    layer = bank.interleaved_bank(matrix, 4, 3)
    tokens = bank.with_positions(inputs)
    assert (layer(tokens, softmax_scores) - layer(tokens, linear_scores)).abs().max() > 0.1


@pytest.mark.parametrize(("count", "side"), [(1, 1), (2, 2), (4, 2), (5, 3), (9, 3), (10, 4)])
def test_heads(count: int, side: int) -> None:
    matrix, _ = drawn()
    assert bank.square_side(count) == side
    assert bank.multi_head_bank(matrix, count, 3).heads == count
    assert bank.interleaved_bank(matrix, count, 3).heads == side


def test_parameters_are_counted_from_the_tensors() -> None:
    """N = 7, d = 3, k = 5, so c = 3: by hand, tensor for tensor."""
    matrix, _ = drawn()
    plain = 5 * (10 * 7) + 5 * (10 * 7) + 5 * (10 * 3)
    mixed = 3 * (10 * 7) + 3 * (10 * 7) + 3 * (10 * 9) + 3 * 27 + 3 * 9
    assert bank.multi_head_bank(matrix, 5, 3).parameters == plain
    assert bank.interleaved_bank(matrix, 5, 3).parameters == mixed
    assert bank.parameter_formula(7, 3, 5) == (plain, mixed)


def test_hard_attention_on_a_shift_copies_shifted_tokens() -> None:
    features = torch.arange(5, dtype=torch.float64)[:, None]
    shift = torch.eye(5, dtype=torch.float64).roll(1, dims=1)
    layer = bank.interleaved_bank(shift, 5, 1, value_scale=3.0)
    made = layer(bank.with_positions(features), hard_scores)[:, :5]
    assert made.tolist() == [[(i + s) % 5 for s in range(5)] for i in range(5)]
