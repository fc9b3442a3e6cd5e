"""Which night a start is about, and what of it is done."""

import contextlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fake_nights import NOON, FakeNights
from lm_eval_runs import FakeTask, lines, samples_file, write_run

from iha_eval.errors import UserError
from iha_eval.nightly.config import read_config
from iha_eval.nightly.night import (
    STATE,
    Job,
    Night,
    State,
    nights_in,
    open_night,
    plan,
    results_of,
    set_aside,
)


def jobs(nights: FakeNights, **changes: object) -> list[Job]:
    return plan(read_config(nights.configure(**changes)))


def opened(
    nights: FakeNights, todo: Sequence[Job], hours: float = 0, *, fresh: bool = False
) -> tuple[Night, list[str]]:
    now = NOON + timedelta(hours=hours)
    night, left = open_night(nights.output, todo, now, fresh=fresh)
    return night, [old.id for old in left]


def test_the_first_night(nights: FakeNights) -> None:
    todo = jobs(nights)
    night, left = opened(nights, todo)
    assert (night.id, night.state, left) == ("2026-03-01", "running", [])
    assert [part.folder for part in night.parts] == ["iha/1-math", "baseline/1-math"]
    # Looking writes nothing.
    assert not nights.output.exists()
    night.put("running")
    assert nights_in(nights.output) == [night]


@pytest.mark.parametrize(
    ("state", "hours", "name"),
    [
        ("running", 0.1, "2026-03-01"),
        ("running", 13, "2026-03-01"),
        ("failed", 1, "2026-03-01"),
        ("running", 21, "2026-03-02"),
        ("failed", 24, "2026-03-02"),
        ("unreported", 1, "2026-03-01"),
        ("unreported", 21, "2026-03-02"),
        ("finished", 1, "2026-03-01.2"),
        ("finished", 24, "2026-03-02"),
        ("given up", 1, "2026-03-01.2"),
    ],
)
def test_an_unfinished_night_is_gone_on_with_until_the_next(
    state: State, hours: float, name: str, nights: FakeNights
) -> None:
    todo = jobs(nights)
    opened(nights, todo)[0].put(state)
    night, left = opened(nights, todo, hours)
    assert night.id == name
    never_ended = state == "running" and name != "2026-03-01"
    assert left == (["2026-03-01"] if never_ended else [])


def test_other_commands_are_another_night(nights: FakeNights) -> None:
    opened(nights, jobs(nights))[0].put("running")
    night, left = opened(nights, jobs(nights, tasks=["math", "more"]), 1)
    assert (night.id, left) == ("2026-03-01.2", ["2026-03-01"])


def test_fresh_repeats_the_newest_night_of_the_day(nights: FakeNights) -> None:
    todo = jobs(nights)
    assert opened(nights, todo, fresh=True)[0].id == "2026-03-01"
    opened(nights, todo)[0].put("finished")
    again, _ = opened(nights, todo, 2, fresh=True)
    assert again.id == "2026-03-01"
    assert again.begun == NOON + timedelta(hours=2)
    assert opened(nights, todo, 24, fresh=True)[0].id == "2026-03-02"


def test_fresh_does_not_give_up_what_it_repeats(nights: FakeNights) -> None:
    todo = jobs(nights)
    opened(nights, todo)[0].put("running")
    assert opened(nights, todo, 1, fresh=True) == (
        opened(nights, todo, 1, fresh=True)[0],
        [],
    )


def test_setting_aside_throws_nothing_away(nights: FakeNights) -> None:
    night, _ = opened(nights, jobs(nights))
    assert set_aside(night) is None
    for number in (1, 2):
        night.put("running")
        (night.folder / "kept.txt").write_text(str(number))
        place = set_aside(night)
        assert place == nights.output / f"2026-03-01-replaced-{number}"
        assert (place / "kept.txt").read_text() == str(number)
    assert nights_in(nights.output) == []


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"id": "x", "started": "2026-01-01T00:00:00", "parts": []}']
)
def test_what_is_no_night_is_passed_over(text: str, nights: FakeNights) -> None:
    night, _ = opened(nights, jobs(nights))
    night.put("finished")
    entry = json.loads((night.folder / STATE).read_text())
    other = nights.output / "other"
    other.mkdir()
    # The last one lacks only its time zone.
    text = json.dumps({**entry, "started": "2026-01-01T00:00:00"}) if "started" in text else text
    (other / STATE).write_text(text)
    assert [one.id for one in nights_in(nights.output)] == ["2026-03-01"]


