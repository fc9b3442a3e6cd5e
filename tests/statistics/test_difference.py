import pytest

from iha_eval.statistics.difference import (
    Difference,
    Estimate,
    Interval,
    PValue,
    agreeing,
    estimate,
    fieller,
)


@pytest.mark.parametrize(
    ("interval", "ends"),
    [
        pytest.param((-0.1, 0.3), (-10, 30), id="as it is"),
        pytest.param((0.2, 0.3), (12.5, 30), id="widened downwards"),
        pytest.param((-0.1, 0.1), (-10, 12.5), id="widened upwards"),
        pytest.param((-1.5, 1.25), (-100, 100), id="cut"),
    ],
)
def test_intervals_contain_the_difference_and_nothing_impossible(
    interval: tuple[float, float], ends: tuple[float, float]
) -> None:
    found = estimate((0.5, 0.375), 0.125, Interval(*interval, "some way", 0.5))
    assert (found.low, found.high) == pytest.approx(ends)
    assert (found.points, found.relative, found.method) == (12.5, 1 / 3, "some way")


def numbers(points: float, low: float, high: float, p: float) -> Difference:
    made = Estimate(0.5, 0.4, points, points / 40, low, high, "", p, low / 40, high / 40)
    return Difference(100, 100, 0, made, "ok", None)


@pytest.mark.parametrize(
    ("given", "tested", "p", "ends"),
    [
        pytest.param((10, 1, 19, 0.03), 0.01, 0.01, (1, 19), id="both clear"),
        pytest.param((10, 1, 19, 0.03), 0.08, 0.08, (0, 19), id="the test is not clear"),
        pytest.param((-10, -19, -1, 0.03), 0.08, 0.08, (-19, 0), id="nor here"),
        pytest.param((10, -1, 21, 0.07), 0.03, 0.07, (-1, 21), id="the interval is not clear"),
        pytest.param((10, -1e-9, 19, 0.05), 0.05, 0.05, (0, 19), id="rounded at the very end"),
        pytest.param((0, -9, 9, 1.0), 1.0, 1.0, (-9, 9), id="no difference"),
    ],
)
def test_the_more_careful_of_test_and_interval_counts(
    given: tuple[float, float, float, float], tested: float, p: float, ends: tuple[float, float]
) -> None:
    difference, found = agreeing(numbers(*given), PValue(tested, "a test"))
    assert difference.estimate is not None
    assert (found.value, difference.estimate.p) == (p, p)
    assert (difference.estimate.low, difference.estimate.high) == ends
    relative = (difference.estimate.relative_low, difference.estimate.relative_high)
    assert relative == pytest.approx((ends[0] / 40, ends[1] / 40))


def test_nothing_has_nothing_to_agree_on() -> None:
    nothing = Difference(0, 0, 0, None, "empty", None)
    assert agreeing(nothing, PValue(None, "no test")) == (nothing, PValue(None, "no test"))


def test_fiellers_interval_by_hand() -> None:
    # 0.6 / 0.5 with standard errors 0.03 and 0.04 and no covariance; the ends r solve
    # (0.6 - 0.5 r)^2 = 1.96^2 (0.03^2 + 0.04^2 r^2).
    found = fieller((0.6, 0.5), (0.03**2, 0.04**2), 0.0, 1.96)
    assert found is not None
    for end in found:
        r = 1 + end
        assert (0.6 - 0.5 * r) ** 2 == pytest.approx(1.96**2 * (0.03**2 + 0.04**2 * r**2))


def test_a_baseline_near_zero_has_no_relative_interval() -> None:
    assert fieller((0.3, 0.05), (0.03**2, 0.04**2), 0.0, 1.96) is None
