"""Drops against the baseline: when they are news, and when they stand."""

from collections.abc import Callable
from typing import Any

import pytest
from judged_nights import BAD, GOOD, History, measure

from iha_eval.nightly.regressions import Verdict


def news(verdict: Verdict) -> tuple[int, int]:
    """Number of regressions, and of drops that stand."""
    return len(verdict.regressions), len(verdict.standing)


def both(history: History, days: int = 1, **changes: Any) -> Verdict:
    """A night on which the IHA model is worse than the baseline."""
    return history.night([measure(BAD, **changes)], [measure(GOOD, **changes)], days)


def test_a_drop_is_news_once_and_again_after_it_was_mended(history: Callable[..., History]) -> None:
    found = history(last_good=False)
    assert [news(both(found)) for _ in range(3)] == [(1, 0), (0, 1), (0, 1)]
    assert news(found.night([measure(GOOD)], [measure(GOOD)])) == (0, 0)
    verdict = both(found)
    assert news(verdict) == (1, 0)
    [sentence] = both(found).standing
    assert sentence.endswith("as on every night judged since n5.")


@pytest.mark.parametrize("changes", [{"documents": "x"}, {"settings": "x"}], ids=str)
def test_other_questions_or_settings_are_another_test(
    changes: dict[str, str], history: Callable[..., History]
) -> None:
    found = history(last_good=False)
    both(found)
    found.store.accept("n1")
    assert [news(both(found, **changes)) for _ in range(2)] == [(1, 0), (0, 1)]
    [sentence] = both(found, **changes).standing
    # What was accepted was the other test.
    assert sentence.endswith("as on every night judged since n2.")


def test_a_few_lost_questions_make_no_news(history: Callable[..., History]) -> None:
    found = history(last_good=False)
    both(found)
    names = tuple(f"d{i}" for i in range(99))
    lost = measure(BAD[:99], documents="y", questions=names, expected=100)
    assert news(found.night([lost], [measure(GOOD)])) == (0, 1)


def test_a_night_started_again_on_its_day_is_as_red_as_before(
    history: Callable[..., History],
) -> None:
    found = history(last_good=False)
    assert [news(both(found, days)) for days in (1, 0, 0)] == [(1, 0)] * 3
    found.store.accept("n3")
    assert news(both(found, days=0)) == (0, 1)
    [sentence] = both(found).standing
    assert sentence.endswith("as on every night judged since n1, accepted.")
