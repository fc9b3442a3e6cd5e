"""Nights that are started again: after a crash, a stop, an end that never came, or anew."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from fake_nights import BOTH, DAY, GOOD, NOON, FakeNights, recorded, report

from iha_eval.errors import UserError
from iha_eval.nightly.config import read_config
from iha_eval.nightly.history import History
from iha_eval.nightly.lock import only_one
from iha_eval.nightly.run import FINE, MISSING, REGRESSION, dry_run


def test_going_on_after_a_crash_repeats_only_what_failed(nights: FakeNights) -> None:
    nights.ask("iha", exit=5)
    assert nights.night()[0] == MISSING
    nights.ask("iha")
    code, said = nights.night(NOON + timedelta(hours=1))
    assert code == FINE
    assert nights.started() == [*BOTH, "iha: math"]
    assert "baseline on math: has its results already" in said
    assert recorded(nights) == {"2026-03-01": [("iha", "math", 0.5), ("baseline", "math", 0.5)]}
    assert len((nights.history / "history.jsonl").read_text().splitlines()) == 4
    assert report(nights)["night"]["missing"] == []


@pytest.fixture
def stopper(nights: FakeNights, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sends SIGTERM to this process as soon as one of its processes hangs."""
    nights.ask("iha", hang=True)

    def stop() -> None:
        nights.wait_for_start()
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    yield
    thread.join()


def test_a_stopped_night_is_gone_on_with(stopper: None, nights: FakeNights) -> None:
    code, said = nights.night()
    assert code == 128 + signal.SIGTERM
    assert said[-1] == "stopped by SIGTERM: the same command goes on from here"
    assert nights.started() == ["iha: math"]
    assert recorded(nights) == {}
    nights.ask("iha")
    assert nights.night(NOON + timedelta(hours=10))[0] == FINE
    assert nights.started() == ["iha: math", *BOTH]
    assert list(recorded(nights)) == ["2026-03-01"]


def test_a_night_that_was_never_finished_is_recorded_by_the_next(
    stopper: None, nights: FakeNights
) -> None:
    nights.night()
    nights.ask("iha")
    code, said = nights.night(NOON + DAY)
    assert code == FINE
    assert said[0] == "night 2026-03-01 was never finished: it is recorded as it is"
    found = recorded(nights)
    assert found["2026-03-01"] == [("iha", "math", None), ("baseline", "math", None)]
    reasons = {entry.reason for entry in History(nights.history).read().nights["2026-03-01"]}
    assert reasons == {"it left no whole results"}
    assert nights.night(NOON + 2 * DAY)[1][0].startswith("night 2026-03-03 in ")


def die(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_regressions_of_a_night_that_was_never_finished_are_told(
    nights: FakeNights, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights.ask("iha", right=[0.0] * 40)
    nights.ask("baseline", right=[1.0] * 40)
    # Killed after its runs twice: by then the first one is recorded, and nobody was told.
    with monkeypatch.context() as killed:
        killed.setattr("iha_eval.nightly.run._close", die)
        for day in (0, 1):
            with pytest.raises(KeyboardInterrupt):
                nights.night(NOON + day * DAY)
    code, said = nights.night(NOON + 2 * DAY)
    assert code == REGRESSION
    [sentence] = [one for one in said if one.startswith("night 2026-03-01, which")]
    start = "night 2026-03-01, which was never finished: REGRESSION: math p@1 of iha is 100.0 "
    assert sentence.startswith(start)
    told = report(nights, "2026-03-03")
    assert sentence in told["warnings"]
    assert sentence in told["night"]["regressions"]
    assert said[-1] == "exit code 1: a regression, see above and in the report"
    assert any(one.startswith("STANDING: ") for one in said)
    # Told once is enough.
    assert nights.night(NOON + 3 * DAY)[0] == FINE


def test_a_red_night_is_red_when_it_is_started_again(nights: FakeNights) -> None:
    nights.ask("iha", right=[0.0] * 40)
    nights.ask("baseline", right=[1.0] * 40)
    assert nights.night()[0] == REGRESSION
    code, said = nights.night(NOON + timedelta(hours=1))
    assert (code, said[0].split()[1]) == (REGRESSION, "2026-03-01.2")
    assert nights.night(NOON + DAY)[0] == FINE


def test_a_second_start_is_refused_and_changes_nothing(nights: FakeNights) -> None:
    with only_one(nights.history, "now"), pytest.raises(UserError, match="another night is under"):
        nights.night()
    assert nights.starts() == []
    assert not nights.output.exists()


def test_fresh_repeats_a_night_and_keeps_what_it_had(nights: FakeNights) -> None:
    nights.night()
    nights.ask("iha", right=GOOD)
    code, said = nights.night(NOON + timedelta(hours=1), fresh=True)
    assert code == FINE
    old = nights.output / "2026-03-01-replaced-1"
    assert said[0] == f"what night 2026-03-01 had so far is kept in {old}"
    assert (old / "report.json").exists()
    assert recorded(nights) == {"2026-03-01": [("iha", "math", 0.75), ("baseline", "math", 0.5)]}
    assert len((nights.history / "history.jsonl").read_text().splitlines()) == 4


def test_a_dry_run_shows_and_touches_nothing(nights: FakeNights) -> None:
    def shown(**options: Any) -> list[str]:
        return list(dry_run(read_config(nights.file), NOON, **options))

    lines = shown()
    assert lines[0] == f"night 2026-03-01 in {nights.output / '2026-03-01'}"
    assert [line[:7] for line in lines[1:]] == ["to do $"] * 2
    assert not nights.output.exists()
    assert not nights.history.exists()
    nights.ask("baseline", exit=5)
    nights.night()
    assert [line[:5] for line in shown()[1:]] == ["done ", "to do"]
    assert [line[:5] for line in shown(fresh=True)[1:]] == ["to do"] * 2


def test_a_night_under_way_says_how_far_it_is(
    nights: FakeNights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iha_eval.nightly.run._EVERY", 0.0)
    nights.ask("baseline", hang=True, say="answers: 40% token=geheim")
    file = nights.output / "2026-03-01" / "progress.txt"
    texts: list[str] = []

    def release() -> None:
        nights.wait_for_start(2)
        for _ in range(600):
            texts.append(file.read_text())
            if "40%" in texts[-1]:
                break
            time.sleep(0.02)
        nights.ask("baseline")

    watcher = threading.Thread(target=release)
    watcher.start()
    nights.night()
    watcher.join()
    first, iha, baseline = texts[-1].splitlines()
    assert first == "1 of 2 runs have ended"
    assert iha.startswith("iha/1-math: done in ")
    assert baseline.startswith("baseline/1-math: running since ")
    assert baseline.endswith("; answers: 40% token=***")
    assert file.read_text().startswith("2 of 2 runs have ended\n")
