"""How much may differ."""

import pytest

from iha_eval.verify import limits


def test_in_float32_it_is_fixed() -> None:
    limit = limits.exact(0.25)
    assert (limit.largest, limit.mean, limit.tie) == (0.25, 0.25, 0.5)


def test_in_a_narrower_type_it_follows_from_what_the_type_does() -> None:
    limit = limits.measured(largest=0.1, mean=0.01)
    assert (limit.largest, limit.mean, limit.tie) == (0.4, 0.02, 0.2)


def test_a_type_that_changes_nothing_leaves_the_fixed_limit() -> None:
    assert limits.measured(0.0, 0.0, tolerance=1e-3) == limits.exact(1e-3)


@pytest.mark.parametrize(
    ("largest", "mean"), [(float("inf"), float("inf")), (float("nan"), 0.1), (0.1, float("nan"))]
)
def test_what_is_no_number_allows_nothing_more(largest: float, mean: float) -> None:
    assert limits.measured(largest, mean, tolerance=1e-3) == limits.exact(1e-3)
