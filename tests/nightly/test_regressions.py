"""Regressions: what counts, what it is held against, and how often the rules are wrong."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from judged_nights import BAD, GOOD, JudgedNights, measure, only

from iha_eval.statistics import threshold


def test_the_first_night_is_held_against_nothing_and_says_so(
    history: Callable[..., JudgedNights],
) -> None:
    found = history().night([measure(BAD)], [measure(BAD)])
    assert (only(found).rule, found.gaps) == ("baseline", ())
    assert found.notes == (
        "Nothing was held against an earlier night: there is no earlier night with a result.",
    )
    assert history(last_good=False).night([measure(BAD)], [measure(BAD)]).notes == ()


def test_a_drop_counts_until_it_is_mended(history: Callable[..., JudgedNights]) -> None:
    found = history(baseline=False)
    found.night([measure(GOOD)])
    for _ in range(2):
        check = only(found.night([measure(BAD)]))
        assert (check.regression, check.against) == (True, "n1")
        assert check.points == pytest.approx(-20)
        assert (check.since, check.z) == ("n2", pytest.approx(math.sqrt(20 - 10 * (1 / 2 - 0.3))))
    check = only(found.night([measure(GOOD)]))
    # The nights of the drop are no part of what later ones are held against.
    assert (check.regression, check.points, check.against) == (False, 0, "n1")
    [drop] = check.drops
    assert (drop.since, drop.alarm, drop.ended, drop.mended) == ("n2", "n2", "n4", True)
    again = only(found.night([measure(BAD)]))
    assert (again.regression, again.against, again.since) == (True, "n4", "n5")
    assert again.sentence == (
        "REGRESSION: t m of iha is 20.0 points worse since the night n5 than on the 2 good "
        "nights up to n4 (z = 4.4, alarm from 2.7)."
    )


def test_a_rise_is_none(history: Callable[..., JudgedNights]) -> None:
    found = history()
    found.night([measure(BAD)])
    assert not only(found.night([measure(GOOD)])).regression


def test_where_less_is_better_a_rise_counts(history: Callable[..., JudgedNights]) -> None:
    found = history()
    found.night([measure(BAD, higher=False)])
    check = only(found.night([measure(GOOD, higher=False)]))
    assert (check.regression, check.points) == (True, pytest.approx(-20))


def test_an_accepted_night_is_the_new_normal(history: Callable[..., JudgedNights]) -> None:
    found = history()
    found.night([measure(GOOD)])
    found.night([measure(BAD)])
    found.history.accept("n2")
    check = only(found.night([measure(BAD)]))
    assert (check.regression, check.against) == (False, "n2")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"documents": "x"}, "its questions are other ones than those of the night n1"),
        ({"settings": "x"}, "the night n1 asked with other settings, style (x against s)"),
    ],
    ids=["questions", "settings"],
)
def test_other_questions_are_not_compared_and_that_is_said(
    changes: dict[str, str], reason: str, history: Callable[..., JudgedNights]
) -> None:
    found = history(baseline=False)
    found.night([measure(GOOD)])
    verdict = found.night([measure(BAD, **changes)])
    assert verdict.checks == ()
    assert verdict.notes == (f"NOT JUDGED against an earlier night: t m of iha: {reason}.",)
    assert verdict.missing == []
    line = found.history.read().nights["n2"][0]
    assert line.not_judged == {"last_good": reason}
    # And the earlier ones are still known when they come back.
    assert only(found.night([measure(BAD)])).against == "n1"


def test_questions_without_hashes_are_not_taken_for_equal(
    history: Callable[..., JudgedNights],
) -> None:
    reason = "some of its samples have no hashes, so nobody knows which questions they are"
    for unhashed in ("both", "baseline"):
        found = history()
        found.night([measure(GOOD)])
        iha = measure(BAD, hashed=unhashed == "baseline")
        verdict = found.night([iha], [measure(GOOD, hashed=False)])
        rules = ["last_good", "baseline"] if unhashed == "both" else ["baseline"]
        assert [(gap.rule, gap.reason) for gap in verdict.gaps] == [(one, reason) for one in rules]
        assert [check.rule for check in verdict.checks] == (
            [] if unhashed == "both" else ["last_good"]
        )


def test_what_is_not_watched_is_not_judged(history: Callable[..., JudgedNights]) -> None:
    found = history()
    found.night([measure(GOOD)])
    verdict = found.night([measure(BAD, watched=False)], [measure(GOOD)])
    assert verdict.checks == ()


@pytest.mark.parametrize(
    ("rules", "counts"),
    [
        ({"drop": 19.9}, True),
        ({"drop": 20.1}, False),
        ({"false_alarms_per_month": 1e-6}, False),
        ({"last_good": False}, None),
    ],
    ids=str,
)
def test_thresholds(
    rules: dict[str, Any], counts: bool | None, history: Callable[..., JudgedNights]
) -> None:
    found = history(baseline=False, **rules)
    found.night([measure(GOOD)])
    checks = found.night([measure(BAD)]).checks
    assert [check.regression for check in checks] == ([] if counts is None else [counts])


def test_watching_more_asks_for_more(history: Callable[..., JudgedNights]) -> None:
    """By hand: 11 of 11 lost have a z of sqrt(11 - 2) = 3.0 on the second night of a watch."""
    same = [measure([1.0] * 7, f"same{i}") for i in range(6)]
    for others, regression in (([], True), (same, False)):
        found = history()
        found.night([measure([1.0] * 11), *others])
        verdict = found.night([measure([0.0] * 11), *others])
        check, *_ = verdict.checks
        assert check.z == pytest.approx(3.0)
        assert check.regression is regression
        assert verdict.alarm == threshold(0.5 / (1 + len(others)))


def test_scores_that_are_gone_are_not_judged_and_that_is_said(
    history: Callable[..., JudgedNights],
) -> None:
    found = history()
    found.night([measure(GOOD)])
    for path in (found.history.folder / "scores").iterdir():
        path.unlink()
    verdict = JudgedNights.night(again(found), [measure(BAD)])
    gap = verdict.gaps[0]
    assert gap.reason == "the scores of the earlier nights are gone from the history"


def again(nights: JudgedNights) -> JudgedNights:
    """The same nights, read anew."""
    nights.history = type(nights.history)(nights.history.folder)
    return nights


def test_another_checkpoint_begins_a_new_watch_and_says_so(
    history: Callable[..., JudgedNights],
) -> None:
    found = history(baseline=False)
    found.night([measure(GOOD)])
    found.fingerprints["iha"] = "new"
    verdict = found.night([measure(BAD)])
    assert verdict.checks == ()
    assert verdict.notes == (
        "NOT JUDGED against an earlier night: t m of iha: the checkpoint is another one than on "
        "the night n1 (f -> new), so its watch begins anew.",
    )
    assert not only(found.night([measure(BAD)])).regression
    # The old one is held against its own nights when it comes back.
    found.fingerprints["iha"] = "f"
    assert only(found.night([measure(BAD)])).against == "n1"


def test_a_pinned_night_stays_the_reference(history: Callable[..., JudgedNights]) -> None:
    found = history(baseline=False)
    found.night([measure(GOOD)])
    found.history.pin("n1")
    found.fingerprints["iha"] = "new"
    verdict = found.night([measure(BAD)])
    [check] = verdict.checks
    assert (check.rule, check.regression, check.since) == ("pinned", True, "n2")
    assert "worse since the night n2 than on the pinned night n1 (z = 4.5, " in check.sentence
    assert [c.rule for c in found.night([measure(BAD)]).regressions] == ["pinned"]
    found.history.accept("n3")
    verdict = found.night([measure(BAD)])
    assert verdict.regressions == []
    assert verdict.standing[0].endswith(", accepted.")
    found.history.pin(None)
    assert [c.rule for c in found.night([measure(BAD)]).checks] == ["last_good"]


def test_more_or_fewer_questions_are_watched_on_those_in_common(
    history: Callable[..., JudgedNights],
) -> None:
    found = history(baseline=False)
    many = [1.0] * 60 + [0.0] * 40 + [1.0] * 100
    found.night([measure(GOOD)])
    # Named alike, so that the first hundred are the same questions.
    more = {"documents": "more", "questions": tuple(f"d{i}" for i in range(200))}
    assert not only(found.night([measure(many, **more)])).regression
    worse = only(found.night([measure([0.0] * 20 + many[20:], **more)]))
    assert (worse.regression, worse.since) == (True, "n3")
    few = only(found.night([measure(BAD[:50], documents="few", questions=more["questions"][:50])]))
    assert few.of == 50


def test_nights_may_be_missing_and_three_may_be_on_one_day(
    history: Callable[..., JudgedNights],
) -> None:
    found = history(baseline=False)
    for days in (1, 9, 0, 0):
        assert not any(check.regression for check in found.night([measure(GOOD)], days=days).checks)
    found.night([measure([None] * 100)])
    check = only(found.night([measure(BAD)], days=0))
    assert (check.regression, check.against, check.nights) == (True, "n4", 4)


@pytest.mark.parametrize(
    ("tonight", "points"),
    [([None] * 100, None), ([None] * 10 + [0.0] * 90, -100 * 50 / 90), ([0.5] * 100, -10)],
    ids=["none", "some", "fractions"],
)
def test_missing_and_fractional_scores(
    tonight: list[float | None], points: float | None, history: Callable[..., JudgedNights]
) -> None:
    found = history()
    found.night([measure(GOOD)])
    verdict = found.night([measure(tonight)])
    checks = verdict.checks
    assert len(verdict.missing) == (points is None)
    assert [check.points for check in checks] == ([] if points is None else [pytest.approx(points)])


def test_questions_without_a_common_score_show_nothing(
    history: Callable[..., JudgedNights],
) -> None:
    found = history()
    found.night([measure(GOOD)])
    # Of the ten questions that the earlier night and the baseline have too, none has a score here.
    later = tuple(f"d{i}" for i in range(90, 190))
    tonight = measure([None] * 10 + [1.0] * 90, documents="e", questions=later)
    verdict = found.night([tonight], [measure(GOOD)])
    assert verdict.checks == ()
    assert {(gap.rule, gap.reason) for gap in verdict.gaps} == {
        ("last_good", "no question has a score on both sides"),
        ("baseline", "no question has a score on both sides"),
    }


def drawn(rng: np.random.Generator, skill: np.ndarray, shift: float = 0.0) -> list[float]:
    return [float(x) for x in rng.random(skill.size) < np.clip(skill + shift, 0, 1)]


def test_nights_without_a_change_raise_few_alarms(history: Callable[..., JudgedNights]) -> None:
    """126 nights, four tasks each: the budget is one alarm in 60 nights."""
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(6):
        found = history()
        skills = [rng.beta(2, 2, 200) for _ in range(4)]
        for night in range(21):
            measures = [measure(drawn(rng, skill), f"t{i}") for i, skill in enumerate(skills)]
            verdict = found.night(measures)
            alarms += sum(check.drops[-1].alarm == f"n{night + 1}" for check in verdict.regressions)
            assert len(verdict.checks) == (4 if night else 0)
    # A Poisson variable of mean 2.1 exceeds 6 once in 180.
    assert alarms <= 6


def test_true_drops_are_found(history: Callable[..., JudgedNights]) -> None:
    """15 points on 400 questions, in one of four tasks, on the second night of all."""
    rng = np.random.default_rng(2)
    hits, right_task = 0, 0
    for _ in range(40):
        found = history()
        skills = [rng.uniform(0.3, 0.9, 400) for _ in range(4)]
        found.night([measure(drawn(rng, skill), f"t{i}") for i, skill in enumerate(skills)])
        tonight = [
            measure(drawn(rng, skill, -0.15 if i == 2 else 0.0), f"t{i}")
            for i, skill in enumerate(skills)
        ]
        verdict = found.night(tonight)
        hits += bool(verdict.regressions)
        right_task += any(check.task == "t2" for check in verdict.regressions)
    assert hits >= 30
    assert right_task >= 30
