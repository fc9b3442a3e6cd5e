"""Which earlier night counts, and what is said where none does."""

from collections.abc import Callable
from typing import Any

import pytest
from judged_nights import BAD, GOOD, History, measure, only

from iha_eval.nightly.earlier import named_settings, part_of, results
from iha_eval.nightly.measures import Measure


def test_an_earlier_night_with_some_of_the_questions_is_compared_on_those(
    history: Callable[..., History],
) -> None:
    found = history(baseline=False)
    found.night([measure(GOOD)])
    fewer = measure(BAD[:50], documents="y", questions=tuple(f"d{i}" for i in range(50)))
    verdict = found.night([fewer])
    assert (only(verdict).against, only(verdict).pairs, verdict.notes) == ("n1", 50, ())
    assert only(verdict).points == pytest.approx(-100 * 10 / 50)
    other = measure(BAD, questions=tuple(f"d{i}" for i in range(90, 190)), documents="z")
    verdict = found.night([other])
    assert (only(verdict).against, only(verdict).points) == ("n1", pytest.approx(100))
    assert verdict.notes == (
        "t m was held against the night n1 on 10 of 100 questions, those with a score on both "
        "sides.",
    )


def test_the_scores_of_some_of_the_questions_must_still_be_there(
    history: Callable[..., History],
) -> None:
    found = history(baseline=False)
    found.night([measure(GOOD)])
    for path in (found.store.folder / "scores").iterdir():
        path.unlink()
    fewer = measure(BAD[:50], documents="y", questions=tuple(f"d{i}" for i in range(50)))
    verdict = found.night([fewer])
    assert [gap.reason for gap in verdict.gaps] == [
        "the scores of the night n1 are gone from the history"
    ]


def test_settings_that_nobody_knows_any_more_are_other_ones(
    history: Callable[..., History],
) -> None:
    found = history(baseline=False)
    found.night([measure(GOOD)])
    for path in (found.store.folder / "known").iterdir():
        path.unlink()
    [gap] = found.night([measure(GOOD, settings="x")]).gaps
    assert gap.reason == "the night n1 asked with other settings, which are not known any more"
    # Where nothing has changed, nothing of it is needed.
    assert only(found.night([measure(GOOD)])).against == "n1"


def test_a_new_measure_is_told_from_a_first_night(history: Callable[..., History]) -> None:
    found = history(baseline=False)
    found.night([measure(GOOD)])
    verdict = found.night([measure(GOOD), *(measure(GOOD, f"new{i}") for i in range(5))])
    assert len(verdict.checks) == 1
    assert verdict.notes == (
        "NOT JUDGED against an earlier night: new0, new1, new2 and 2 more m: no earlier night "
        "measured it.",
    )


def lost(count: int, **changes: Any) -> Measure:
    """Of 100 questions, without the last ones."""
    names = tuple(f"d{i}" for i in range(100 - count))
    return measure(GOOD[: 100 - count], documents="y", questions=names, expected=100, **changes)


@pytest.mark.parametrize(
    ("one", "series"),
    [
        (lost(1), "d"),
        (lost(10), "d"),
        (lost(11), None),
        (lost(1, settings="x"), None),
        (measure(GOOD, documents="other", expected=101), None),
    ],
    ids=["one", "a tenth", "more", "other settings", "other questions"],
)
def test_whose_series_a_night_belongs_to_that_lost_questions(
    one: Measure, series: str | None, history: Callable[..., History]
) -> None:
    found = history(baseline=False)
    found.night([measure(GOOD)])
    lines = results("iha", found.store.read().nights)["t", "m"]
    assert part_of(one, lines, found.store) == series
    again = [{**lines[0], "part_of": "all"}]
    assert part_of(one, again, found.store) == (series and "all")


@pytest.mark.parametrize(
    ("given", "room", "theirs", "other_room", "differs"),
    [
        ("8192", None, None, "8192", False),
        (None, "8192", "8192", None, False),
        (None, "8192", None, "4096", False),
        ("8192", "4096", None, "4096", True),
        ("8192", None, None, None, True),
    ],
    ids=["mine", "theirs", "neither", "less room", "room unknown"],
)
@pytest.mark.parametrize("suffix", ["", " of t"], ids=["task", "group"])
def test_the_room_of_a_model_counts_where_the_other_was_given_one(
    suffix: str,
    given: str | None,
    room: str | None,
    theirs: str | None,
    other_room: str | None,
    differs: bool,
) -> None:
    """As in compare, which pairs such runs."""
    name = f"model_args.max_length/max_model_len{suffix}"
    mine, other = ({name: value} if value else {} for value in (given, theirs))
    assert bool(named_settings(measure(GOOD, asked=mine, room=room), other, other_room)) is differs


def test_the_history_knows_the_room_of_a_model(history: Callable[..., History]) -> None:
    found = history(baseline=False)
    found.night([measure(GOOD, asked={}, room="8192")])
    asked = {"model_args.max_length/max_model_len": "8192"}
    assert only(found.night([measure(BAD, settings="x", asked=asked)])).against == "n1"


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ({"style": "s"}, ""),
        ({"style": "x" * 50}, f"style (s against {'x' * 37}...)"),
        ({"style": "s", "seed": 3, "seed of t": 3}, ""),
        ({"style": "s", "repeats": 2}, "repeats (none against 2)"),
        (
            {"style": "a", "b": 1, "c": 2, "d": 3, "e": 4},
            "style (s against a), b (none against 1), c (none against 2) and 2 more",
        ),
    ],
    ids=["none", "long", "a seed that one side does not tell", "one side", "many"],
)
def test_settings_that_differ_in_words(theirs: dict[str, object], words: str) -> None:
    assert named_settings(measure(GOOD), theirs) == words
