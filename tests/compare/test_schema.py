"""docs/report.schema.json against the types, and real reports against docs/report.schema.json."""

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from lm_eval_runs import FakeTask, lines, ruler_task, voting_task

from iha_eval.compare.schema import Report
from iha_eval.util.installation import reports_dir
from tools.report_schema import FILE, json_schema

SCHEMA = json.loads(FILE.read_text(encoding="utf-8"))


def check(report: Report | dict[str, Any]) -> None:
    """Validate a report; the message names the place."""
    jsonschema.Draft202012Validator(SCHEMA).validate(report)


def test_the_file_says_what_the_types_say() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json_schema() == SCHEMA, "run python -m tools.report_schema"


def test_fields_are_described() -> None:
    row = SCHEMA["$defs"]["ReportRow"]["properties"]
    assert row["points"]["description"] == "IHA less baseline."


@pytest.mark.parametrize("options", [{}, {"unpaired": True}, {"correction": "fdr"}])
def test_built_reports_are_valid(
    report: Callable[..., dict[str, Any]], options: dict[str, Any]
) -> None:
    ours = {
        "ruler_mk_multikey_1_4k": ruler_task([1.0] * 8 + [float("nan")] * 4),
        "ruler_mk_multikey_1_8k": ruler_task([1.0, 0.0]),
        "gsm8k_maj": voting_task([4, 3, 2, 1, 0]),
        "quiz": FakeTask(lines("acc", [1.0, 0.0])),
        "other": FakeTask(lines("acc", [1.0, 0.0])),
    }
    theirs = ours | {
        "gsm8k_maj": voting_task([4, 1, 2, 1, 0]),
        "other": FakeTask(lines("acc", [1.0, 1.0], gold="43")),
    }
    check(report(ours, theirs, **options))


def test_the_sample_report_is_valid() -> None:
    sample = reports_dir() / "sample" / "report.json"
    check(json.loads(sample.read_bytes()))


def test_an_entry_that_no_type_names_is_refused() -> None:
    sample = json.loads((reports_dir() / "sample" / "report.json").read_bytes())
    with pytest.raises(jsonschema.ValidationError, match="'more' was unexpected"):
        check(sample | {"more": 1})
