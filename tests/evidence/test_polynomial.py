"""Polynomial filters: errors, counts, and what fewer heads leave."""

import pytest
import torch

from iha_eval.evidence import polynomial


@pytest.fixture(scope="module")
def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    return polynomial.draw(3)


def test_the_matrix_has_full_rank_and_powers_that_stay_in_range(
    drawn: tuple[torch.Tensor, torch.Tensor],
) -> None:
    matrix, _ = drawn
    assert torch.linalg.matrix_rank(matrix) == polynomial.TOKENS
    norms = [float(torch.linalg.matrix_power(matrix, power).norm()) for power in (1, 64)]
    assert 1 < norms[1] < norms[0] < 10


@pytest.mark.parametrize("k", [1, 6, 64])
def test_a_bank_is_exact_and_counted(drawn: tuple[torch.Tensor, torch.Tensor], k: int) -> None:
    row = polynomial.filter_bank(*drawn, k)
    assert max(row.mha_error, row.iha_error) < 1e-13
    assert row.mha_parameters == row.mha_formula
    assert row.iha_parameters == row.iha_formula


def test_the_best_fit_is_reached_and_exact_only_with_k_heads(
    drawn: tuple[torch.Tensor, torch.Tensor],
) -> None:
    fits = list(polynomial.best_fits(*drawn, 6))
    assert [fit.heads for fit in fits] == [1, 2, 3, 4, 5, 6]
    for fit in fits[:-1]:
        assert fit.measured == pytest.approx(fit.bound, rel=0.2)
        assert fit.bound > 0.1
    assert fits[-1].bound == 0
    assert fits[-1].measured < 1e-13


def test_no_random_patterns_do_better_than_the_best_fit(
    drawn: tuple[torch.Tensor, torch.Tensor],
) -> None:
    """Least squares on other patterns of the same number leaves more."""
    matrix, inputs = drawn
    filters = polynomial.bank.powers(matrix, 4).flatten(1).T
    filters = filters / filters.norm(dim=0)
    patterns = torch.randn(
        len(filters), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    fitted = patterns @ torch.linalg.lstsq(patterns, filters).solution
    left = float((fitted - filters).norm() / filters.norm())
    assert left > list(polynomial.best_fits(matrix, inputs, 4))[2].bound


def test_a_quick_run_says_what_it_found() -> None:
    found = polynomial.run(0, quick=True)
    assert [row[:3] for row in found.rows] == [
        *(("1", "1", "1"), ("2", "2", "2"), ("5", "5", "3"), ("9", "9", "3"))
    ]
    assert "The counted weights equal the paper's two formulas at every k." in found.sentences
    assert any(text.startswith("IHA has more weights at k = 1, 2,") for text in found.sentences)
    assert found.data["rank"] == 80


def test_counts_that_differ_are_said_to_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polynomial.bank, "parameter_formula", lambda *_: (11_520, 1))
    found = polynomial.run(0, quick=True)
    assert "The counted weights differ from the paper's formulas at k = 1, 2, 5, 9." in (
        found.sentences
    )
