import math

import pytest
from scipy import stats

from iha_eval.statistics import Level, level
from iha_eval.statistics.level import standard_error, wilson


# Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_wilson_intervals(right: int, n: int, low: float, high: float) -> None:
    found = level([1] * right + [0] * (n - right))
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert found.mean == right / n
    assert (found.n, found.left_out) == (n, 0)


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (7, 10), (499, 500), (2250, 4500)])
def test_wilson_agrees_with_scipy(right: int, n: int) -> None:
    expected = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right / n, n) == pytest.approx(tuple(expected), abs=1e-12)


@pytest.mark.parametrize("right", [0, 1])
def test_wilson_stays_within_zero_and_one_and_contains_the_mean(right: int) -> None:
    intervals = [wilson(right, n) for n in range(1, 500)]
    assert {interval[right] for interval in intervals} == {float(right)}


def test_missing_scores_are_counted() -> None:
    found = level([1.0, None, math.nan, 0.5])
    assert (found.n, found.left_out, found.mean) == (2, 2, 0.75)


def test_no_scores() -> None:
    assert level([None]) == Level(0, 1, None, None, None, None)


def test_standard_error_is_never_zero() -> None:
    assert level([1, 1, 1]).error == standard_error(1.0, 3) > 0
    # Far from the edges the added answers hardly matter.
    assert level([0, 1] * 500).error == pytest.approx(math.sqrt(0.25 / 1000), rel=0.01)
