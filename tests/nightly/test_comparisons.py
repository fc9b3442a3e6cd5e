"""Tonight against its baseline: what is new, what stands, what cannot be judged."""

from collections.abc import Callable, Sequence

import pytest
from judged_nights import BAD, GOOD, JudgedNights, measure, only

from iha_eval.nightly.measures import Measure


def test_against_the_baseline(history: Callable[..., JudgedNights]) -> None:
    found = history()
    check = only(found.night([measure(BAD)], [measure(GOOD)]))
    assert (check.rule, check.against, check.regression) == ("baseline", "baseline", True)
    assert check.sentence == (
        "REGRESSION: t m of iha is 20.0 points worse than the baseline since the night n1 "
        "(z = 4.5, alarm from 2.8)."
    )
    # Worse than the baseline, but what it always was.
    again = found.night([measure(BAD)], [measure(GOOD)])
    assert [(c.rule, c.worse, c.regression) for c in again.checks] == [
        ("last_good", False, False),
        ("baseline", True, False),
    ]
    assert again.notes == (
        "STANDING: t m of iha is 20.0 points worse than the baseline since the night n1, as on the "
        "nights before (z = 4.5, alarm from 2.8).",
    )
    assert history(baseline=False).night([measure(BAD)], [measure(GOOD)]).checks == ()


def test_a_drop_against_the_baseline_counts_when_it_is_new(
    history: Callable[..., JudgedNights],
) -> None:
    """Good nights: g; bad ones: b; nights on which the baseline is missing: -."""
    found = history(last_good=False)
    counted = []
    for kind in "gbb-bgbb":
        theirs = [] if kind == "-" else [measure(GOOD)]
        verdict = found.night([measure(GOOD if kind == "g" else BAD)], theirs)
        counted.append("R" if verdict.regressions else "s" if verdict.standing else ".")
    assert "".join(counted) == ".Rs.s.Rs"


def test_accepting_covers_the_baseline_until_it_is_mended(
    history: Callable[..., JudgedNights],
) -> None:
    found = history(last_good=False)

    def accepted_of(iha: Sequence[float]) -> tuple[bool, bool]:
        verdict = found.night([measure(iha)], [measure(GOOD)])
        return bool(verdict.regressions), any("accepted" in text for text in verdict.standing)

    assert accepted_of(BAD) == (True, False)
    found.history.accept("n1")
    assert [accepted_of(BAD), accepted_of(BAD)] == [(False, True)] * 2
    assert accepted_of(GOOD) == (False, False)
    assert [accepted_of(BAD), accepted_of(BAD)] == [(True, False), (False, False)]


NOT_JUDGED = "NOT JUDGED against its baseline: t m of iha: "


@pytest.mark.parametrize(
    ("theirs", "reason"),
    [
        (measure(GOOD, documents="x"), "its questions or prompts are other ones"),
        (measure(GOOD, "u"), "the baseline has no such result"),
        (measure(GOOD, settings="x"), "it was asked with other settings, style (s against x)"),
        (
            measure(GOOD, settings="x", documents="x"),
            "it was asked with other settings, style (s against x)",
        ),
    ],
    ids=["questions", "task", "settings", "both"],
)
def test_a_baseline_that_says_nothing_is_not_judged_by(
    theirs: Measure, reason: str, history: Callable[..., JudgedNights]
) -> None:
    verdict = history(last_good=False).night([measure(BAD)], [theirs])
    assert verdict.checks == ()
    assert verdict.notes == (f"{NOT_JUDGED}{reason}.",)


def test_a_baseline_with_some_of_the_questions_is_compared_on_those(
    history: Callable[..., JudgedNights],
) -> None:
    lost = measure(GOOD[1:], documents="y", questions=tuple(f"d{i}" for i in range(1, 100)))
    verdict = history(last_good=False).night([measure(BAD)], [lost])
    assert only(verdict).points == pytest.approx(-100 * 20 / 99)
    assert verdict.notes == (
        "t m of iha was held against the baseline on 99 of 100 questions, those with a score on "
        "both sides.",
    )
