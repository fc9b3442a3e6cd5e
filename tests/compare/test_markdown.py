import re
from collections.abc import Callable
from typing import Any

import pytest
from lm_eval_runs import FakeTask, lines, ruler_task, voting_task

from iha_eval.compare.markdown import text, to_markdown

Report = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("given", "escaped"),
    [
        ("a | b", r"a \| b"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("[x](y) *z* `c` \\", r"\[x\](y) \*z\* \`c\` \\"),
        ("two\nlines", "two lines"),
        ("@all and Maj@16", "@\u200ball and Maj@16"),
        ("~~no~~ #1", r"\~\~no\~\~ \#1"),
        ("snake_case", "snake_case"),
    ],
)
def test_markdown_says_just_that(given: str, escaped: str) -> None:
    assert text(given) == escaped


def test_headlines_tables_warnings_and_provenance(report: Report) -> None:
    names = [f"ruler_mk_multikey_{v}_4k" for v in (1, 2, 3)]
    ours = {name: ruler_task([1.0] * 20) for name in names} | {"gsm8k_maj": voting_task([4])}
    theirs = {name: ruler_task([0.0] * 20) for name in names} | {"gsm8k_maj": voting_task([4])}
    made = to_markdown(report(ours, theirs, title="a | b", commit="abc"))
    assert made.startswith("## a \\| b\n\n- **better**: RULER multi-key retrieval (string match")
    # 60 against 0 of 60.
    assert "| **all lengths and variants** | 60 | 100.0 | 0.0 | +100.0 (" in made
    assert "| all variants, 4k | 60 | 100.0 | 0.0 | " in made
    assert " | - | &lt; 0.0001 | +27% |\n" in made
    assert "34.3 / 29.5 (+16%)" in made
    assert "disagree on 60 questions" in made
    assert "**Warnings**\n\n- Both runs are of the same checkpoint" in made
    assert made.endswith("commit abc. run 2026-01-02T03:04:05+00:00.</sub>\n")
    assert "fingerprint ffffffffffff, 10.0% cut, 0.0% unparseable" in made


def test_every_row_of_a_table_has_as_many_fields(report: Report) -> None:
    task = {"a|b": FakeTask(lines("acc", [1.0])), "ruler_mk_multikey_1_4k": ruler_task([None])}
    rows = [row for row in to_markdown(report(task, task)).splitlines() if row.startswith("|")]
    assert rows
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {9}


def test_unpaired_reports_say_so(report: Report) -> None:
    ours, theirs = ({"quiz": FakeTask(lines("acc", v))} for v in ([1.0, 1.0], [1.0]))
    made = to_markdown(report(ours, theirs, unpaired=True))
    assert "**UNPAIRED**" in made
    assert "| 2, 1 |" in made
    assert "disagree" not in made


def test_long_tables_are_cut(report: Report) -> None:
    made = report({"quiz": FakeTask(lines("acc", [1.0]))}, {"quiz": FakeTask(lines("acc", [1.0]))})
    made["tables"][0]["rows"] *= 63
    shown = to_markdown(made)
    assert shown.count("\n| **quiz**") == 60
    assert "3 more rows are in report.html" in shown
