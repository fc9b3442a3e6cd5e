"""Measures of mixing and collapse on matrices whose answer is known."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model_adapters.inspection import DEAD, measure_alpha, measure_collapse


def identity(heads: int, pseudo: int) -> Tensor:
    return torch.eye(heads).unsqueeze(-1).repeat(1, 1, pseudo)


def own(heads: int, weights: list[float]) -> Tensor:
    """A collapse in which every head weighs its own pseudo-heads so."""
    return torch.kron(torch.eye(heads), torch.tensor([weights]))


@pytest.mark.parametrize(("heads", "pseudo"), [(1, 1), (4, 2), (3, 5)])
def test_an_identity_has_no_distance_and_full_rank(heads: int, pseudo: int) -> None:
    found = measure_alpha(identity(heads, pseudo))
    assert found.distance == 0
    assert found.head_distances == [0] * heads
    assert found.effective_ranks == pytest.approx([heads] * pseudo)


def test_alpha_of_zeros_is_one_identity_away_and_has_no_rank() -> None:
    found = measure_alpha(torch.zeros(4, 4, 2))
    assert found.distance == 1
    assert found.head_distances == [1] * 4
    assert found.effective_ranks == [0, 0]


def test_a_head_that_mixes_another_in_stands_out() -> None:
    alpha = identity(4, 2)
    # Into head 3, from head 1, in both pseudo-heads.
    alpha[1, 3, :] = 0.5
    found = measure_alpha(alpha)
    assert found.head_distances == pytest.approx([0, 0, 0, 0.5])
    assert found.distance == pytest.approx(0.25)


def test_effective_rank_is_that_of_each_pseudo_head() -> None:
    alpha = identity(4, 3)
    # All heads alike; two heads and nothing else.
    alpha[:, :, 1] = 1
    alpha[2:, :, 2] = 0
    assert measure_alpha(alpha).effective_ranks == pytest.approx([4, 1, 2], abs=1e-6)


@pytest.mark.parametrize(
    ("weights", "used"),
    [([0.25] * 4, 4), ([0, 0, 0, 1.0], 1), ([1.0, 0, 0, 0], 1), ([0.5, 0.5, 0, 0], 2)],
    ids=["mean", "last", "first", "two"],
)
def test_every_way_to_keep_heads_to_themselves_is_an_identity(
    weights: list[float], used: float
) -> None:
    found = measure_collapse(own(3, weights))
    assert found.distance == pytest.approx(0, abs=1e-12)
    assert found.head_distances == pytest.approx([0] * 3, abs=1e-12)
    assert found.used == pytest.approx([used] * 3)
    assert found.entropies == pytest.approx([math.log(used)] * 3)
    assert found.dead == [(head, p) for head in range(3) for p in range(4) if not weights[p]]
    assert found.effective_ranks == pytest.approx([3 if weight else 0 for weight in weights])


def test_distance_of_a_collapse_counts_other_heads_and_a_wrong_sum() -> None:
    matrix = own(3, [0.0, 1.0])
    matrix[0, 2] = 0.3
    matrix[1, 2:4] = torch.tensor([0.5, 1.5])
    found = measure_collapse(matrix)
    # Head 1 sums to 2: the nearest that sums to 1 is (0, 1), half away in both.
    assert found.head_distances == pytest.approx([0.3, math.sqrt(0.5), 0])
    assert found.distance == pytest.approx(math.sqrt((0.3**2 + 0.5) / 3))


def test_a_pseudo_head_is_dead_below_the_threshold_of_the_most_used() -> None:
    matrix = own(2, [1.0, 0.0])
    matrix[0, 1] = 2 * DEAD * 1.02
    matrix[1, 3] = -2 * DEAD * 0.98
    matrix[1, 0] = 1.0
    found = measure_collapse(matrix)
    assert found.dead == [(1, 1)]
    assert found.masses[0] == pytest.approx([1, DEAD * 1.02])
    assert found.masses[1] == pytest.approx([0.5, DEAD * 0.98])


def test_a_collapse_of_zeros_uses_nothing() -> None:
    found = measure_collapse(torch.zeros(2, 4))
    assert (found.used, found.entropies) == ([0, 0], [0, 0])
    assert len(found.dead) == 4
    assert found.distance == pytest.approx(1)


@given(heads=st.integers(1, 5), pseudo=st.integers(1, 4), seed=st.integers(0, 999))
def test_measures_stay_in_their_bounds(heads: int, pseudo: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    alpha = measure_alpha(torch.randn(heads, heads, pseudo, generator=draw))
    found = measure_collapse(torch.randn(heads, heads * pseudo, generator=draw))
    for rank in (*alpha.effective_ranks, *found.effective_ranks):
        assert 1 - 1e-9 <= rank <= heads + 1e-9
    assert all(1 - 1e-9 <= used <= heads * pseudo + 1e-9 for used in found.used)
    assert max(max(row) for row in found.masses) == 1
    assert min(alpha.head_distances) - 1e-9 <= alpha.distance <= max(alpha.head_distances) + 1e-9
    assert min(found.head_distances) - 1e-9 <= found.distance <= max(found.head_distances) + 1e-9
