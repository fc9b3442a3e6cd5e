"""Differences token by token, and greedy choices teacher-forced on the reference."""

from collections.abc import Callable

import pytest

from iha_eval.verify.compare import (
    Limit,
    choices,
    differences,
    exact_limit,
    measured_limit,
    pooled_mean,
)
from iha_eval.verify.reading import Reading, Sequence

Make = Callable[..., Reading]


def test_the_largest_difference_with_its_token_and_the_mean(
    sequence: Sequence, reading: Make
) -> None:
    one = reading("one", [-1.0, -2.0, -3.0, -4.0])
    two = reading("two", [-1.0, -2.5, -3.25, -4.0])
    (found,) = differences(one, two, [sequence], exact_limit(0.4))
    assert (found.first, found.second, found.prompt) == ("one", "two", "3 tokens")
    assert (found.largest, found.token, found.count) == (0.5, 2, 4)
    assert found.mean == 0.1875
    assert not found.agrees
    assert differences(one, two, [sequence], exact_limit(0.5))[0].agrees
    assert differences(one, two, [sequence], None)[0].agrees


def test_only_what_both_have_read_is_compared(sequence: Sequence, reading: Make) -> None:
    """A naive row ends early, a decoded one begins late."""
    early = reading("early", [-1.0, -2.0, -3.0])
    late = reading("late", [-3.5, -9.0], first=3)
    (found,) = differences(early, late, [sequence], exact_limit(1.0))
    assert (found.count, found.token, found.largest) == (1, 3, 0.5)
    (nothing,) = differences(reading("one", [-7.0]), late, [sequence], exact_limit(1.0))
    assert (nothing.count, nothing.largest, nothing.mean, nothing.agrees) == (0, 0.0, 0.0, True)


def test_tokens_after_the_last_one_asked_about_are_left_out(
    sequence: Sequence, reading: Make
) -> None:
    one = reading("one", [-1.0, -2.0, -3.0, -4.0])
    two = reading("two", [-1.0, -2.0, -9.0, -9.0])
    assert differences(one, two, [sequence], exact_limit(), last=2)[0].agrees
    assert not differences(one, two, [sequence], exact_limit(), last=3)[0].agrees


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_never_agrees(value: float, sequence: Sequence, reading: Make) -> None:
    one, two = reading("one", [value] * 4), reading("two", [-1.0] * 4)
    (found,) = differences(one, two, [sequence], Limit(1e9, 1e9, 1e9))
    assert found.largest == float("inf")
    assert not found.agrees


def test_the_mean_over_sequences_weighs_tokens(sequence: Sequence, reading: Make) -> None:
    one = reading("one", [-1.0, -1.0, -1.0, -1.0])
    four = differences(one, reading("two", [-2.0] * 4), [sequence], None)
    single = differences(one, reading("two", [-1.0]), [sequence], None)
    assert pooled_mean(four + single) == 0.8
    assert pooled_mean([]) == 0.0


def test_greedy_text_parts_where_another_token_is_likelier(
    sequence: Sequence, reading: Make
) -> None:
    """Tokens 3 and 4 are generated; at 4, another is likelier by 0.5, at 3 by a rounding error."""
    one = reading("vLLM", [-9.0, -9.0, -1.0, -1.5], [-1.0, -1.0, -0.9999, -1.0])
    near, clear = choices(one, [sequence], tie=2e-4)
    assert (near.step, near.tie) == (0, True)
    assert (clear.step, clear.tie, clear.gap, clear.prompt) == (1, False, 0.5, "3 tokens")
    assert choices(one, [sequence], tie=2e-4, last=3) == [near]
    assert choices(reading("same", [-1.0] * 4), [sequence], tie=0.0) == []


def test_a_choice_that_is_no_number_is_no_tie(sequence: Sequence, reading: Make) -> None:
    nan = float("nan")
    found = choices(reading("broken", [nan] * 4), [sequence], tie=1.0)
    assert [one.tie for one in found] == [False, False]


def test_in_float32_it_is_fixed() -> None:
    limit = exact_limit(0.25)
    assert (limit.largest, limit.mean, limit.tie) == (0.25, 0.25, 0.5)


def test_in_a_narrower_type_it_follows_from_what_the_type_does() -> None:
    limit = measured_limit(largest=0.1, mean=0.01)
    assert (limit.largest, limit.mean, limit.tie) == (0.4, 0.02, 0.2)


def test_a_type_that_changes_nothing_leaves_the_fixed_limit() -> None:
    assert measured_limit(0.0, 0.0, tolerance=1e-3) == exact_limit(1e-3)


@pytest.mark.parametrize(
    ("largest", "mean"), [(float("inf"), float("inf")), (float("nan"), 0.1), (0.1, float("nan"))]
)
def test_what_is_no_number_allows_nothing_more(largest: float, mean: float) -> None:
    assert measured_limit(largest, mean, tolerance=1e-3) == exact_limit(1e-3)
