import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval_runs import FakeTask, lines, ruler_task, voting_task

from iha_eval.compare import build_report
from iha_eval.compare.render.markdown import text, to_markdown

Report = Callable[..., dict[str, Any]]

OTHER = FakeTask(lines("acc", [1.0], gold="43"))


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
    assert made.startswith("## a \\| b\n\n- **better**: RULER multi-key retrieval: IHA (iha")
    # 60 against 0 of 60.
    assert "| **all lengths and variants** | **better** | 60 | 100.0 | 0.0 | +100.0 (" in made
    assert "| all variants, 4k | **better** | 60 | 100.0 | 0.0 | " in made
    assert re.search(r"\| - \| &lt; 0\.0001 \| 60 / 0 \| \d+\.\d \| \+27% \|\n", made)
    assert "smallest difference, in points, that so many questions could have shown" in made
    assert "34.3 / 29.5 (+16%)" in made
    assert "disagree on 60 questions" in made
    assert "**Warnings**\n\n- Both runs are of the same checkpoint" in made
    assert "commit abc. run 2026-01-02T03:04:05+00:00. options: iha_run" in made
    assert "fingerprint ffffffffffff, 10.0% cut, 0.0% unparseable" in made


def test_every_row_of_a_table_has_as_many_fields(report: Report) -> None:
    task = {"a|b": FakeTask(lines("acc", [1.0])), "ruler_mk_multikey_1_4k": ruler_task([None])}
    rows = [row for row in to_markdown(report(task, task)).splitlines() if row.startswith("|")]
    assert rows
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {12}


def test_unpaired_reports_say_so(report: Report) -> None:
    ours, theirs = {"quiz": FakeTask(lines("acc", [1.0, 1.0]))}, {"quiz": OTHER}
    made = to_markdown(report(ours, theirs, unpaired=True))
    assert "**UNPAIRED**: the questions of quiz were not matched." in made
    assert "| **quiz (unpaired)** | not enough data | 2, 1 |" in made
    assert " | - | - |  |\n" in made
    assert "disagree" not in made


def test_one_question_is_singular(report: Report) -> None:
    ours, theirs = ({"quiz": FakeTask(lines("acc", values))} for values in ([1.0, 1.0], [1.0, 0.0]))
    assert "The models disagree on 1 question: see report.html." in to_markdown(
        report(ours, theirs)
    )


def test_partly_unpaired_reports_say_of_what(report: Report) -> None:
    more = {"more": FakeTask(lines("acc", [1.0, 0.0]))}
    ours, theirs = {"quiz": FakeTask(lines("acc", [1.0]))} | more, {"quiz": OTHER} | more
    made = to_markdown(report(ours, theirs, unpaired=True))
    assert "**UNPAIRED**: the questions of quiz were" in made
    assert "| **quiz (unpaired)** | not enough data | 1, 1 |" in made
    assert "| **more** | not enough data | 2 |" in made
    assert "disagree on 0 questions" in made


def test_tasks_that_were_refused_are_told_first(report: Report) -> None:
    more = {"more": FakeTask(lines("acc", [1.0, 0.0]))}
    ours, theirs = {"quiz": FakeTask(lines("acc", [1.0]))} | more, {"quiz": OTHER} | more
    made = to_markdown(report(ours, theirs))
    assert made.splitlines()[2] == "**NOT COMPARED**: quiz; see the warnings."
    assert "- NOT COMPARED: quiz, for the runs differ there: target of document 0 of 1" in made


def test_tasks_that_one_run_lacks_are_told_first_too(report: Report) -> None:
    quiz = {"quiz": FakeTask(lines("acc", [1.0]))}
    made = to_markdown(report(quiz | {"more": quiz["quiz"]}, quiz))
    assert made.splitlines()[2] == "**NOT COMPARED**: more; see the warnings."
    assert "- **not compared**: more: not compared, more: the baseline run does not" in made


def test_reports_without_tables_do_not_count_disagreements(report: Report) -> None:
    quiz = {"quiz": FakeTask(lines("acc", [1.0]))}
    assert "disagree" not in to_markdown(report(quiz, quiz) | {"tables": []})


def test_left_out_questions_and_families_are_told(report: Report) -> None:
    task = "ruler_mk_multikey_1_4k"
    made = to_markdown(report({task: ruler_task([1.0, math.nan])}, {task: ruler_task([1.0, 1.0])}))
    assert "| multikey_1, 4k | not enough data | 1 (1 left out) |" in made
    assert "the deciding rows are one family across all tables" in made


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({}, "cuda:0, command and fingerprint not recorded)"),
        ({"model_sha": "c" * 40}, f"cuda:0, commit {'c' * 12} on the hub, command not recorded)"),
        ({"device": None}, "bfloat16, device and command and fingerprint not recorded)"),
    ],
    ids=["local", "hub", "no device"],
)
def test_what_a_run_did_not_record_is_said(
    runs: Callable[..., tuple[Path, Path]], config: dict[str, Any], told: str
) -> None:
    quiz = {"quiz": FakeTask(lines("acc", [1.0]))}
    made = to_markdown(build_report(*runs(quiz, quiz, ours=False, config=config)))
    assert told in made
    assert "options: iha_run " in made
    assert made.splitlines()[-1].count("not recorded") == 1


def test_long_tables_are_cut(report: Report) -> None:
    made = report({"quiz": FakeTask(lines("acc", [1.0]))}, {"quiz": FakeTask(lines("acc", [1.0]))})
    made["tables"][0]["rows"] *= 63
    shown = to_markdown(made)
    assert shown.count("\n| **quiz**") == 60
    assert "3 more rows are in report.html" in shown
