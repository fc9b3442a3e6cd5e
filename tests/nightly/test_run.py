"""Whole nights, with real processes: going on, crashes, regressions, exit codes, the report."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import fake_nights
import jsonschema
import pytest
from fake_nights import BAD, BOTH, DAY, GOOD, NOON, FakeNights, recorded, report

from iha_eval.nightly.history import History
from iha_eval.nightly.run import FINE, MISSING, REGRESSION
from tools.report_schema import FILE

FIRST_NIGHT = "Nothing was held against an earlier night: there is no earlier night with a result."


def test_a_fine_night(nights: FakeNights) -> None:
    nights.ask("iha", right=GOOD)
    nights.ask("baseline", right=[1.0, 0.0] * 30)
    code, said = nights.night()
    assert code == FINE
    assert nights.started() == BOTH
    folder = nights.output / "2026-03-01"
    assert [str(folder / f"report.{kind}") for kind in ("html", "md", "json")] == said[-4:-1]
    assert said[-1] == "exit code 0: no regression, and nothing is missing"
    assert recorded(nights) == {"2026-03-01": [("iha", "math", 0.75), ("baseline", "math", 0.5)]}
    found = report(nights)
    assert found["title"].endswith(", night 2026-03-01")
    assert found["tables"][0]["rows"][0]["iha"] == 0.75
    assert [one["label"] for one in found["trend"]] == ["math, IHA", "math, baseline"]
    assert all(check["against"] == "baseline" for check in found["night"].pop("checks"))
    assert found["night"] == {
        "id": "2026-03-01",
        "started": "2026-03-01T12:00:00+00:00",
        "regressions": [],
        "missing": [],
        "not_judged": [],
        "standing": [],
        "remarks": [FIRST_NIGHT],
    }
    [difference] = found["trend_differences"]
    assert (difference["task"], difference["metric"]) == ("math", "p@1")
    [gap] = difference["nights"]
    assert (gap["points"], gap["n"]) == (25.0, 60)
    assert gap["low"] < 25 < gap["high"] < 45
    jsonschema.validate(found, json.loads(FILE.read_text(encoding="utf-8")))
    assert FIRST_NIGHT in said
    assert FIRST_NIGHT in found["warnings"]
    assert (nights.output / "latest" / "report.md").samefile(folder / "report.md")
    kept = nights.history / "reports" / "2026-03-01"
    assert sorted(path.name for path in kept.iterdir()) == [
        *("report.html", "report.json", "report.md")
    ]
    assert "last words" in (folder / "iha" / "1-math.log").read_text()


def test_lines_of_the_history_say_where_a_number_comes_from(nights: FakeNights) -> None:
    nights.night()
    line = History(nights.history).read().nights["2026-03-01"][0]
    assert {name: getattr(line, name) for name in ("date", "metric", "n", "left_out", "name")} == {
        "date": "2026-03-01T12:00:00+00:00",
        "metric": "p@1",
        "n": 40,
        "left_out": 0,
        "name": "models/iha",
    }
    assert line.fingerprint == "f" * 64
    assert line.versions["vllm"] == "0.32.0"
    assert line.se == pytest.approx(0.0754, abs=0.0001)
    assert len(line.command) == len(line.documents) == len(line.settings) == 64
    assert line.watched is True


def test_each_night_is_a_night(nights: FakeNights) -> None:
    for number in range(3):
        assert nights.night(NOON + number * DAY)[0] == FINE
    assert nights.night(NOON + 2 * DAY + DAY / 24)[0] == FINE
    assert list(recorded(nights)) == ["2026-03-01", "2026-03-02", "2026-03-03", "2026-03-03.2"]
    assert len(nights.starts()) == 8
    latest = nights.output / "latest"
    assert latest.readlink() == Path("2026-03-03.2")
    assert len(report(nights, "2026-03-03.2")["trend"][0]["nights"]) == 4


@pytest.mark.parametrize("broken", ["iha", "baseline"])
def test_a_crash_of_one_model_leaves_the_other(broken: str, nights: FakeNights) -> None:
    nights.ask(broken, exit=5)
    code, said = nights.night()
    assert code == MISSING
    assert nights.started() == BOTH
    log = nights.output / "2026-03-01" / broken / "1-math.log"
    failed = said.index(f"{broken} on math: FAILED (exit code 5); the end of {log}:")
    assert said[failed + 1 : failed + 3] == ["  | progress 100%", f"  | last words of {broken}"]
    sentence = f"MISSING: the run of {broken} on math (exit code 5)."
    assert sentence in said
    found = report(nights)
    notes = [
        "NOT JUDGED against its baseline: math p@1 of iha: the baseline has no such result.",
        FIRST_NIGHT,
    ]
    assert found["warnings"] == [sentence, *(notes if broken == "baseline" else [])]
    assert found["title"] == "Night 2026-03-01, without a comparison"
    assert (found["tables"], found["paired"]) == ([], False)
    pairing = found["provenance"]["pairing"]
    assert (pairing["tasks_not_compared"], pairing["hashes"]) == (["math"], "not compared")
    assert found["models"][broken]["name"].endswith("(no run)")
    other = "iha" if broken == "baseline" else "baseline"
    assert found["models"][other]["fingerprint"] == "f" * 64
    assert found["models"][other]["dtype"] == "bfloat16"
    assert found["models"][other]["documents"] is None
    said_in_short = (nights.output / "2026-03-01" / "report.md").read_text()
    assert "**NOT COMPARED**: math" in said_in_short
    assert "disagree" not in said_in_short
    assert [one["label"] for one in found["trend"]] == [
        f"math, {'IHA' if other == 'iha' else other}"
    ]
    assert sorted(recorded(nights)["2026-03-01"]) == sorted(
        [(broken, "math", None), (other, "math", 0.5)]
    )


def test_both_models_missing(nights: FakeNights) -> None:
    nights.ask("iha", exit=1)
    nights.ask("baseline", exit=2)
    code, _ = nights.night()
    assert code == MISSING
    found = report(nights)
    assert len(found["warnings"]) == 2
    assert found["trend"] is None


def test_results_without_samples_are_no_results(nights: FakeNights) -> None:
    nights.ask("iha", cut=True)
    code, said = nights.night()
    assert code == MISSING
    assert any("FAILED (it ended without results)" in line for line in said)
    nights.ask("iha")
    assert nights.night(NOON + timedelta(hours=1))[0] == FINE


def test_samples_that_cannot_be_read_are_a_missing_run(nights: FakeNights) -> None:
    nights.ask("iha", exit=5)
    nights.night()
    [samples] = (nights.output / "2026-03-01" / "baseline").rglob("samples_*")
    samples.write_text("junk\n")
    code, said = nights.night()
    assert code == MISSING
    [sentence] = [line for line in said if line.startswith("MISSING: the run of baseline")]
    assert "has no line that can be read" in sentence


def test_a_task_that_one_model_lacks_is_left_out_of_the_comparison(nights: FakeNights) -> None:
    nights.configure(tasks=["math", {"task": "more", "limit": 3}])
    nights.ask("baseline", exit=5, tasks=["more"])
    assert nights.night()[0] == MISSING
    found = report(nights)
    assert [table["rows"][0]["task"] for table in found["tables"]] == ["math"]
    assert "MISSING: the run of baseline on more (exit code 5)." in found["warnings"]
    nights.ask("baseline")
    assert nights.night()[0] == FINE
    found = report(nights)
    assert {row["task"] for table in found["tables"] for row in table["rows"]} == {"math", "more"}
    assert found["night"]["missing"] == []


def test_a_regression_against_the_last_good_night(nights: FakeNights) -> None:
    nights.configure(regression={"baseline": False})
    nights.ask("iha", right=GOOD)
    assert nights.night()[0] == FINE
    nights.ask("iha", right=BAD)
    for day in (1, 2):
        code, said = nights.night(NOON + day * DAY)
        assert code == REGRESSION
        [sentence] = [line for line in said if line.startswith("REGRESSION: ")]
        start = "math p@1 of iha is 33.3 points worse since the night 2026-03-02 than on the good "
        assert start in sentence
    found = report(nights, "2026-03-03")
    assert found["warnings"][0] == sentence
    assert found["night"]["regressions"] == [sentence]
    [iha, _] = found["trend"]
    assert iha["first_bad"] == 1
    nights.ask("iha", right=GOOD)
    assert nights.night(NOON + 3 * DAY)[0] == FINE


def test_a_drop_is_confirmed_by_a_second_run(nights: FakeNights) -> None:
    """What the second run measures counts."""
    for second, expected in ((BAD, REGRESSION), (GOOD, FINE)):
        nights.configure(
            regression={"baseline": False, "confirm": True},
            output=f"{expected}",
            history=f"h{expected}",
        )
        nights.ask("iha", right=GOOD)
        assert nights.night()[0] == FINE
        nights.ask("iha", right=[BAD, second])
        code, said = nights.night(NOON + DAY)
        assert "iha on math shows a new drop: run again to confirm it" in said
        assert code == expected, said
    entry = History(nights.folder / f"h{FINE}").read().nights["2026-03-02"][0]
    assert entry.mean == pytest.approx(45 / 60)


def test_a_green_night_says_its_scores_and_what_it_was_held_against(nights: FakeNights) -> None:
    nights.night()
    code, said = nights.night(NOON + DAY)
    assert code == FINE
    assert "iha: math p@1 50.0% of 40" in said
    assert "compared with 2026-03-01, the baseline: nothing new is worse" in said


def test_the_error_budget_is_said(nights: FakeNights) -> None:
    [said] = [line for line in nights.night()[1] if line.startswith("error budget: ")]
    assert said == (
        "error budget: 0.5 false alarms in 30 nights over 2 watches, so an alarm takes z = 2.75"
    )


def test_a_regression_against_the_baseline_tells_more_than_a_missing_run(
    nights: FakeNights,
) -> None:
    nights.configure(tasks=["math", {"task": "more", "limit": 3}])
    nights.ask("iha", right=BAD, exit=5, tasks=["more"])
    nights.ask("baseline", right=GOOD)
    code, said = nights.night()
    assert code == REGRESSION
    assert any("33.3 points worse than the baseline" in line for line in said)


def test_runs_that_cannot_be_compared(nights: FakeNights) -> None:
    """More questions on one side: a setting of the task, so nothing can be paired."""
    nights.configure(models=two_models("--seed"))
    code, said = nights.night()
    assert code == FINE, said
    nights.ask("iha", right={"math": [1.0], "x": []})
    nights.ask("baseline", groups={"math": ["other"]})
    code, said = nights.night(NOON + DAY)
    assert code == MISSING
    [refusal] = [line for line in said if line.startswith("NO COMPARISON: ")]
    assert "no task in common" in refusal
    assert "no task in common" in report(nights, "2026-03-02")["warnings"][0]
    assert nights.night(NOON + DAY)[1][0].startswith("night 2026-03-02.2 ")


def two_models(option: str) -> dict[str, Any]:
    command = [sys.executable, fake_nights.__file__]
    return {
        "iha": {"command": command, "model_args": '{"pretrained": "iha", "a=b": 1}'},
        "baseline": {
            "command": command,
            "model_args": {"pretrained": "baseline"},
            "arguments": [option, 3],
            "environment": {"FAKE": None},
        },
    }


def test_arguments_and_environment_reach_the_process(nights: FakeNights) -> None:
    nights.configure(models=two_models("--seed"))
    nights.night()
    iha, baseline = nights.starts()
    assert baseline["arguments"][-5:-3] == ["--seed", "3"]
    assert (iha["variable"], baseline["variable"]) == (None, "")


def test_time_that_is_up(nights: FakeNights) -> None:
    nights.configure(timeout="0.3s")
    nights.ask("iha", hang=True)
    code, said = nights.night()
    assert code == MISSING
    assert any("iha on math: FAILED (not finished after 0.3 s)" in line for line in said)


def test_other_time_than_results(nights: FakeNights) -> None:
    """A process that has written its results and then dies has done its work."""
    nights.ask("iha", exit_after=7)
    code, said = nights.night()
    assert code == FINE
    assert any(line.startswith("iha on math: done in ") and "exit code 7" in line for line in said)


@pytest.mark.parametrize(
    ("hours", "fresh"), [(1, True), (-24, False)], ids=["itself before", "a later one"]
)
def test_a_night_is_held_against_earlier_ones_alone(
    hours: int, fresh: bool, nights: FakeNights
) -> None:
    nights.configure(regression={"baseline": False})
    nights.ask("iha", right=GOOD)
    assert nights.night()[0] == FINE
    nights.ask("iha", right=BAD)
    assert nights.night(NOON + timedelta(hours=hours), fresh=fresh)[0] == FINE


def test_latest_that_is_no_link_stays(nights: FakeNights) -> None:
    (nights.output / "latest").mkdir(parents=True)
    assert nights.night()[0] == FINE
    assert not (nights.output / "latest").is_symlink()


def test_the_commit_of_the_checkpoint_is_recorded(nights: FakeNights) -> None:
    def git(*words: str, folder: Path) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(
            ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    for folder in (nights.folder, nights.folder / "iha"):
        folder.mkdir(exist_ok=True)
        git("init", "-q", folder=folder)
        git("commit", "-q", "--allow-empty", "-m", folder.name, folder=folder)
    nights.night()
    lines = History(nights.history).read().nights["2026-03-01"]
    assert [entry.commit for entry in lines] == [
        git("rev-parse", "HEAD", folder=nights.folder / "iha"),
        git("rev-parse", "HEAD", folder=nights.folder),
    ]


def test_without_git_there_is_no_commit(
    nights: FakeNights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    nights.night()
    assert History(nights.history).read().nights["2026-03-01"][0].commit is None
