"""Nights that are not whole though every run has ended: what is said, recorded and returned."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fake_nights import BAD, DAY, GOOD, NOON, FakeNights, report

from iha_eval.nightly.history import History, HistoryEntry
from iha_eval.nightly.process import unredacted
from iha_eval.nightly.run import FINE, MISSING, REGRESSION


def lines(nights: FakeNights, night: str) -> dict[tuple[str, str, str | None], HistoryEntry]:
    """What the history has of a night, by model, task and metric."""
    entries = History(nights.history).read().nights[night]
    return {(entry.model, entry.task, entry.metric): entry for entry in entries}


def test_a_torn_line_is_told_and_the_rest_is_judged(nights: FakeNights) -> None:
    assert nights.night()[0] == FINE
    nights.ask("iha", tear=1)
    code, said = nights.night(NOON + DAY)
    assert code == FINE
    [warning] = [line for line in said if "broken line" in line]
    assert warning.startswith("iha: samples_math_")
    assert "(line 40)" in warning
    found = report(nights, "2026-03-02")
    assert warning in found["night"]["remarks"]
    assert sum("broken line" in one for one in found["warnings"]) == 1
    # One question less makes no new series of it.
    assert [len(one["nights"]) for one in found["trend"]] == [2, 2]
    line = lines(nights, "2026-03-02")["iha", "math", "p@1"]
    assert (line.n, line.asked, line.lacking) == (39, 40, None)


@pytest.mark.parametrize("model", ["iha", "baseline"])
def test_far_fewer_questions_than_asked_are_a_missing_result(
    model: str, nights: FakeNights
) -> None:
    nights.ask(model, tear=10)
    code, said = nights.night()
    assert code == MISSING
    [sentence] = [line for line in said if line.startswith("MISSING: ")]
    assert sentence == (
        f"MISSING: math p@1 of {model}: only 30 of the 40 questions that were asked are in the "
        "samples, so run it again with --fresh."
    )
    assert report(nights)["night"]["missing"] == [sentence]
    assert "only 30 of the 40" in (lines(nights, "2026-03-01")[model, "math", "p@1"].lacking or "")
    nights.ask(model)
    assert nights.night(NOON + timedelta(hours=1), fresh=True)[0] == FINE


def test_scores_that_are_all_no_number_are_a_missing_result(nights: FakeNights) -> None:
    nights.ask("iha", right=[None] * 40)
    code, said = nights.night()
    assert code == MISSING
    assert "MISSING: math p@1 of iha: none of its 40 questions has a score." in said
    # Nothing is left to hold against an earlier night, the first one or not.
    assert not any("earlier night" in line for line in said)


def test_a_score_that_is_there_no_more_is_missed(nights: FakeNights) -> None:
    nights.configure(regression={"metrics": ["p@1", "other"]})
    nights.ask("iha", metrics=["p@1", "other"])
    assert nights.night()[0] == FINE
    nights.ask("iha")
    for day in (1, 2):
        code, said = nights.night(NOON + day * DAY)
        assert code == MISSING
        assert [line for line in said if line.startswith("MISSING: ")] == [
            "MISSING: math other of iha: not in the results of a command that gave it on an "
            "earlier night."
        ]
    line = lines(nights, "2026-03-03")["iha", "math", "other"]
    assert (line.mean, line.watched, bool(line.lacking)) == (None, True, True)
    [gap] = [one for one in report(nights, "2026-03-03")["trend"] if one["metric"] == "other"]
    assert [night["failed"] for night in gap["nights"]] == [False, True, True]
    History(nights.history).accept("2026-03-03")
    assert nights.night(NOON + 3 * DAY)[0] == FINE


@pytest.mark.parametrize(
    ("rules", "right", "reason"),
    [
        ({"metrics": ["maj@*"]}, GOOD, "regression.metrics ['maj@*']"),
        ({}, [7.0] * 40, "every task"),
    ],
    ids=["no such metric", "perplexities"],
)
def test_a_night_that_watches_nothing_is_not_fine(
    rules: dict[str, Any], right: list[float], reason: str, nights: FakeNights
) -> None:
    nights.configure(regression=rules)
    nights.ask("iha", right=right)
    code, said = nights.night()
    assert code == MISSING
    assert (
        f"MISSING: a score to judge of iha: {reason} has none that is a share between 0 and 1."
        in said
    )


def test_other_settings_are_said_and_are_no_failure(nights: FakeNights) -> None:
    nights.ask("iha", right=GOOD)
    nights.night()
    for model in ("iha", "baseline"):
        nights.ask(model, right=BAD, seed=7)
    code, said = nights.night(NOON + DAY)
    assert code == FINE
    [note] = [line for line in said if line.startswith("NOT JUDGED")]
    reason = "the night 2026-03-01 asked with other settings, fewshot_seed (7 against 0)"
    assert note == f"NOT JUDGED against an earlier night: math p@1 of iha: {reason}."
    assert report(nights, "2026-03-02")["night"]["not_judged"] == [note]
    assert lines(nights, "2026-03-02")["iha", "math", "p@1"].not_judged == {"last_good": reason}


def test_a_baseline_asked_otherwise_says_nothing_of_the_iha_model(nights: FakeNights) -> None:
    """Equal questions are not enough: the runs cannot be compared, and the rule says so too."""
    nights.ask("iha", right=BAD)
    nights.ask("baseline", right=GOOD, seed=7)
    code, said = nights.night()
    assert code == MISSING
    [note] = [line for line in said if line.startswith("NOT JUDGED")]
    assert note == (
        "NOT JUDGED against its baseline: math p@1 of iha: it was asked with other settings, "
        "fewshot_seed (0 against 7)."
    )
    assert "NO COMPARISON: " in said[-2]


def test_a_task_that_cannot_be_compared_is_no_fine_night(nights: FakeNights) -> None:
    nights.configure(tasks=["math", "more"])
    nights.ask("baseline", prompts={"more": "Who?"})
    code, said = nights.night()
    assert code == MISSING
    assert said[-2] == "NOT COMPARED: more; the report says why."
    found = report(nights)
    assert found["provenance"]["pairing"]["tasks_not_compared"] == ["more"]
    assert [row["task"] for table in found["tables"] for row in table["rows"]] == ["math"]
    nights.ask("baseline")
    assert nights.night(NOON + DAY)[0] == FINE


def test_runs_that_differ_in_everything_are_told_of_all_the_same(nights: FakeNights) -> None:
    nights.configure(tasks=["math", {"task": "more", "limit": 3}])
    nights.ask("baseline", prompts={"math": "Who?", "more": "Who?"})
    code, said = nights.night()
    assert code == MISSING
    assert said[-2].startswith("NO COMPARISON: ")
    found = report(nights)
    assert found["provenance"]["pairing"]["tasks_not_compared"] == ["math", "more"]
    for model in found["models"].values():
        assert (model["name"], model["versions"]["vllm"]) == ("iha", "0.32.0")
        assert model["device"]
    assert "hashes not compared" in (nights.output / "2026-03-01" / "report.md").read_text()


def test_scores_out_of_range_do_not_hide_a_drop(nights: FakeNights) -> None:
    nights.ask("iha", right=[0.0] * 39 + [1.5], metrics=["p@1", "other"])
    nights.ask("baseline", right=[1.0] * 40, metrics=["p@1", "other"])
    code, said = nights.night()
    assert code == REGRESSION
    assert "iha: math p@1: 1 of 40 scores are not between 0 and 1 and count as lost." in said


def test_worse_than_the_baseline_fails_one_night_and_stands(nights: FakeNights) -> None:
    nights.ask("iha", right=BAD)
    nights.ask("baseline", right=GOOD)
    assert nights.night()[0] == REGRESSION
    History(nights.history).accept("2026-03-01")
    code, said = nights.night(NOON + DAY)
    assert code == FINE
    [standing] = [line for line in said if line.startswith("STANDING: ")]
    assert standing.endswith("alarm from 2.8), accepted.")
    found = report(nights, "2026-03-02")
    assert found["night"]["standing"] == [standing]
    assert standing in found["warnings"]


@pytest.mark.parametrize(("right", "code"), [(GOOD, MISSING), (BAD, REGRESSION)])
def test_a_report_that_breaks_leaves_the_verdict_and_is_made_again(
    right: list[float], code: int, nights: FakeNights, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> str:
        raise ZeroDivisionError("drawn to\ndeath with token=geheim")

    nights.ask("iha", right=right)
    nights.ask("baseline", right=GOOD)
    with monkeypatch.context() as broken:
        broken.setattr("iha_eval.compare.render.page.render", fail)
        found, said = nights.night()
    assert found == code
    trace = nights.output / "2026-03-01" / "report.log"
    assert said[-2] == (
        "NO REPORT: making it failed (ZeroDivisionError: drawn to death with token=***); what was "
        f"measured is in the history, and the same command makes the report again (see {trace})."
    )
    assert "Traceback" in trace.read_text()
    assert "geheim" not in trace.read_text()
    assert not (nights.output / "latest").exists()
    found, said = nights.night(NOON + timedelta(hours=1))
    assert found == (FINE if code == MISSING else REGRESSION)
    assert len(nights.starts()) == 2
    assert said[-2] == str(nights.output / "2026-03-01" / "report.json")
    assert [one for one in said if one.endswith("has its results already")] != []
    # And that night is over.
    assert nights.night(NOON + timedelta(hours=2))[1][0].startswith("night 2026-03-01.2 ")


def test_secrets_are_in_no_log_and_not_shown(nights: FakeNights) -> None:
    secret = "geheim-und-lang"
    models = json.loads(nights.file.read_text())["models"]
    models["iha"]["environment"] = {"SOME_API_KEY": secret}
    nights.configure(models=models)
    nights.ask("iha", exit=5, say=f"Authorization: Bearer abc.def and plainly {secret}")
    said = "\n".join(nights.night()[1])
    log = nights.output / "2026-03-01" / "iha" / "1-math.log"
    for text in (said, log.read_text()):
        assert "last words" in text
        assert "abc.def" not in text
        assert secret not in text
    assert [path for path in nights.output.rglob("*") if secret.encode() in read(path)] == []


def read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def test_the_log_of_a_process_that_went_on_alone_is_settled(nights: FakeNights) -> None:
    """As after a kill of the night: the process wrote its results, and nobody read its log."""
    nights.ask("baseline", exit=5)
    nights.night()
    log = nights.output / "2026-03-01" / "iha" / "1-math.log"
    unredacted(log).write_text("token=geheim\n")
    nights.night(NOON + timedelta(hours=1))
    assert log.read_text().endswith("token=***\n")
    assert not unredacted(log).exists()
