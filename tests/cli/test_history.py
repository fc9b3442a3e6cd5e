"""`iha-eval history`: the table, sentences, JSON, accepting a night, mistakes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from iha_eval.cli import main
from iha_eval.nightly.history import History, HistoryEntry, RecordedDrop


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "history").mkdir()
    return History(Path("history"))


def night(history: History, number: int, mean: float | None, **changes: Any) -> None:
    line = {
        "date": f"2026-03-{number:02d}T02:00:00+00:00",
        "model": "iha",
        "task": "ruler_mk",
        "metric": "string_match",
        "mean": mean,
        "se": 0.01,
        "entries": ("ruler_mk",),
        "watched": True,
        "fingerprint": "f" * 64,
        "commit": None,
        "regressions": (),
        "failed": mean is None,
        **changes,
    }
    history.record(f"2026-03-{number:02d}", [HistoryEntry(**line)])


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["history", *arguments]) == 0
    return capsys.readouterr().out


def rows(printed: str) -> list[list[str]]:
    """The table's fields; two spaces or more part them."""
    lines = [line.strip() for line in printed.splitlines()]
    if not any(line.startswith("benchmark ") for line in lines):
        return []
    start = next(i for i, line in enumerate(lines) if line.startswith("──"))
    table = lines[start + 1 : lines.index("", start)]
    return [re.split(r"  +", line) for line in table]


