"""The history on disk: nothing is lost, nothing counts twice, torn lines do no harm."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from iha_eval.errors import UserError
from iha_eval.nightly.history import History, HistoryEntry, RecordedDrop, score_key

DROP = RecordedDrop("last_good", "n", -5.0, 0.01)


def lines(day: int, *means: float, model: str = "iha", **more: Any) -> list[HistoryEntry]:
    date = f"2026-03-{day:02d}T02:00:00+00:00"
    return [
        HistoryEntry(date, model, f"t{number}", "m", mean=mean, se=0.1, **more)
        for number, mean in enumerate(means)
    ]


def means(history: History) -> dict[str, list[float]]:
    return {
        name: [entry.mean for entry in entries] for name, entries in history.read().nights.items()
    }


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history")


def test_a_history_begins_empty(history: History) -> None:
    assert (history.read().nights, history.read().broken) == ({}, 0)
    assert not history.folder.exists()


def test_nights_come_back_in_order_of_time(history: History) -> None:
    history.record("b", lines(9, 0.9))
    history.record("a", lines(10, 0.1, 0.2))
    history.record("c", lines(1, 0.3))
    assert means(history) == {"c": [0.3], "b": [0.9], "a": [0.1, 0.2]}


def test_a_repeated_night_counts_once_and_its_first_lines_stay(history: History) -> None:
    history.record("a", lines(1, 0.1, 0.2))
    history.record("b", lines(2, 0.5))
    history.record("a", lines(1, 0.3))
    assert means(history) == {"a": [0.3], "b": [0.5]}
    assert len(history.path.read_text().splitlines()) == 4


@pytest.mark.parametrize("cut", [1, 20, 150, -1], ids=["byte", "line", "more", "line feed"])
def test_a_batch_that_was_cut_off_does_not_hide_the_one_before(history: History, cut: int) -> None:
    history.record("a", lines(1, 0.1, 0.2))
    size = history.path.stat().st_size
    history.record("a", lines(1, 0.8, 0.9))
    whole = history.path.stat().st_size
    os.truncate(history.path, size + cut if cut > 0 else whole - 1)
    # With all but its line feed the last line is whole.
    assert means(history) == {"a": [0.1, 0.2] if cut > 0 else [0.8, 0.9]}
    history.record("b", lines(2, 0.5))
    history.record("a", lines(1, 0.6, 0.7))
    assert means(history) == {"a": [0.6, 0.7], "b": [0.5]}
    assert history.read().broken == (1 if cut > 0 else 0)


def test_a_first_batch_that_was_cut_off_is_better_than_nothing(history: History) -> None:
    history.record("a", lines(1, 0.1, 0.2))
    os.truncate(history.path, history.path.stat().st_size - 10)
    assert means(history) == {"a": [0.1]}


def test_any_length_of_a_torn_file_can_be_read_and_added_to(history: History) -> None:
    history.record("a", lines(1, 0.1))
    history.record("b", lines(2, 0.2))
    data = history.path.read_bytes()
    for length in range(0, len(data), 9):
        history.path.write_bytes(data[:length])
        history.record("c", lines(3, 0.3))
        found = means(history)
        assert found["c"] == [0.3]
        assert found.get("a") == ([0.1] if length >= data.index(b"\n") else None)


@pytest.mark.parametrize(
    "junk",
    [
        b"\xff\xfe",
        b"null",
        b"[1]",
        b'{"history": 3}',
        b'{"history": 1, "night": "x"}',
        b"[" * 100_000,
        b'{"history": 1, "night": "x", "date": "2026-01-01", "batch": 1, "lines": 1}',
        b'{"history": 1, "night": "x", "date": "2026-01-01T00:00:00+00:00", "batch": 1, "lines": 1,'
        b' "model": "iha", "task": "t", "metric": "m", "se": 0.1}',
        b'{"history": 1, "night": "x", "date": "2026-01-01T00:00:00+00:00", "batch": 1, "lines": 1,'
        b' "model": "iha", "task": "t", "metric": "m", "mean": 0.5, "se": null}',
        b'{"history": 1, "accept": "a", "batch": "first"}',
    ],
    ids=[
        *("no text", "null", "list", "other format", "no batch", "deep", "no time zone"),
        *("no mean", "no error", "batch that is none"),
    ],
)
def test_lines_that_say_nothing_are_counted(junk: bytes, history: History) -> None:
    history.record("a", lines(1, 0.1))
    with history.path.open("ab") as file:
        file.write(junk + b"\n\n")
    history.record("b", lines(2, 0.2))
    assert means(history) == {"a": [0.1], "b": [0.2]}
    assert history.read().broken == 1


# Adds nights until it is killed.
WRITER = """
import pathlib, sys
from iha_eval.nightly.history import History, HistoryEntry
history = History(pathlib.Path(sys.argv[1]))
for number in range(100000):
    entry = HistoryEntry(
        "2026-03-01T02:00:00+00:00", "iha", "t", "m", mean=number / 1e6, se=0, name="x" * 5000
    )
    history.record(f"n{number}", [entry] * 3)
    print(number, flush=True)
