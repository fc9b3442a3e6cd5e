"""Regressions: what counts, what it is held against, and how often the rules are wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from judged_nights import BAD, GOOD, JudgedNights, measure, only


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
        assert check.method == "mid-p McNemar"
    check = only(found.night([measure(GOOD)]))
    assert (check.regression, check.points) == (False, 0)
    assert only(found.night([measure(BAD)])).against == "n4"


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
    assert verdict.notes == (f"NOT JUDGED against an earlier night: t m: {reason}.",)
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
        ({"alpha": 1e-9}, False),
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
    """By hand: 7 of 7 changes downward have a mid-p of 1 / 2^7, times 7 tasks more than 5%."""
    same = [measure([1.0] * 7, f"same{i}") for i in range(6)]
    for others, regression in ((same[:5], True), (same, False)):
        found = history()
        found.night([measure([1.0] * 7), *others])
        check, *_ = found.night([measure([0.0] * 7), *others]).checks
        assert check.p == pytest.approx(1 / 2**7)
        assert check.p_corrected == pytest.approx((1 + len(others)) / 2**7)
        assert check.regression is regression


def test_scores_that_are_gone_leave_the_means(history: Callable[..., JudgedNights]) -> None:
    found = history()
    found.night([measure(GOOD)])
    for path in (found.history.folder / "scores").iterdir():
        path.unlink()
    check = only(found.night([measure(BAD)]))
    # By hand: errors of the shares 42/104 and 62/104 are 0.0481 each, so z = 0.2 / 0.0680 = 2.94.
    assert (check.method, check.regression) == ("two means, unpaired", True)
    assert check.p == pytest.approx(0.0033, abs=0.00005)


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
    """120 nights, four tasks each: at most 2.5% may show a drop, for the tests are two-sided."""
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(6):
        found = history()
        skills = [rng.beta(2, 2, 200) for _ in range(4)]
        for night in range(21):
            measures = [measure(drawn(rng, skill), f"t{i}") for i, skill in enumerate(skills)]
            verdict = found.night(measures)
            alarms += bool(verdict.regressions)
            assert len(verdict.checks) == (4 if night else 0)
    # Binomial(120, 0.025) exceeds 8 once in 300.
    assert alarms <= 8


def test_true_drops_are_found(history: Callable[..., JudgedNights]) -> None:
    """15 points on 400 questions, in one of four tasks, behind Holm's correction."""
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
    # Its power is above 0.95.
    assert hits >= 35
    assert right_task >= 35