def test_a_step_down_is_shown_with_what_changed(
    history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, mean in enumerate((0.8, 0.8, None, 0.6, 0.6), 1):
        night(history, number, mean, commit=f"{number}" * 40, reason="exit code 5")
    printed = shown(capsys, "history")
    [row] = rows(printed)
    assert row == [
        *("ruler_mk", "string_match", "iha", "4 + 1 failed", "60.0 ± 1.0", "2026-03-04", "██·▁▁")
    ]
    assert "history: 5 nights" in printed
    sentences = printed.splitlines()[-2:]
    assert sentences[0].startswith(
        "ruler_mk string_match, iha: bad since 2026-03-04, 80.0% -> 60.0% (p = "
    )
    assert sentences[0].endswith("; last good 2026-03-02; commits 222222222222..444444444444")
    assert sentences[1] == "night 2026-03-03 lacks iha on ruler_mk: exit code 5"


def test_other_steps_and_regressions_are_told(
    history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = RecordedDrop("last_good", "2026-03-01", -30.0, 1e-9)
    for number, mean in enumerate((0.8, 0.8, 0.5, 0.9, 0.9), 1):
        night(history, number, mean, regressions=(wrong,) if number == 3 else ())
    printed = shown(capsys, "history")
    assert rows(printed)[0][-2] == "-"
    assert "ruler_mk string_match, iha: step on 2026-03-03, 80.0% -> 50.0% (p = " in printed
    assert "ruler_mk string_match, iha: step on 2026-03-04, 50.0% -> 90.0% (p = " in printed
    what = "ruler_mk string_match of iha: -30.0 points against 2026-03-01"
    regressed = f"night 2026-03-03 regressed: {what}"
    assert regressed in printed
    assert regressed not in shown(capsys, "history", "--accept", "2026-03-03")


def test_what_was_not_judged_is_told_in_few_lines_and_what_stands(
    history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = RecordedDrop("baseline", "baseline", -20.0, 0.001)
    line = {
        "date": "2026-03-01T02:00:00+00:00",
        "model": "iha",
        "metric": "m",
        "mean": 0.5,
        "se": 0.1,
        "watched": True,
        "not_judged": {"last_good": "other settings", "baseline": "no result"},
    }
    entries = [HistoryEntry(task="a", baseline=worse, **line), HistoryEntry(task="b", **line)]
    history.record("n", entries)
    standing = "a m of iha is 20.0 points worse than the baseline since the night n"
    assert shown(capsys, "history").splitlines()[-4:] == [
        "night n did not judge a m of iha against its baseline: no result",
        "night n did not judge a m of iha against an earlier night: other settings",
        "night n did not judge 2 more (see --json)",
        standing,
    ]
    assert f"{standing}, accepted" in shown(capsys, "history", "--accept", "n")
    told = json.loads(shown(capsys, "history", "--json"))
    assert len(told["nights"][0]["not_judged"]) == 4


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_nights(count: int, history: History, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(count):
        night(history, number + 1, 0.5)
    printed = shown(capsys, "history")
    assert len(rows(printed)) == (1 if count else 0)
    if not count:
        assert printed == "history: 0 nights, no results\n"


def test_only_failed_nights(history: History, capsys: pytest.CaptureFixture[str]) -> None:
    night(history, 1, None, metric=None, reason="exit code 1")
    printed = shown(capsys, "history")
    assert printed.splitlines() == [
        "history: 1 night, no results",
        "night 2026-03-01 lacks iha on ruler_mk: exit code 1",
    ]


def test_all_shows_what_is_not_watched_and_older_questions(
    history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    night(history, 1, 0.5, documents="a")
    night(history, 2, 0.7, documents="b")
    night(history, 3, 0.1, task="other", watched=False)
    assert [row[0] for row in rows(shown(capsys, "history"))] == ["ruler_mk (questions 2)"]
    assert [row[0] for row in rows(shown(capsys, "history", "--all"))] == [
        *("ruler_mk", "ruler_mk (questions 2)", "other")
    ]


def test_a_task_of_both_models_stands_together_and_no_name_is_cut(
    history: History, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = {"date": "2026-03-01T02:00:00+00:00", "metric": "m", "mean": 0.5, "se": 0.01}
    long = "b" * 70
    history.record(
        "n",
        [
            HistoryEntry(model=model, task=task, watched=True, **line)
            for model in ("iha", "baseline")
            for task in ("a", long)
        ],
    )
    found = [row[::2][:2] for row in rows(shown(capsys, "history"))]
    assert found == [["a", "iha"], ["a", "baseline"], [long, "iha"], [long, "baseline"]]
    monkeypatch.setenv("COLUMNS", "60")
    assert f"\n{long} m\n" in shown(capsys, "history")


def test_the_trend_takes_the_room_that_is_left(
    history: History, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, 29):
        night(history, number, 0.5)
    shapes = {}
    for width in (200, 80, 20):
        monkeypatch.setenv("COLUMNS", str(width))
        shapes[width] = shown(capsys, "history").count("▅")
    assert (shapes[200], shapes[20]) == (28, 4)
    assert 8 < shapes[80] < 28


def test_names_are_text(history: History, capsys: pytest.CaptureFixture[str]) -> None:
    night(history, 1, 0.5, task="[red]x[/red]", metric="[b]", model="[i]")
    assert rows(shown(capsys, "history"))[0][:3] == ["[red]x[/red]", "[b]", "[i]"]


def test_json_has_everything(history: History, capsys: pytest.CaptureFixture[str]) -> None:
    night(history, 1, 0.5)
    with history.path.open("a") as file:
        file.write("torn")
    told = json.loads(shown(capsys, "history", "--json"))
    assert (len(told["nights"]), len(told["series"]), told["broken_lines"]) == (1, 1, 1)
    assert "1 line of the history cannot be read" in shown(capsys, "history")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere is not a folder: name the one that history:"),
        (["history", "--accept", "x"], "the history history has no night 'x': it is empty"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], said: str, history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["history", *arguments])
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"iha-eval: {said}")
    assert printed.count("\n") == 1


def test_eighty_columns_are_enough_for_long_names(
    history: History, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for number in range(1, 29):
        mean = None if number == 9 else 0.8
        night(history, number, mean, task="ruler_niah_multikey_1_131072", entries=())
        entry = HistoryEntry(
            date=f"2026-03-{number:02d}T02:00:00+00:00",
            model="a-model-with-a-name-of-forty-characters-",
            task="ruler_niah_multikey_1_131072",
            metric="string_match",
            mean=0.75,
            se=0.02,
            watched=True,
        )
        history.record(f"2026-03-{number:02d}", [entry])
    printed = shown(capsys, "history")
    table = printed[: printed.index("dots: no result")]
    assert "\nruler_niah_multikey_1_131072 string_match\n" in table
    assert max(map(len, table.splitlines())) <= 80
    assert all(not line or line[0] != " " or line.count("  ") for line in table.splitlines())