"""


def test_a_kill_loses_nothing_that_was_recorded(history: History) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(history.folder)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout
    for _ in range(20):
        last = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    last = max([last, *map(int, writer.stdout.read().split())])
    writer.wait()
    found = means(history)
    for number in range(last + 1):
        assert found[f"n{number}"] == [number / 1e6] * 3


def test_scores_stay_with_their_batch(history: History) -> None:
    key = score_key("iha", "t0", "m")
    history.record("a", lines(1, 0.5), {key: [1.0, 0.0, None]})
    old = history.read().nights["a"][0]
    history.record("a", lines(1, 0.5), {key: [0.0, 1.0, 1.0]})
    assert history.scores(history.read().nights["a"][0]) == [0.0, 1.0, 1.0]
    assert history.scores(old) == [1.0, 0.0, None]
    assert history.scores(replace(old, metric="other")) is None
    assert history.scores(replace(old, night="other")) is None
    [first, _] = sorted((history.folder / "scores").iterdir())
    first.write_bytes(first.read_bytes()[:-5])
    assert History(history.folder).scores(old) is None


def test_what_a_hash_stands_for_is_kept_once(history: History) -> None:
    assert history.lookup("a" * 64) is None
    history.keep("a" * 64, ["é", 1])
    [path] = (history.folder / "known").iterdir()
    written = path.stat().st_mtime_ns
    history.keep("a" * 64, ["é", 1])
    assert (history.lookup("a" * 64), path.stat().st_mtime_ns) == (["é", 1], written)
    data = path.read_bytes()
    # A bit that has turned in the packed part, and one that is cut off.
    for broken in (data[:10] + bytes([data[10] ^ 255]) + data[11:], data[:-5], b"{"):
        path.write_bytes(broken)
        assert History(history.folder).lookup("a" * 64) is None
    assert history.lookup(None) is None


def test_accepting_a_night_takes_its_regressions_away(history: History) -> None:
    history.record("a", lines(1, 0.5, regressions=(DROP,)))
    history.record("b", lines(2, 0.5, regressions=(DROP,)))
    history.accept("a")
    found = history.read().nights
    assert (found["a"][0].regressions, found["a"][0].accepted) == ((), True)
    assert not found["b"][0].accepted
    assert found["b"][0].regressions == (DROP,)
    with pytest.raises(UserError, match="has no night 'c': the last ones are a, b"):
        history.accept("c")
    with pytest.raises(UserError, match="has no night 'a': it is empty"):
        History(history.folder / "other").accept("a")


def test_what_was_accepted_is_what_was_there(history: History) -> None:
    history.record("a", lines(1, 0.5, regressions=(DROP,)))
    history.accept("a")
    history.record("a", lines(1, 0.1, regressions=(DROP,)))
    [line] = history.read().nights["a"]
    assert (line.accepted, len(line.regressions)) == (False, 1)
    history.accept("a")
    assert history.read().nights["a"][0].accepted


def test_an_acceptance_without_a_batch_is_of_what_was_recorded_before_it(history: History) -> None:
    history.record("a", lines(1, 0.5))
    with history.path.open("a") as file:
        file.write('{"history": 1, "accept": "a"}\n')
    assert history.read().nights["a"][0].accepted
    history.record("a", lines(1, 0.1))
    assert not history.read().nights["a"][0].accepted


def test_a_failed_run_needs_no_numbers(history: History) -> None:
    [entry] = lines(1, 0.5, failed=True)
    history.record("a", [replace(entry, metric=None, mean=None, se=None)])
    assert history.read().nights["a"][0].failed


def test_reports_are_kept_and_replaced(history: History, tmp_path: Path) -> None:
    made = tmp_path / "night"
    made.mkdir()
    for text in ("one", "two", "two"):
        (made / "report.md").unlink(missing_ok=True)
        (made / "report.md").write_text(text)
        for _ in range(2):
            [kept] = history.keep_report("a", made)
            assert kept == history.folder / "reports" / "a" / "report.md"
            assert kept.read_text() == text
    assert [path.name for path in kept.parent.iterdir()] == ["report.md"]


def test_where_links_cannot_be_made_reports_are_copied(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("another disk")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    (tmp_path / "report.json").write_text("{}")
    [kept] = history.keep_report("a", tmp_path)
    assert kept.read_text() == "{}"
    assert kept.stat().st_nlink == 1


def test_what_cannot_be_written_or_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    blocked = History(tmp_path / "file")
    with pytest.raises(UserError, match="cannot be read"):
        blocked.record("a", lines(1, 0.5))
    with pytest.raises(UserError, match="cannot be written"):
        blocked.keep("a" * 64, [])
    with pytest.raises(UserError, match="cannot be written"):
        blocked.keep_report("a", tmp_path)
    folder = History(tmp_path)
    folder.path.mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        folder.read()


def test_full_disks_are_said(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    history.record("a", lines(1, 0.5, regressions=()))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("iha_eval.nightly.history.os.write", full)
    for act in (lambda: history.record("b", lines(2, 0.5)), lambda: history.accept("a")):
        with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
            act()
    assert means(history) == {"a": [0.5]}


def test_a_line_is_json_on_its_own(history: History) -> None:
    history.record("a", lines(1, 0.5, name="été \ud800"))
    [line] = history.path.read_text().splitlines()
    written = json.loads(line)
    assert (written["history"], written["mean"], written["name"]) == (2, 0.5, "été \ud800")
    assert set(written) == {"history", *(each.name for each in fields(HistoryEntry))} - {"accepted"}
    [entry] = history.read().nights["a"]
    assert entry == replace(lines(1, 0.5)[0], night="a", name="été \ufffd")
