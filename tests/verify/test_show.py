"""Table and JSON of a report."""

import json
from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console

from iha_eval.verify.compare import choices, differences
from iha_eval.verify.limits import Limit, exact
from iha_eval.verify.reading import Reading, Sequence
from iha_eval.verify.report import judge
from iha_eval.verify.run import Report
from iha_eval.verify.show import as_json, show

Make = Callable[..., Reading]


@pytest.fixture
def report(sequence: Sequence, reading: Make) -> Report:
    """Three readings, of which one is broken and one ends early."""
    made = Report("my-[model]", "ab" * 32, "float32", sequences=[sequence])
    made.readings = [
        reading("Transformers sdpa", [-1.0] * 4),
        reading("vLLM", [-1.0, float("nan"), -1.0, -1.5], [-1.0, -1.0, -0.9999, -1.0]),
        reading("Transformers cached", [-1.00000235], first=4, whole=False),
        reading("naive", []),
        reading("Transformers bf16 sdpa", [-1.1] * 4),
    ]
    reference = made.readings[0]
    for other, limit in zip(made.readings[1:], [exact()] * 3 + [None], strict=True):
        made.differences += differences(other, reference, [sequence], limit)
    made.choices = choices(made.readings[1], [sequence], made.limit.tie)
    made.notes = ["A note with [brackets]."]
    return made


def printed(report: Report) -> str:
    console = Console(file=StringIO(), width=100)
    show(report, judge(report), console)
    text: str = console.file.getvalue()
    return text


def test_the_table_has_a_cell_per_pair_and_prompt(report: Report) -> None:
    lines = [line.split() for line in printed(report).splitlines()]
    assert ["vLLM", "inf*", "inf*", "1.0e-3"] in lines
    assert ["Transformers", "cached", "2.3e-6", "2.3e-6", "1.0e-3"] in lines
    assert ["naive", "-", "0.0e0", "1.0e-3"] in lines
    assert ["Transformers", "bf16", "sdpa", "1.0e-1", "1.0e-1", "measure"] in lines
    assert ["readings", "3", "mean", "allowed"] in lines


def test_names_and_notes_are_printed_as_they_are(report: Report) -> None:
    text = printed(report)
    assert "my-[model]: largest differences" in text
    assert "A note with [brackets]." in text.splitlines()
    assert text.splitlines()[-1].startswith("DISAGREE: vLLM in float32 gives values")


def test_other_greedy_choices_are_listed_with_their_judgment(report: Report) -> None:
    lines = [" ".join(line.split()) for line in printed(report).splitlines()]
    assert any("3 tokens" in line and "5.0e-1" in line and "differs*" in line for line in lines)
    assert any("1.0e-4" in line and "near-tie: no failure" in line for line in lines)


def test_without_other_choices_there_is_one_table(report: Report) -> None:
    report.choices = []
    assert "other greedy tokens" not in printed(report)


def test_json_holds_everything_and_nothing_that_is_no_number(report: Report) -> None:
    made = json.loads(json.dumps(as_json(report, judge(report)), allow_nan=False))
    assert made["agree"] is False
    assert made["verdict"].startswith("DISAGREE")
    assert made["fingerprint"] == "ab" * 32
    assert made["prompts"] == [{"name": "3 tokens", "tokens": 3, "generated": [8, 9]}]
    assert made["differences"][0]["largest"] is None
    assert [one["agrees"] for one in made["differences"]] == [False, True, True, True]
    assert [one["judged"] for one in made["differences"]] == [True, True, True, False]
    assert [one["near_tie"] for one in made["greedy"]] == [True, False]
    assert made["allowed"] == {"largest": 1e-3, "mean": 1e-3, "near_tie": 2e-3}
    assert made["readings"][0] == {"name": "Transformers sdpa", "dtype": "float32", "seconds": 0.5}


def test_a_limit_that_is_no_number_is_null(report: Report) -> None:
    report.limit = Limit(float("inf"), float("nan"), float("inf"))
    made = as_json(report, judge(report))
    assert made["allowed"] == {"largest": None, "mean": None, "near_tie": None}
