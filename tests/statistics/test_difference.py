import pytest

from iha_eval.statistics.difference import Interval, estimate


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
    found = estimate((0.5, 0.375), 0.125, Interval(*interval, "some way"))
    assert (found.low, found.high) == pytest.approx(ends)
    assert (found.points, found.relative, found.method) == (12.5, 1 / 3, "some way")


def test_mirrored_and_symmetric_intervals() -> None:
    interval = Interval(-0.25, 0.5, "some way")
    assert interval.mirrored(True) == Interval(-0.5, 0.25, "some way")
    assert interval.mirrored(False) == interval
    assert interval.symmetric() == Interval(-0.375, 0.375, "some way")
