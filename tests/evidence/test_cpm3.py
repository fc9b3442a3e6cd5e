"""CPM-3: the network of ReLUs, both layers, and what breaks them."""

import pytest
import torch

from iha_eval.evidence import bank, cpm3


def test_brute_force_by_hand() -> None:
    """x = (1, 2), M = 3, G = 7: 1 + 7 + 1 = 9 and 2 + 14 + 2 = 18, and no other pair."""
    assert cpm3.brute_force(torch.tensor([1, 2]), 3, 7).tolist() == [1, 1]


@pytest.mark.parametrize("n_max", [4, 5, 9, 12])
@pytest.mark.parametrize(("modulus", "factor"), [(2, 5), (7, 15), (16, 49)])
def test_both_layers_count_exactly(n_max: int, modulus: int, factor: int) -> None:
    generator = torch.Generator().manual_seed(n_max)
    for length in (1, n_max - 1, n_max):
        values = torch.randint(modulus, (length,), generator=generator)
        wanted = cpm3.brute_force(values, modulus, factor)
        for layer in cpm3.build(n_max):
            assert cpm3.count(layer, values, modulus, factor).tolist() == wanted.tolist()


def test_interleaved_layers_have_fewer_heads() -> None:
    assert [layer.heads for layer in cpm3.build(10)] == [10, 4]


def test_absent_slots_count_for_nothing() -> None:
    """One token that completes the congruence with itself, beside absent slots of value 0."""
    workspace = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]], dtype=torch.float64)
    assert cpm3.count_pairs(workspace, 3, 7).tolist() == [1.0]
    assert cpm3.count_pairs(workspace, 2, 5).tolist() == [0.0]


def test_wrong_counts_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linear attention in place of hard attention leaves IHA's values unshared."""
    monkeypatch.setattr(cpm3, "hard_scores", lambda scores, mask: scores)
    row = cpm3.check(7, (5,), torch.Generator().manual_seed(0))
    assert row.iha_wrong > 0
    assert (row.sequences, row.mha_parameters) == (2, bank.parameter_formula(7, 2, 7)[0])


def test_a_quick_run_finds_no_wrong_count() -> None:
    found = cpm3.run(0, quick=True)
    assert [row[4:6] for row in found.rows] == [("0", "0")] * 3
    assert (
        ": 0 counts of MHA and 0 of IHA are not exactly those of brute force."
        in (found.sentences[0])
    )
    assert found.sentences[1].startswith("The counted weights equal the formulas")
