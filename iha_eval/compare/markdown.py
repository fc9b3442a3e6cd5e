"""The report as Markdown, for a pull request or a chat.

For: headlines, tables, warnings and one line of provenance, in GitHub's dialect.
Not for: figures and single questions, which the page has.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

MOST_ROWS = 60
"""Rows of a table; GitHub takes 65,536 characters in all."""

_ESCAPED = {
    **{character: f"\\{character}" for character in "\\`*[]|~#"},
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    "\n": " ",
    "\t": " ",
}

_MENTION = re.compile(r"(?<!\w)@")

_HEAD = ("", "n", "IHA", "baseline", "points (95%)", "relative", "p", "paper")


def to_markdown(report: Mapping[str, Any]) -> str:
    """The report in short; ends with a line feed.

    Args:
        report: As `build_report` returns it.
    """
    blocks = [f"## {text(report['title'])}", *_headlines(report)]
    blocks += [_table(table) for table in report["tables"]]
    shown = report["disagreements"]["total"]
    if report["paired"]:
        blocks.append(f"The models disagree on {shown} questions; report.html shows them.")
    if report["warnings"]:
        blocks.append(
            "**Warnings**\n\n" + "\n".join(f"- {text(line)}" for line in report["warnings"])
        )
    blocks.append(_provenance(report))
    return "\n\n".join(blocks) + "\n"


def text(value: object) -> str:
    """Anything as Markdown text that says just that, on one line."""
    escaped = "".join(_ESCAPED.get(character, character) for character in str(value))
    # A mention would call somebody; Maj@16 is none.
    return _MENTION.sub("@\u200b", escaped)


def _headlines(report: Mapping[str, Any]) -> list[str]:
    lines = [f"- **{text(one['word'])}**: {text(one['sentence'])}" for one in report["headlines"]]
    unpaired = (
        [] if report["paired"] else ["**UNPAIRED**: the questions of the runs were not matched."]
    )
    return [*unpaired, "\n".join(lines)]


def _table(table: Mapping[str, Any]) -> str:
    rows = table["rows"]
    lines = [f"**{text(table['label'])}**", "", _line(_HEAD), _line(["---", *["---:"] * 7])]
    lines += [_line(_row(row)) for row in rows[:MOST_ROWS]]
    if len(rows) > MOST_ROWS:
        lines += ["", f"{len(rows) - MOST_ROWS} more rows are in report.html."]
    return "\n".join(lines)


def _row(row: Mapping[str, Any]) -> Sequence[str]:
    n = str(row["n"]) if row["n"] == row["n_baseline"] else f"{row['n']}, {row['n_baseline']}"
    interval = "-"
    if row["points"] is not None:
        interval = f"{_signed(row['points'])} ({_signed(row['low'])} to {_signed(row['high'])})"
    return (
        f"**{text(row['label'])}**" if row["decides"] else text(row["label"]),
        n,
        _percent(row["iha"]),
        _percent(row["baseline"]),
        interval,
        "-" if row["relative"] is None else f"{_signed(100 * row['relative'])}%",
        _p(row["p_corrected"]),
        _paper(row["paper"]),
    )


def _line(fields: Sequence[str]) -> str:
    return f"| {' | '.join(fields)} |"


def _percent(score: float | None) -> str:
    return "-" if score is None else f"{100 * score:.1f}"


def _signed(number: float) -> str:
    # Adding 0.0 turns -0.0 into 0.0.
    return f"{round(number, 1) + 0.0:+.1f}"


def _p(p: float | None) -> str:
    return "-" if p is None else "&lt; 0.0001" if p < 0.0001 else f"{p:.2g}"


def _paper(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    relative = f"{100 * found['relative']:+.0f}%"
    if found["iha"] is None:
        return relative
    return f"{_percent(found['iha'])} / {_percent(found['baseline'])} ({relative})"


def _provenance(report: Mapping[str, Any]) -> str:
    models = [_model(name, report["models"][side]) for name, side in _SIDES]
    found = report["provenance"]
    pairing, statistics = found["pairing"], found["statistics"]
    facts = [
        *models,
        f"{pairing['documents']} documents of {pairing['tasks']} tasks, hashes {pairing['hashes']}",
        f"p corrected by {statistics['correction']} ({text(statistics['families'])})",
        f"intervals: {text('; '.join(statistics['intervals']) or 'none')}",
        *([f"commit {text(found['commit'])}"] if found["commit"] else []),
        f"run {text(report['created'])}",
    ]
    return f"<sub>{'. '.join(facts)}.</sub>"


_SIDES = (("IHA", "iha"), ("Baseline", "baseline"))


def _model(name: str, model: Mapping[str, Any]) -> str:
    facts = [model["model_class"], model["dtype"], model["device"]]
    if model["fingerprint"]:
        facts.append(f"fingerprint {model['fingerprint'][:12]}")
    for share in ("cut", "unparseable"):
        if model[share] is not None:
            facts.append(f"{_percent(model[share])}% {share}")
    return text(f"{name}: {model['name']} ({', '.join(str(fact) for fact in facts if fact)})")
