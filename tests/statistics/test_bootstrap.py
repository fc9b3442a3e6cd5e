"""The bootstrap against scipy's, whichever way it draws."""

import numpy as np
import pytest
from scipy import stats

from iha_eval.statistics import bootstrap, paired_difference
from iha_eval.statistics.bootstrap import REPEATED, bca
from iha_eval.statistics.scores import Floats, on_grid


def signs(higher: int, lower: int, equal: int) -> Floats:
    return np.sort(np.array([1.0] * higher + [-1.0] * lower + [0.0] * equal))


def eighths(count: int) -> Floats:
    return np.sort(np.random.default_rng(3).integers(-8, 7, count) / 8)


def skewed(count: int) -> Floats:
    return np.sort(on_grid(np.array([1.0] * (count // 20) + [0.0] * (count - count // 20))))


@pytest.mark.parametrize(
    "values",
    [signs(40, 20, 240), eighths(600), skewed(400)],
    ids=["0/1 scores", "eighths", "skewed"],
)
def test_drawing_counts_agrees_with_scipy(values: Floats) -> None:
    assert np.unique(values).size * REPEATED <= values.size
    resamples = 40_000
    found = bca(values, 1, resamples)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=resamples, batch=4_000, rng=np.random.default_rng(2)
    ).confidence_interval
    # Five standard errors of a drawn 2.5% quantile, whose density is about 0.058 of a deviation,
    # and one step between neighboring means.
    error = np.std(values) / np.sqrt(values.size)
    slack = 5 * np.sqrt(0.025 * 0.975 / resamples) / 0.058 * error + 1 / values.size
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=slack)
    # The slack would not hide an interval of another kind.
    assert slack < 0.3 * error


@pytest.mark.parametrize("batch", [2_000_000, 1_000], ids=["at once", "in parts"])
def test_drawing_questions_is_what_scipy_does(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(bootstrap, "BATCH_NUMBERS", batch)
    values = np.sort(on_grid(np.random.default_rng(4).random(70)))
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=999, batch=batch // 70, rng=np.random.default_rng(5)
    ).confidence_interval
    found = bca(values, 5, 999)
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=1e-12)


def test_a_seed_gives_the_same_interval_everywhere() -> None:
    first, again, other = (bca(eighths(600), seed, 9_999) for seed in (0, 0, 7))
    assert first == again
    assert (first.low, first.high) == pytest.approx((-829 / 4800, -414 / 4800), abs=1e-12)
    assert first != other


def test_questions_are_not_drawn_where_values_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("drew a question at a time")

    monkeypatch.setattr(bootstrap, "_by_questions", refuse)
    found = paired_difference([1.0] * 3_000 + [0.0] * 1_500, [1.0, 0.0] * 2_250).estimate
    assert found is not None
    assert found.method.startswith("BCa bootstrap over questions")
