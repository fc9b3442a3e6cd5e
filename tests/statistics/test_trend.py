import math

import numpy as np
import pytest
from scipy import stats

from iha_eval.statistics import Trend, find_steps, level

Nights = list[tuple[float, float] | None]


def flat(value: float, nights: int, error: float = 0.02) -> Nights:
    return [(value, error)] * nights


@pytest.mark.parametrize(
    ("nights", "status", "missing"),
    [
        pytest.param([], "no nights", (), id="no nights"),
        pytest.param([None, None], "no nights", (0, 1), id="only crashes"),
        pytest.param([(0.5, 0.02)], "one night", (), id="one night"),
        pytest.param([None, (0.5, 0.02)], "one night", (0,), id="one night and a crash"),
        pytest.param(flat(0.5, 2), "steady", (), id="two nights alike"),
        pytest.param([(0.5, 0.02), (math.nan, 0.02)], "one night", (1,), id="not a number"),
        pytest.param(flat(0.8, 30), "steady", (), id="constant"),
        pytest.param(flat(0.8, 30, 0.0), "steady", (), id="constant without errors"),
        pytest.param([(0.52, 0.02), None, (0.5, 0.02)], "steady", (1,), id="noise"),
    ],
)
def test_series_without_a_step(nights: Nights, status: str, missing: tuple[int, ...]) -> None:
    assert find_steps(nights) == Trend(status, (), None, missing)


def test_two_nights_are_compared_as_two_means() -> None:
    found = find_steps([(0.8, 0.02), (0.7, 0.02)])
    assert found.status == "stepped"
    assert found.first_bad is not None
    assert found.first_bad.p == pytest.approx(2 * stats.norm.sf(0.1 / math.hypot(0.02, 0.02)))
    assert (found.first_bad.previous, found.first_bad.night) == (0, 1)
    assert (found.first_bad.before, found.first_bad.after) == (0.8, 0.7)


@pytest.mark.parametrize("bad", [1, 10, 19])
def test_a_drop_is_found_where_it_happened(bad: int) -> None:
    found = find_steps([*flat(0.8, bad), *flat(0.6, 20 - bad)])
    assert [step.night for step in found.steps] == [bad]
    assert found.first_bad == found.steps[0]
    assert found.steps[0].before == pytest.approx(0.8)
    assert found.steps[0].after == pytest.approx(0.6)


def test_every_night_tried_costs_significance() -> None:
    # On its own a fall of 3.5 standard errors is significant; after 199 nights it may be chance.
    drop = 3.5 * 0.02
    assert find_steps([*flat(0.8, 10), (0.8 - drop, 0.02)]).status == "stepped"
    assert find_steps([*flat(0.8, 199), (0.8 - drop, 0.02)]).status == "steady"


def test_missing_nights_keep_their_places() -> None:
    found = find_steps([None, *flat(0.8, 5), None, None, *flat(0.5, 5)])
    assert found.missing == (0, 6, 7)
    assert found.first_bad is not None
    assert (found.first_bad.previous, found.first_bad.night) == (5, 8)


def test_a_step_up_is_a_step_but_not_bad() -> None:
    found = find_steps([*flat(0.5, 8), *flat(0.7, 8)])
    assert [step.night for step in found.steps] == [8]
    assert found.first_bad is None


def test_a_drop_that_was_mended_is_not_bad_any_more() -> None:
    found = find_steps([*flat(0.8, 8), *flat(0.5, 3), *flat(0.8, 8)])
    assert [step.night for step in found.steps] == [8, 11]
    assert found.first_bad is None


def test_a_drop_that_was_mended_in_part_is_still_the_first_bad_night() -> None:
    found = find_steps([*flat(0.8, 8), *flat(0.4, 8), *flat(0.6, 8)])
    assert [step.night for step in found.steps] == [8, 16]
    assert found.first_bad == found.steps[0]


def test_the_earliest_of_two_drops() -> None:
    found = find_steps([*flat(0.8, 8), *flat(0.6, 8), *flat(0.4, 8)])
    assert [step.night for step in found.steps] == [8, 16]
    assert found.first_bad == found.steps[0]


def test_a_drop_after_one_that_was_mended() -> None:
    found = find_steps([*flat(0.8, 9), *flat(0.4, 4), *flat(0.8, 9), *flat(0.6, 9)])
    assert [step.night for step in found.steps] == [9, 13, 22]
    assert found.first_bad == found.steps[2]


def test_without_errors_any_change_is_a_step() -> None:
    found = find_steps([*flat(1.0, 3, 0.0), *flat(0.9, 3, 0.0)])
    assert [step.night for step in found.steps] == [3]
    assert found.steps[0].p == 0.0


def test_errors_of_levels_keep_one_wrong_answer_from_being_a_step() -> None:
    perfect, nearly = level([1.0] * 100), level([1.0] * 99 + [0.0])
    nights = [(night.mean, night.error) for night in [*[perfect] * 6, *[nearly] * 6]]
    assert find_steps(nights).status == "steady"


def test_a_negative_error() -> None:
    with pytest.raises(ValueError, match="standard error cannot be negative"):
        find_steps([(0.5, -0.1)])


@pytest.mark.parametrize("nights", [2, 5, 40])
def test_false_alarms_are_rarer_than_one_in_twenty(nights: int) -> None:
    generator = np.random.default_rng(17)
    trials = 1000
    drawn = generator.normal(0.7, 0.02, (trials, nights))
    alarms = sum(
        find_steps([(float(mean), 0.02) for mean in series]).status == "stepped" for series in drawn
    )
    assert 5 <= alarms <= stats.binom.ppf(0.999, trials, 0.05)
