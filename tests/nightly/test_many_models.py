"""Several models against one baseline: it runs once; one gate; a report of each pair and of all."""

import json
from typing import Any

import jsonschema
import pytest
from fake_nights import BAD, DAY, GOOD, NOON, FakeNights, recorded, report

from iha_eval.nightly.history import History
from iha_eval.nightly.run import FINE, MISSING, REGRESSION, dry_run
from tools.report_schema import FILE

ALL = ["iha: math", "p2: math", "baseline: math"]


@pytest.fixture
def three(nights: FakeNights) -> FakeNights:
    """Two models, of which p2 stands after the baseline in the file."""
    models = json.loads(nights.file.read_text())["models"]
    model = models["iha"]
    nights.configure(models={**models, "p2": {**model, "model_args": {"pretrained": "p2"}}})
    for name in ("iha", "p2", "baseline"):
        nights.ask(name, right=GOOD)
    return nights


def pair(nights: FakeNights, name: str, night: str = "2026-03-01") -> dict[str, Any]:
    file = nights.output / night / name / "report.json"
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def test_the_baseline_runs_once_and_each_model_has_a_report(three: FakeNights) -> None:
    three.ask("p2", right=BAD)
    code, said = three.night()
    assert three.started() == ALL
    # Worse than the baseline on its first night.
    assert code == REGRESSION
    [sentence] = [line for line in said if line.startswith("REGRESSION: ")]
    assert sentence.startswith("REGRESSION: math p@1 of p2 is 33.3 points worse than the baseline")
    family = report(three)
    assert family["title"] == "Night 2026-03-01: 2 models against one baseline"
    assert [member["name"] for member in family["members"]] == ["iha", "p2"]
    assert family["night"]["regressions"] == [sentence]
    assert {check["model"] for check in family["night"]["checks"]} == {"iha", "p2"}
    jsonschema.validate(family, json.loads(FILE.read_text()))
    # One family of p-values over both pairs.
    rows = [pair(three, name)["tables"][0]["rows"][0] for name in ("iha", "p2")]
    assert all("in 2 comparisons" in row["correction"] for row in rows)
    assert [pair(three, name)["night"]["regressions"] for name in ("iha", "p2")] == [[], [sentence]]
    assert {each["model"] for each in pair(three, "p2")["trend"]} == {"iha", "baseline"}
    kept = three.history / "reports" / "2026-03-01"
    assert all((kept / name).is_file() for name in ("report.json", "p2/report.json"))
    page = (three.output / "2026-03-01" / "report.html").read_text()
    assert sentence in page
    assert 'href="p2/report.html"' in page


def test_the_budget_is_shared_by_all_that_is_watched(three: FakeNights) -> None:
    three.night()
    code, said = three.night(NOON + DAY)
    assert code == FINE
    assert any("false alarms in 30 nights over 4 watches" in line for line in said)
    three.ask("p2", right=BAD)
    code, said = three.night(NOON + 2 * DAY)
    sentences = [line for line in said if line.startswith("REGRESSION: ")]
    assert code == REGRESSION
    assert len(sentences) == 2
    assert all(" of p2 is 33.3 points worse " in sentence for sentence in sentences)


def test_a_model_that_fails_leaves_the_others_and_is_run_again(three: FakeNights) -> None:
    three.ask("p2", exit=7)
    code, said = three.night()
    assert code == MISSING
    assert any(line.startswith("MISSING: the run of p2 on math (") for line in said)
    assert pair(three, "iha")["tables"]
    assert pair(three, "p2")["tables"] == []
    assert pair(three, "p2")["models"]["iha"]["name"] == "p2 (no run)"
    three.ask("p2", right=GOOD)
    assert three.night(NOON + DAY / 24)[0] == FINE
    assert three.started() == [*ALL, "p2: math"]
    assert pair(three, "p2")["tables"]


def test_a_pair_that_cannot_be_compared_leaves_the_others(three: FakeNights) -> None:
    three.ask("p2", right=GOOD, seed=3)
    code, said = three.night()
    assert code == MISSING
    assert any(line.startswith("NO COMPARISON: p2: ") for line in said)
    assert pair(three, "iha")["tables"]
    assert pair(three, "p2")["tables"] == []


def test_a_model_more_is_not_judged_before_it_has_nights(nights: FakeNights) -> None:
    for name in ("iha", "p2", "baseline"):
        nights.ask(name, right=GOOD)
    nights.night()
    models = json.loads(nights.file.read_text())["models"]
    nights.configure(models={"p2": {**models["iha"], "model_args": {"pretrained": "p2"}}, **models})
    code, said = nights.night(NOON + DAY)
    assert code == FINE
    what = "math p@1 of p2: no earlier night measured it."
    assert f"NOT JUDGED against an earlier night: {what}" in said
    assert len(recorded(nights)["2026-03-02"]) == 3
    assert History(nights.history).read().broken == 0


def test_a_dry_run_shows_all_of_them(three: FakeNights) -> None:
    from iha_eval.nightly.config import read_config

    lines = list(dry_run(read_config(three.file), NOON))
    assert [line[:5] for line in lines[1:]] == ["to do"] * 3
    assert ["/iha/" in lines[1], "/p2/" in lines[2], "/baseline/" in lines[3]] == [True] * 3
    three.night()
    again = list(dry_run(read_config(three.file), NOON + DAY))
    assert again[0].startswith("night 2026-03-02 ")
