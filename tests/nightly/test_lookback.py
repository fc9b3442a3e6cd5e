"""Looking back: the first bad night, and what lies between it and the last good one."""

import json
from typing import Any

import pytest

from iha_eval.nightly.history import Entries
from iha_eval.nightly.lookback import Lookback, look_back


def night(number: int, mean: float | None, **changes: Any) -> list[dict[str, Any]]:
    failed = {"failed": True, "reason": "exit code 5", "metric": None} if mean is None else {}
    line = {
        "date": f"2026-03-{number:02d}T02:00:00+00:00",
        "model": "iha",
        "task": "t",
        "metric": "m",
        "mean": mean,
        "se": 0.02,
        "entries": ["t"],
        "watched": True,
        "fingerprint": "f" * 64,
        "commit": None,
        "regressions": [],
    }
    return [{**line, **failed, **changes}]


def back(*lines: list[dict[str, Any]], broken: int = 0) -> Lookback:
    return look_back(Entries({f"n{i}": found for i, found in enumerate(lines, 1)}, broken))


def test_what_was_not_judged_what_lacks_and_what_stands() -> None:
    told = {"points": -20.0, "p_corrected": 0.001, "worse": True}
    found = back(
        night(1, 0.5, baseline=told, not_judged={"last_good": "why"}),
        night(2, 0.5, baseline=told, accepted=True, lacking="only 1 of 9 questions"),
    )
    assert [one["not_judged"] for one in found.nights] == [
        ["t m against an earlier night: why"],
        [],
    ]
    assert [one["failed"] for one in found.nights] == [[], ["iha on t m: only 1 of 9 questions"]]
    stands = (
        "t m is 20.0 points worse than the baseline (p = 0.001), as on every night judged since "
        "n1, accepted"
    )
    assert found.standing == (stands,)
    assert found.as_dict()["standing"] == [stands]
    mended = night(3, 0.5, baseline={**told, "worse": False})
    assert back(night(1, 0.5, baseline=told), mended).standing == ()


def test_nothing_to_look_back_at() -> None:
    assert back() == Lookback((), (), 0)


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_nights(count: int) -> None:
    [row] = back(*(night(i + 1, 0.5) for i in range(count))).rows
    assert (row.trend.status, row.first_bad) == (("one night", "steady")[count - 1], None)


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ({"commit": "a" * 40}, {"commit": "b" * 40}, f"commits {'a' * 12}..{'b' * 12}"),
        (
            {"commit": "a" * 40},
            {"commit": "a" * 40, "fingerprint": "e" * 64},
            f"checkpoints {'f' * 12} -> {'e' * 12}",
        ),
        ({}, {"fingerprint": None}, f"checkpoints {'f' * 12} -> unknown"),
        ({}, {}, f"same checkpoint {'f' * 12}: look at versions, data or device"),
        (
            {"fingerprint": None},
            {"fingerprint": None},
            "checkpoint unknown: look at versions, data or device",
        ),
    ],
    ids=["commits", "checkpoints", "one unknown", "nothing changed", "unknown"],
)
def test_what_changed_with_the_first_bad_night(
    old: dict[str, Any], new: dict[str, Any], cause: str
) -> None:
    lines = [night(1, 0.8, **old), night(2, 0.8, **old), night(3, None), night(4, 0.4, **new)]
    [row] = back(*lines, night(5, 0.4, **new)).rows
    assert row.first_bad is not None
    assert (row.first_bad.last_good, row.first_bad.night) == ("n2", "n4")
    assert (row.first_bad.before, row.first_bad.after) == pytest.approx((0.8, 0.4))
    assert row.first_bad.cause == cause


def test_where_less_is_better_levels_are_told_as_they_are() -> None:
    lines = [night(i, mean, higher_is_better=False) for i, mean in enumerate((0.1, 0.1, 0.6), 1)]
    [row] = back(*lines).rows
    assert row.first_bad
    assert (row.first_bad.before, row.first_bad.after) == pytest.approx((0.1, 0.6))


def test_everything_is_in_the_json() -> None:
    wrong = [{"rule": "last_good", "against": "n1", "points": -12.34, "p_corrected": 0.001}]
    found = back(night(1, 0.8), night(2, None), night(3, 0.3, regressions=wrong), broken=2)
    told = json.loads(json.dumps(found.as_dict()))
    assert told["broken_lines"] == 2
    assert told["nights"][1]["failed"] == ["iha on t: exit code 5"]
    assert told["nights"][2]["regressions"] == ["t m: -12.3 points against n1"]
    [series] = told["series"]
    assert (series["model"], series["task"], series["metric"]) == ("iha", "t", "m")
    assert [one["night"] for one in series["nights"]] == ["n1", "n2", "n3"]
    assert [one["failed"] for one in series["nights"]] == [False, True, False]
    assert series["first_bad"]["night"] == "n3"
    assert series["steps"][0]["previous"] == 0
    assert (series["version"], series["current"], series["watched"]) == (1, True, True)
