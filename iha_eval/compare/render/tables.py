"""The tables of a report as plain text: for a terminal, a spreadsheet and a paper.

For: `to_terminal`, `to_csv` and `to_latex`.
Not for: the page (page.py) and GitHub (markdown.py).
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iha_eval.compare.schema import Report, ReportRow, ReportTable
from iha_eval.util import numbers
from iha_eval.util.text import one_line

SIGNIFICANT = ("better", "worse")
"""The verdicts that say that there is a difference."""

_MINUS = str.maketrans({"\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "\N{NO-BREAK SPACE}": " "})

_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


_SIGNS = str.maketrans({"\N{MINUS SIGN}": "$-$", "\N{EN DASH}": "--", "\N{NO-BREAK SPACE}": "~"})


@dataclass(frozen=True)
class TextColumn:
    """A column of the table on a terminal.

    Attributes:
        title: Its heading.
        write: The text of a row.
        left: Whether it is set to the left.
    """

    title: str
    write: Callable[[ReportRow], str]
    left: bool = False


def _difference(row: ReportRow) -> str:
    return f"{numbers.points(row['points'])} ({numbers.interval(row['low'], row['high'])})"


def only_right(row: Mapping[str, Any]) -> str:
    """Questions on which only the one or only the other model scores higher; `-` if unpaired."""
    return "-" if row["higher"] is None else f"{row['higher']} / {row['lower']}"


_SHORT: dict[str, str] = {
    "no significant difference": "no difference",
    "not enough data": "too few",
}
_NARROW = (
    TextColumn("n", lambda row: numbers.count(row["n"])),
    TextColumn("IHA", lambda row: numbers.percent(row["iha"])),
    TextColumn("base", lambda row: numbers.percent(row["baseline"])),
    TextColumn("points (95%)", _difference),
    TextColumn("verdict", lambda row: _SHORT.get(row["word"], row["word"]), left=True),
)
_WIDE = (
    *_NARROW[:4],
    TextColumn("relative", lambda row: numbers.relative(row["relative"])),
    TextColumn("p corr.", lambda row: numbers.p_value(row["p_corrected"])),
    TextColumn("only right", only_right),
    TextColumn("verdict", lambda row: row["word"], left=True),
)


def to_terminal(report: Report, width: int = 80) -> str:
    """The tables, a line a row; no line is longer than the width; ends with a line feed.

    Args:
        report: As `build_report` returns it.
        width: Characters of a line; from 110 on there are more columns.
    """
    columns = _WIDE if width >= 110 else _NARROW
    tables = [_text_table(table, columns, width) for table in report["tables"]]
    return "\n\n".join(tables) + "\n" if tables else ""


def _text_table(table: ReportTable, columns: Sequence[TextColumn], width: int) -> str:
    cells = [[column.write(row).translate(_MINUS) for column in columns] for row in table["rows"]]
    sizes = [
        max(len(column.title), *(len(line[place]) for line in cells))
        for place, column in enumerate(columns)
    ]
    room = max(8, width - sum(sizes) - 2 * len(sizes))
    labels = [_label(row, room) for row in table["rows"]]
    first = max(map(len, labels))
    heading = [column.title for column in columns]
    lines = [one_line(table["label"], width)]
    for label, line in zip(["", *labels], [heading, *cells], strict=True):
        fields = [
            field.ljust(size) if column.left else field.rjust(size)
            for field, size, column in zip(line, sizes, columns, strict=True)
        ]
        lines.append("  ".join([label.ljust(first), *fields]).rstrip()[:width])
    return "\n".join(lines)


def _label(row: ReportRow, room: int) -> str:
    star = "* " if row["decides"] else "  "
    return star + one_line(row["label"] + ("" if row["paired"] else ", unpaired"), room - 2)


def to_csv(report: Report) -> str:
    """All rows of all tables with all their numbers, scores from 0 to 1, as RFC 4180 has it.

    Args:
        report: As `build_report` returns it.
    """
    return write_csv(
        ["benchmark", "table"],
        [
            {"benchmark": table["benchmark"], "table": table["label"], **row}
            for table in report["tables"]
            for row in table["rows"]
        ],
    )


def write_csv(first: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of reports as RFC 4180 has it, with every column that a row of a report may have.

    Args:
        first: Columns before those of `ReportRow`.
        rows: Each with what it has of the columns.
    """
    out = io.StringIO()
    # What a row may lack is named all the same, so that files can be put together.
    names = [name for name in ReportRow.__annotations__ if name != "paper"]
    paper = ["paper_iha", "paper_baseline", "paper_relative", "paper_note"]
    writer = csv.DictWriter(out, [*first, *names, *paper], extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        reference: Mapping[str, object] = row.get("paper") or {}
        writer.writerow(
            {name: _plain(value) for name, value in row.items()}
            | {f"paper_{name}": _plain(value) for name, value in reference.items()}
        )
    return out.getvalue()


def _plain(value: object) -> object:
    """A cell that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value


def to_latex(report: Report) -> str:
    """A `tabular` for each table, to be used with booktabs; significant differences are bold.

    Args:
        report: As `build_report` returns it.
    """
    tables = [_latex_table(table) for table in report["tables"]]
    head = "% Needs \\usepackage{booktabs}. Bold: significant after correction.\n"
    return head + "\n".join(tables)


def _latex_table(table: ReportTable) -> str:
    lines = [
        f"% {one_line(table['label'], 200)}",
        r"\begin{tabular}{lrrrrrl}",
        r"\toprule",
        r" & $n$ & IHA & Baseline & Difference (95\% interval) & $p$ & Verdict \\",
        r"\midrule",
    ]
    for row in table["rows"]:
        if row["decides"] and len(table["rows"]) > 1 and lines[-1] != r"\midrule":
            lines.append(r"\midrule")
        lines.append(_latex_row(row))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_row(row: ReportRow) -> str:
    ahead = {"better": "iha", "worse": "baseline"}.get(row["word"])
    scores = [_bold(numbers.percent(row[side]), side == ahead) for side in ("iha", "baseline")]
    label = latex(row["label"] + ("" if row["paired"] else ", unpaired"))
    fields = [
        label,
        numbers.count(row["n"]).replace(",", "{,}"),
        *scores,
        _bold(_difference(row), ahead is not None),
        numbers.p_value(row["p_corrected"]).replace("<", "$<$"),
        latex(row["word"]),
    ]
    return " & ".join(field.translate(_SIGNS) for field in fields) + r" \\"


def _bold(text: str, bold: bool) -> str:
    return rf"\textbf{{{text}}}" if bold else text


def latex(text: str) -> str:
    """Anything as text in LaTeX that says just that, on one line."""
    return "".join(_LATEX.get(character, character) for character in one_line(text, 200))


TABLES: dict[str, tuple[str, Callable[[Report], str]]] = {
    "csv": ("csv", to_csv),
    "latex": ("tex", to_latex),
}
"""Form of the tables -> the ending of its file, and what writes it."""