def test_a_folder_that_cannot_be_written(nights: FakeNights) -> None:
    nights.output.write_text("")
    with pytest.raises(UserError, match=r"nights/2026-03-01 cannot be written \(Not a directory\)"):
        opened(nights, jobs(nights))[0].put("running")


RUN = {"a": FakeTask(lines("m", [1.0])), "b": FakeTask(lines("m", [0.0]))}


def test_results_count_with_all_their_samples(tmp_path: Path) -> None:
    assert results_of(tmp_path / "none") is None
    file = write_run(tmp_path, RUN)
    assert results_of(tmp_path) == file
    samples = samples_file(file, "b")
    whole = samples.read_bytes()
    for broken in (whole[:-1], whole[:10], b""):
        samples.write_bytes(broken)
        assert results_of(tmp_path) is None
    samples.unlink()
    assert results_of(tmp_path) is None
    later = write_run(tmp_path, RUN, stamp="2026-01-02T03-04-06.5")
    assert results_of(tmp_path) == later


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"configs": 3}', '{"configs": {}}'])
def test_results_that_are_not_whole(text: str, tmp_path: Path) -> None:
    older = write_run(tmp_path, RUN)
    broken = older.with_name("results_2026-09-09T09-09-09.5.json")
    broken.write_text(text)
    assert results_of(tmp_path) == older


def test_the_clock_of_the_user_counts(nights: FakeNights) -> None:
    east = datetime.fromisoformat("2026-03-02T01:00:00+09:00")
    night, _ = open_night(nights.output, jobs(nights), east)
    assert (night.id, night.started) == ("2026-03-02", "2026-03-02T01:00:00+09:00")


def test_a_night_of_the_future_is_not_gone_on_with_and_hides_none(nights: FakeNights) -> None:
    todo = jobs(nights)
    ahead, _ = opened(nights, todo, hours=72_000)
    ahead.put("running")
    night, left = opened(nights, todo)
    night.put("running")
    again, _ = opened(nights, todo, hours=1)
    assert (again.id, left) == (night.id, [])
    assert night.id != ahead.id


@pytest.mark.parametrize("name", ["pretrained", "tokenizer"])
@pytest.mark.parametrize("value", [{"a": 1}, ["gpt2"], [], 1.5, True], ids=str)
def test_a_checkpoint_that_is_no_text_is_refused_before_the_night(
    name: str, value: object, nights: FakeNights
) -> None:
    model = {"model_args": {"pretrained": "gpt2"}}
    models = {"iha": {"model_args": {"pretrained": "gpt2", name: value}}, "baseline": model}
    with pytest.raises(UserError, match=f"{name} .* is no name and no path"):
        jobs(nights, models=models)


@pytest.mark.parametrize(
    ("pretrained", "fit"),
    [("gpt2", True), ("org/name", True), ("a/b/c", False), ("./x", False), ("/no/such", False)],
)
def test_a_checkpoint_that_is_nowhere_is_refused_before_the_night(
    pretrained: str, fit: bool, nights: FakeNights
) -> None:
    models = {
        name: {"model_args": {"pretrained": value}}
        for name, value in (("iha", pretrained), ("baseline", "gpt2"))
    }
    with contextlib.nullcontext() if fit else pytest.raises(UserError, match="is no folder or"):
        jobs(nights, models=models)
    if pretrained == "a/b/c":
        (nights.folder / "a" / "b" / "c").mkdir(parents=True)
        jobs(nights, models=models)
