"""What counts as missing though its run has ended."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from judged_nights import GOOD, JudgedNights, measure, only

from iha_eval.nightly.history import HistoryEntry
from iha_eval.nightly.missing import vanished


@pytest.mark.parametrize("side", ["iha", "baseline"])
@pytest.mark.parametrize(
    ("scores", "expected", "reason"),
    [
        ([None] * 100, 100, "none of its 100 questions has a score"),
        ([], None, "none of its 0 questions has a score"),
        (
            [1.0] * 89,
            100,
            "only 89 of the 100 questions that were asked are in the samples, so run it again "
            "with --fresh",
        ),
        (
            [1.0] * 89 + [None] * 11,
            None,
            "only 89 of the 100 questions that were asked have a score",
        ),
    ],
    ids=["all NaN", "no samples", "far fewer", "many NaN"],
)
def test_a_measure_without_scores_is_missing(
    scores: list[float | None],
    expected: int | None,
    reason: str,
    side: str,
    history: Callable[..., JudgedNights],
) -> None:
    found = history()
    found.night([measure(GOOD)], [measure(GOOD)])
    broken, whole = measure(scores, expected=expected), measure(GOOD)
    nights = ([broken], [whole]) if side == "iha" else ([whole], [broken])
    verdict = found.night(*nights)
    assert [(gap.model, gap.reason) for gap in verdict.missing] == [(side, reason)]
    assert verdict.notes[0] == f"MISSING: t m of {side}: {reason}."
    assert [check.rule for check in verdict.checks] == ([] if side == "iha" else ["last_good"])


def test_a_few_lost_questions_are_not_missing(history: Callable[..., JudgedNights]) -> None:
    found = history(baseline=False)
    found.night([measure(GOOD)])
    lost = measure([1.0] * 90, documents="y", expected=100)
    assert found.night([lost]).missing == []
    assert found.night([measure([1.0] * 90 + [None] * 10)]).missing == []


def test_what_lacked_scores_is_no_night_to_be_held_against(
    history: Callable[..., JudgedNights],
) -> None:
    found = history(baseline=False)
    found.night([measure(GOOD)])
    found.night([measure(GOOD, expected=1000)])
    assert only(found.night([measure(GOOD)])).against == "n1"


def line(task: str, **changes: Any) -> HistoryEntry:
    date = "2026-03-01T02:00:00+00:00"
    return replace(HistoryEntry(date, "iha", task, "m", watched=True, command="c"), **changes)


@pytest.mark.parametrize(
    ("nights", "missing"),
    [
        ([[line("t"), line("u")]], ["u"]),
        ([[line("t"), line("u", watched=False)]], []),
        ([[line("t"), line("u", command="other")]], []),
        ([[line("t"), line("u", model="baseline")]], []),
        ([[line("u", failed=True)]], []),
        ([[line("u")], [line("t")]], []),
        ([[line("u")], [line("t", command="other")]], ["u"]),
        ([[line("u")], [line("u", failed=True)]], ["u"]),
        ([[line("u")], [line("t"), line("u", lacking="gone")]], ["u"]),
        ([[line("u")], [line("t"), line("u", lacking="gone", accepted=True)]], []),
        ([], []),
    ],
    ids=[
        *("gone", "not watched", "other command", "other model", "failed", "before the last"),
        *("another command since", "a failure since", "still gone", "accepted", "first night"),
    ],
)
def test_what_the_same_command_gave_before_is_missed(nights: Any, missing: list[str]) -> None:
    earlier = {f"n{number}": lines for number, lines in enumerate(nights)}
    found = list(vanished("iha", [measure(GOOD)], ["c"], earlier))
    assert [gap.task for gap in found] == missing
    assert {(gap.rule, gap.command) for gap in found} <= {(None, "c")}
