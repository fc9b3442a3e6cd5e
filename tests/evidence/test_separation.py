"""The separation: only negation together with different values is non-linear."""

import pytest
import torch

from iha_eval.evidence import separation


@pytest.mark.parametrize("case", separation.CASES[:3], ids=lambda case: case.name)
def test_linear_cases(case: separation.Case) -> None:
    row = separation.measure(case, 1, 3)
    assert max(row.scaling_most, row.adding_most) < 1e-13


def test_the_separating_case_is_not_linear() -> None:
    row = separation.measure(separation.CASES[3], 1, 3)
    assert min(row.scaling, row.adding) > 0.1


def test_the_curve_of_a_linear_layer_is_flat_and_that_of_the_separating_one_is_not() -> None:
    plain, bent = (torch.tensor(separation.curve(separation.CASES[number], 1)) for number in (0, 3))
    assert plain.max() < 1e-6
    assert bent.max() > 0.1
    # Negating the token negates queries, keys and values: the layer is odd.
    torch.testing.assert_close(bent, bent.flip(0))
    assert bent[separation.FACTORS.index(1.0)] == 0


def test_a_quick_run_names_all_cases() -> None:
    found = separation.run(0, quick=True)
    assert [row[0] for row in found.rows] == [case.name for case in separation.CASES]
    assert found.data["draws"] == separation.QUICK_DRAWS
    assert found.sentences[0].startswith("Over 5 random layers, f(2x) of IHA")
