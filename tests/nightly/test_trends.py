"""Series: what belongs together, gaps, other questions, steps in the direction that matters."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iha_eval.nightly.history import HistoryEntry
from iha_eval.nightly.trends import all_series, report_form


def result(mean: float | None, day: int = 1, **changes: Any) -> HistoryEntry:
    entry = HistoryEntry(
        f"2026-03-{day:02d}T02:00:00+00:00",
        "iha",
        "t",
        "m",
        mean=mean,
        se=0.02,
        documents="d",
        settings="s",
        entries=("t",),
        fingerprint="f",
        commit="c",
        watched=True,
    )
    return replace(entry, **changes)


def failure(day: int = 1, **changes: Any) -> HistoryEntry:
    return replace(result(None, day), metric=None, failed=True, **changes)


def nights(*lines: list[HistoryEntry]) -> dict[str, list[HistoryEntry]]:
    return {f"n{number}": entries for number, entries in enumerate(lines)}


def shape(history: dict[str, list[HistoryEntry]]) -> list[tuple[str, int, list[str], bool]]:
    return [
        (
            f"{one.model} {one.task} {one.metric}",
            one.version,
            [point.night + ("!" if point.failed else "") for point in one.points],
            one.current,
        )
        for one in all_series(history)
    ]


def test_no_nights_no_series() -> None:
    assert all_series({}) == []


def test_models_tasks_and_metrics_are_apart() -> None:
    lines = [
        result(0.1),
        result(0.2, model="baseline"),
        result(0.3, metric="k"),
        result(0.4, task="u"),
    ]
    found = shape(nights(lines, lines))
    assert [name for name, *_ in found] == ["iha t m", "baseline t m", "iha t k", "iha u m"]
    assert all(points == ["n0", "n1"] for _, _, points, _ in found)


@pytest.mark.parametrize("field", ["documents", "settings"])
def test_other_questions_or_settings_begin_a_new_series(field: str) -> None:
    other = result(0.9, **{field: "other"})
    history = nights([result(0.1)], [other], [failure()], [other], [result(0.1)])
    assert shape(history) == [
        ("iha t m", 1, ["n0", "n4"], True),
        ("iha t m", 2, ["n1", "n2!", "n3"], False),
    ]


def test_a_failed_night_is_a_gap_in_what_the_run_measures() -> None:
    leaf = {"entries": ["group", "more"], "task": "leaf"}
    history = nights(
        [failure(task="group")],
        [result(0.5, **leaf), result(0.5, task="u", entries=["u"])],
        [failure(task="group"), failure(task="more"), result(0.5, task="u", entries=["u"])],
        [failure(task="other"), failure(task="group", model="baseline")],
    )
    assert shape(history) == [
        ("iha leaf m", 1, ["n1", "n2!"], True),
        ("iha u m", 1, ["n1", "n2"], True),
    ]


def test_a_night_with_the_result_of_another_process_is_no_gap() -> None:
    """The same run may fail on one entry's process and not on another's."""
    history = nights([result(0.5, entries=["t", "u"])], [failure(task="u"), result(0.5)])
    assert shape(history) == [("iha t m", 1, ["n0", "n1"], True)]


@pytest.mark.parametrize(
    ("means", "higher", "first_bad"),
    [
        ([0.8, 0.8, 0.8, 0.4, 0.4], True, 3),
        ([0.4, 0.4, 0.4, 0.8, 0.8], True, None),
        ([0.4, 0.4, 0.4, 0.8, 0.8], False, 3),
        ([0.8, 0.8, 0.8, 0.4, 0.4], False, None),
        ([0.8, None, 0.8, None, 0.4], True, 4),
        ([0.8], True, None),
        ([0.8, 0.8], True, None),
    ],
)
def test_the_first_bad_night(
    means: list[float | None], higher: bool, first_bad: int | None
) -> None:
    history = nights(
        *(
            [failure(day) if mean is None else result(mean, day, higher_is_better=higher)]
            for day, mean in enumerate(means, 1)
        )
    )
    [series] = all_series(history)
    found = report_form(series, "a label")
    assert found["first_bad"] == first_bad
    assert (found["label"], found["metric"]) == ("a label", "m")
    assert [night["mean"] for night in found["nights"]] == means
    assert [night["failed"] for night in found["nights"]] == [mean is None for mean in means]
    for step in found["steps"]:
        # Levels are told as they are, whichever direction is good.
        assert step["before"] == pytest.approx(means[step["previous"]])
        assert step["after"] == pytest.approx(means[step["night"]])


def test_a_night_in_a_report_has_what_the_contract_says() -> None:
    [series] = all_series(nights([result(0.5)]))
    [night] = report_form(series, "x")["nights"]
    assert night == {
        "date": "2026-03-01T02:00:00+00:00",
        "mean": 0.5,
        "se": 0.02,
        "fingerprint": "f",
        "commit": "c",
        "failed": False,
    }


def test_sparklines() -> None:
    lines = [[result(0.0)], [result(1.0)], [failure()], [result(0.5)]]
    assert all_series(nights(*lines))[0].sparkline() == "▁█·▅"
    assert all_series(nights(*lines))[0].sparkline(2) == "·▅"
    assert all_series(nights([result(0.5)]))[0].sparkline() == "▅"


def test_noise_does_not_look_like_movement() -> None:
    generator = np.random.default_rng(0)
    # The standard error of `result` is 0.02; nights on the same questions vary less than that.
    means = 0.6 + generator.normal(0, 0.013, 30)
    noise = all_series(nights(*([result(float(mean))] for mean in means)))[0].sparkline()
    assert len({*noise}) <= 5
    drop = all_series(nights(*([result(mean)] for mean in (0.6, 0.6, 0.45, 0.45))))[0]
    assert drop.sparkline() == "██▁▁"


def test_what_is_watched_is_what_was_watched_last() -> None:
    [series] = all_series(nights([result(0.5)], [result(0.5, watched=False)]))
    assert not series.watched


def test_what_counts_as_missing_is_a_gap_in_what_it_would_have_gone_on_with() -> None:
    lacking = result(0.1, documents="fewer", lacking="only 2 of 9 questions")
    never = result(0.1, task="new", lacking="none of its 9 questions has a score")
    history = nights([result(0.5)], [lacking, never], [result(0.6)])
    assert shape(history) == [("iha t m", 1, ["n0", "n1!", "n2"], True)]
    assert report_form(all_series(history)[0], "x")["nights"][1]["mean"] is None


def test_a_night_that_lost_a_question_stays_in_its_series() -> None:
    lost = result(0.5, documents="one fewer", part_of="d")
    history = nights([result(0.5)], [lost], [result(0.6)])
    assert shape(history) == [("iha t m", 1, ["n0", "n1", "n2"], True)]


def test_a_night_without_any_score_is_a_gap_too() -> None:
    [series] = all_series(nights([result(0.5)], [result(None)]))
    assert [point.failed for point in series.points] == [False, True]
