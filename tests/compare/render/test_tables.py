"""The tables as text: what fits a terminal, what a spreadsheet reads back, what LaTeX shows."""

import csv
import io
from typing import Any

import made_up_reports
import pytest

from iha_eval.compare.render.tables import latex, to_csv, to_latex, to_terminal


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return made_up_reports.full()


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_longer_than_the_terminal(report: dict[str, Any], width: int) -> None:
    lines = to_terminal(report, width).splitlines()
    assert max(map(len, lines)) <= width
    rows = sum(len(table["rows"]) for table in report["tables"])
    # A title and a heading for each table, and an empty line between two.
    assert len(lines) == rows + 3 * len(report["tables"]) - 1


def test_wide_terminal_shows_more(report: dict[str, Any]) -> None:
    row = made_up_reports.row(report, "all lengths and variants")
    [narrow, *_] = [line for line in to_terminal(report, 80).splitlines() if "lengths" in line]
    [wide, *_] = [line for line in to_terminal(report, 120).splitlines() if "lengths" in line]
    assert narrow.startswith("* all lengths and variants  180")
    assert narrow.endswith("  better")
    assert f"{row['higher']} / {row['lower']}" in wide
    assert "p corr." not in to_terminal(report, 80)
    assert "p corr." in to_terminal(report, 120)


def test_long_labels_are_cut_and_controls_do_not_reach_the_terminal(
    report: dict[str, Any],
) -> None:
    made = made_up_reports.full()
    made["tables"][0]["rows"][0]["label"] = "\x1b[2Jlong" * 50
    made["tables"][0]["label"] = "\x1b]0;title\x07" * 40
    text = to_terminal(made, 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "\x07" not in text


def test_rows_without_numbers_are_dashes() -> None:
    [line, *_] = [line for line in to_terminal(made_up_reports.bare()).splitlines() if "4k" in line]
    assert line.split()[:2] == ["multikey_1,", "4k,"]
    assert "too few" in line
    assert "-" in line


def test_reports_without_tables_have_no_text() -> None:
    made = made_up_reports.bare() | {"tables": []}
    assert to_terminal(made) == ""
    assert to_csv(made).count("\n") == 1


def test_csv_holds_every_number(report: dict[str, Any]) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(report))))
    rows = [row for table in report["tables"] for row in table["rows"]]
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        assert line["label"] == row["label"]
        for name in ("iha", "baseline", "points", "p_corrected"):
            assert float(line[name]) == row[name]
    assert lines[3]["paper_relative"] == "0.27"
    assert lines[0]["paper_note"] == ""


def test_csv_holds_no_formula() -> None:
    made = made_up_reports.full()
    made["tables"][0]["rows"][0]["label"] = "=cmd|' /C calc'!A0"
    made["tables"][0]["label"] = "@SUM(1)"
    [line, *_] = csv.DictReader(io.StringIO(to_csv(made)))
    assert line["label"] == "'=cmd|' /C calc'!A0"
    assert line["table"] == "'@SUM(1)"


def test_latex_is_booktabs_and_bold_where_significant(report: dict[str, Any]) -> None:
    text = to_latex(report)
    tables = len(report["tables"])
    for command in (r"\toprule", r"\bottomrule", r"\begin{tabular}", r"\end{tabular}"):
        assert text.count(command) == tables
    rows = [row for table in report["tables"] for row in table["rows"]]
    words = [row["word"] for row in rows]
    # A score and a difference for each.
    assert text.count(r"\textbf") == 2 * (words.count("better") + words.count("worse"))
    [line] = [line for line in text.splitlines() if line.startswith("Maj@16 & 120")]
    iha, baseline = line.split(" & ")[2:4]
    assert "textbf" not in iha
    assert "textbf" in baseline


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("a_b & 5% of $x$ #1", r"a\_b \& 5\% of \$x\$ \#1"),
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("~^<>", r"\textasciitilde{}\textasciicircum{}\textless{}\textgreater{}"),
        ("two\nlines", "two lines"),
    ],
)
def test_latex_says_just_that(given: str, written: str) -> None:
    assert latex(given) == written
