"""The report as Markdown, for a pull request or a chat.

For: headlines, tables, warnings and one line of provenance, in GitHub's dialect.
Not for: figures and single questions, which the page has.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from iha_eval.compare.inputs.pairing import SIDES
from iha_eval.compare.render.tables import SIGNIFICANT, only_right
from iha_eval.compare.schema import Report, RulerSummary, SideName
from iha_eval.util.numbers import plain_difference, plain_p, tokens
from iha_eval.util.text import counted

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

_HEAD = (
    *("", "verdict", "n", "IHA", "baseline", "points (95%)", "relative", "p corrected"),
    *("only right", "detectable", "paper"),
)

_LEGEND = (
    "<sub>Only right: questions on which IHA / the baseline alone scores higher. Detectable: the "
    "smallest difference, in points, that so many questions could have shown at 80% power.</sub>"
)


def to_markdown(report: Report) -> str:
    """The report in short; ends with a line feed.

    Args:
        report: As `build_report` returns it.
    """
    blocks = [f"## {text(report['title'])}", *_headlines(report)]
    tables = report["tables"]
    blocks += [*map(_table, tables), *([_LEGEND] if tables else [])]
    if (ruler := report.get("ruler")) is not None:
        blocks.append(_ruler(ruler))
    total = report["disagreements"]["total"]
    if any(row["paired"] for table in tables for row in table["rows"]):
        blocks.append(f"The models disagree on {counted(total, 'question')}: see report.html.")
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


def _headlines(report: Report) -> list[str]:
    lines = [
        f"- **{text(headline['word'])}**: {text(headline['sentence'])}"
        for headline in report["headlines"]
    ]
    pairing = report["provenance"]["pairing"]
    unpaired, refused = (
        text(", ".join(pairing[name])) for name in ("unpaired_tasks", "tasks_not_compared")
    )
    return [
        *([f"**UNPAIRED**: the questions of {unpaired} were not matched."] if unpaired else []),
        *([f"**NOT COMPARED**: {refused}; see the warnings."] if refused else []),
        "\n".join(lines),
    ]


def _table(table: Mapping[str, Any]) -> str:
    rows = table["rows"]
    lines = [
        f"**{text(table['label'])}**",
        "",
        table_line(_HEAD),
        table_line(["---", "---", *["---:"] * (len(_HEAD) - 2)]),
    ]
    lines += [table_line(_row(row)) for row in rows[:MOST_ROWS]]
    lines += _paper_notes(rows)
    if len(rows) > MOST_ROWS:
        lines += ["", f"{len(rows) - MOST_ROWS} more rows are in report.html."]
    return "\n".join(lines)


def _ruler(ruler: RulerSummary) -> str:
    """RULER's weighted averages and effective length."""
    tasks, lengths = len(ruler["tasks"]), ", ".join(map(tokens, ruler["lengths"]))
    some = "" if tasks == ruler["of"] else f" of {tasks} of {ruler['of']} tasks"
    head = ("weights of lengths", "IHA", "baseline", "points (95%)", "paper")
    lines = [f"**RULER's averages{some}** ({lengths})", "", table_line(head)]
    lines.append(table_line(["---", *["---:"] * (len(head) - 1)]))
    for average in ruler["averages"]:
        scores = [_percent(average[side]) for side in SIDES]
        paper = _paper(ruler["paper"]) if average["weights"] == "equal" else ""
        lines.append(table_line([average["weights"], *scores, plain_difference(average), paper]))
    note = "Intervals are made of those of the cells and not corrected."
    if effective := ruler["effective"]:
        reached = [tokens(effective[side] or None) for side in SIDES]
        lines.append(table_line(["effective length", *reached, "", ""]))
        note += (
            " Effective length: the longest one with a mean of at least "
            f"{_percent(ruler['threshold'])}%, {ruler['threshold_source']}; a dash where none has."
        )
    else:
        note += (
            " RULER's own averages and its threshold for an effective length are of all "
            f"{ruler['of']} tasks, so these are not comparable with them."
        )
    return "\n".join([*lines, "", f"<sub>{text(note)}</sub>"])


def _row(row: Mapping[str, Any]) -> Sequence[str]:
    n = str(row["n"]) if row["paired"] else f"{row['n']}, {row['n_baseline']}"
    if row["left_out"]:
        n += f" ({row['left_out']} left out)"
    label = text(row["label"]) if row["paired"] else f"{text(row['label'])} (unpaired)"
    return (
        f"**{label}**" if row["decides"] else label,
        f"**{text(row['word'])}**" if row["word"] in SIGNIFICANT else text(row["word"]),
        n,
        _percent(row["iha"]),
        _percent(row["baseline"]),
        plain_difference(row),
        _relative(row),
        text(plain_p(row["p_corrected"])),
        only_right(row),
        "-" if row["smallest"] is None else f"{row['smallest']:.1f}",
        _paper(row["paper"]),
    )


def table_line(fields: Sequence[str]) -> str:
    """One line of a table, its fields escaped already."""
    return f"| {' | '.join(fields)} |"


def _percent(score: float | None) -> str:
    return "-" if score is None else f"{100 * score:.1f}"


def _relative(row: Mapping[str, Any]) -> str:
    if row["relative"] is None:
        return "-"
    ends = [row["relative_low"], row["relative_high"]]
    interval = "" if None in ends else f" ({' to '.join(f'{100 * end:+.0f}%' for end in ends)})"
    return f"{100 * row['relative']:+.1f}%{interval}"


def _paper(paper: Mapping[str, Any] | None) -> str:
    if paper is None:
        return ""
    relative = f"{100 * paper['relative']:+.0f}%"
    if paper["iha"] is None:
        return relative
    return f"{_percent(paper['iha'])} / {_percent(paper['baseline'])} ({relative})"


def _paper_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the paper has for all of its models, and what of it does not fit."""
    known = [row for row in rows if row["paper"]]
    models = [
        f"{text(row['label'])}: "
        + ", ".join(
            f"{name} {'-' if score is None else f'{100 * score:.4g}'}"
            for name, score in row["paper"]["models"].items()
        )
        for row in known
        if row["paper"]["models"]
    ]
    caveats = dict.fromkeys(text(row["paper"]["caveat"]) for row in known if row["paper"]["caveat"])
    notes = [f"Paper, {note}." for note in models] + [f"Does not fit: {note}." for note in caveats]
    return ["", f"<sub>{' '.join(notes)}</sub>"] if notes else []


def _provenance(report: Report) -> str:
    models = [_model(name, report["models"][side]) for side, name in _SIDES.items()]
    source = report["provenance"]
    pairing, statistics = source["pairing"], source["statistics"]
    facts = [
        *models,
        f"{pairing['documents']} documents of {pairing['tasks']} tasks, hashes {pairing['hashes']}",
        f"p corrected by {statistics['correction']} ({text(statistics['families'])})",
        f"intervals: {text('; '.join(statistics['intervals']) or 'none')}",
        *([f"commit {text(source['commit'])}"] if source["commit"] else []),
        f"run {text(report['created'])}",
        *_compare(source["compare"]),
    ]
    return f"<sub>{'. '.join(facts)}.</sub>"


def _compare(compare: Mapping[str, Any]) -> Sequence[str]:
    """The command that made the report, or else its options."""
    if compare["command"]:
        return [f"report by {text(shlex.join(compare['command']))}"]
    options = [f"{name} {value}" for name, value in compare["options"].items() if value is not None]
    return [f"options: {text(', '.join(options))}"] if options else []


_SIDES: dict[SideName, str] = {"iha": "IHA", "baseline": "Baseline"}


def _model(name: str, model: Mapping[str, Any]) -> str:
    facts = [model["model_class"], model["dtype"], model["device"]]
    unknown = [name for name in ("device", "command") if not model[name]]
    if model["fingerprint"]:
        facts.append(f"fingerprint {model['fingerprint'][:12]}")
    elif model.get("model_sha"):
        facts.append(f"commit {model['model_sha'][:12]} on the hub")
    else:
        unknown.append("fingerprint")
    if unknown:
        facts.append(f"{' and '.join(unknown)} not recorded")
    for share in ("cut", "unparseable"):
        if model[share] is not None:
            facts.append(f"{_percent(model[share])}% {share}")
    return text(f"{name}: {model['name']} ({', '.join(str(fact) for fact in facts if fact)})")
