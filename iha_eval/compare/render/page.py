"""The page of a report: one HTML file that needs nothing else.

For: `render`, from the content of report.json alone.
Not for: computing what stands on it; the templates in reports/templates say how it looks, and
figures/ draws.

What a model wrote is hostile until shown otherwise. Every value is made visible
(iha_eval.util.text) and escaped by the engine, and the page's policy lets no script run but
the one whose hash it names, and nothing load.
"""

import base64
import hashlib
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from iha_eval.compare.render.figures import ROLES, draw_all, trend
from iha_eval.compare.render.marks import marked
from iha_eval.compare.schema import (
    FamilyReport,
    NightCheck,
    Report,
    ReportQuestion,
    WatchReport,
)
from iha_eval.util import numbers
from iha_eval.util.installation import reports_dir
from iha_eval.util.text import unique_name, visible

#: Verdict -> its sign and the name of its style; the word itself always stands beside.
BADGES = {
    "better": ("▲", "better"),
    "worse": ("▼", "worse"),
    "no significant difference": ("=", "none"),
    "not enough data": ("?", "few"),
    "mixed": ("±", "few"),
    "not compared": ("\N{EN DASH}", "few"),
}

_NOT_IN_IDENTIFIERS = re.compile(r"[^A-Za-z0-9_.]+")

_FILTERS = (
    "percent",
    "points",
    "relative",
    "interval",
    "levels",
    "p_value",
    "count",
    "decimal",
    "rate",
    "size",
    "tokens",
    "duration",
    "there",
)


def render(report: Report) -> str:
    """The page as text that encodes to UTF-8; the same text for the same report.

    Args:
        report: The content of report.json.

    Raises:
        UserError: The templates are missing from the installation.
        jinja2.UndefinedError: The report lacks a part.
    """
    folder = reports_dir() / "templates"
    script = (folder / "questions.js").read_text(encoding="utf-8")
    page = _environment(folder).get_template("page.html")
    return page.render(
        report=report,
        figures=draw_all(report),
        groups=_groups([*report["disagreements"]["rows"], *_both_wrong(report)]),
        roles=dict(zip(("iha", "baseline"), ROLES, strict=True)),
        badges=BADGES,
        matching=_matching(report),
        regressions=_regressions(report),
        checks=_checks(report),
        policy=_policy(script),
        # Files of our own, the only texts beside the figures that are not escaped.
        script=Markup(script),
        style=Markup((folder / "style.css").read_text(encoding="utf-8")),
    )


def render_family(
    family: FamilyReport,
    sentences: Sequence[str],
    table: Sequence[Sequence[str]],
    links: Sequence[tuple[str, str]],
) -> str:
    """The page of several comparisons, without a script.

    Args:
        family: The content of its report.json.
        sentences: What it comes to.
        table: Its table, the heading first.
        links: Name and folder of each pair's report.
    """
    folder = reports_dir() / "templates"
    return (
        _environment(folder)
        .get_template("family.html")
        .render(
            family=family,
            sentences=sentences,
            table=table,
            links=links,
            badges=BADGES,
            regressions=_regressions(family),
            checks=_checks(family),
            policy=_policy(""),
            style=Markup((folder / "style.css").read_text(encoding="utf-8")),
        )
    )


def render_watch(report: WatchReport) -> str:
    """The page of two training runs, without a script."""
    folder = reports_dir() / "templates"
    return (
        _environment(folder)
        .get_template("watch.html")
        .render(
            report=report,
            rows=_step_rows(report),
            figures=trend.draw_steps(report),
            roles=dict(zip(("iha", "baseline"), ROLES, strict=True)),
            badges=BADGES,
            policy=_policy(""),
            style=Markup((folder / "style.css").read_text(encoding="utf-8")),
        )
    )


def _step_rows(report: WatchReport) -> list[dict[str, Any]]:
    """The table of steps, the newest first: one row for each step and curve, paired or not."""
    rows: dict[tuple[int, str, str], dict[str, Any]] = {}
    numbers_of = ("n", "iha", "baseline", "points", "low", "high", "looks_low", "looks_high")
    for series in report["trend"]:
        for night in series["nights"]:
            key = night["step"], series["task"], series["metric"]
            blank = dict(zip(("step", "task", "metric"), key, strict=True))
            blank |= dict.fromkeys(numbers_of) | {"report": report["reports"].get(str(key[0]))}
            rows.setdefault(key, blank)[series["model"]] = night["mean"]
    for difference in report["trend_differences"]:
        for gap in difference["nights"]:
            rows[gap["step"], difference["task"], difference["metric"]] |= gap
    order = list(rows)
    return [rows[key] for key in sorted(order, key=lambda key: (-key[0], order.index(key)))]


def _matching(report: Report) -> str:
    """Whether `all`, `some` or `none` of the rows are paired; `nothing` if there are no rows."""
    rows = [row for table in report["tables"] for row in table["rows"]]
    if not rows:
        return "nothing"
    if report["paired"]:
        return "all"
    return "some" if any(row.get("paired") for row in rows) else "none"


@cache
def _environment(folder: Path) -> Environment:
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_final,
    )
    made.filters |= {name: _strict(getattr(numbers, name)) for name in _FILTERS}
    made.filters |= {
        "command": command,
        "listed": listed,
        "distinct": distinct,
        "recorded": recorded,
        "marked": lambda row: marked(row["gold"], row["iha_output"], row["baseline_output"]),
    }
    return made


def _strict(write: Callable[..., Any]) -> Callable[..., Any]:
    """A filter for which what a report lacks is a mistake, and None a number that is not there."""

    def checked(*values: Any) -> Any:
        for value in values:
            if isinstance(value, StrictUndefined):
                # Raises, and names it.
                str(value)
        return write(*values)

    return checked


def _final(value: Any) -> Any:
    """What every expression of a template goes through before it is escaped."""
    if value is None:
        return numbers.MISSING
    return value if isinstance(value, Markup) else visible(value)


def _policy(script: str) -> str:
    """The Content-Security-Policy: nothing loads, and only this script runs."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def command(words: Iterable[Any]) -> str:
    """A command as a shell takes it."""
    return shlex.join(str(word) for word in words)


def listed(value: Any) -> Any:
    """JSON's values as text: lists with commas, objects as `key: value`; None stays None."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {listed(item)}" for key, item in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(str(listed(item)) for item in value)
    return value


def recorded(value: Any) -> Any:
    """A fact in words, or that the run did not write it down."""
    return "not recorded" if value is None or value == "" else value


def distinct(rows: Iterable[Mapping[str, Any]], key: str) -> list[Any]:
    """The values that rows have under a key, each once, in order, without None."""
    return [value for value in dict.fromkeys(row[key] for row in rows) if value is not None]


def _both_wrong(report: Report) -> list[ReportQuestion]:
    # Reports of earlier versions have none.
    return report["both_wrong"]["rows"] if "both_wrong" in report else []


def _regressions(report: Report | FamilyReport) -> list[str]:
    """What a night found worse; such sentences stand above everything else."""
    return report["night"]["regressions"] if "night" in report else []


def _checks(report: Report | FamilyReport) -> list[NightCheck]:
    """What a night was held against; nights of earlier versions do not say."""
    return report["night"].get("checks", []) if "night" in report else []


def _groups(rows: Iterable[ReportQuestion]) -> list[dict[str, Any]]:
    """Questions by task, in order of first appearance, with who is ahead how often."""
    by_task: dict[str, list[dict[str, Any]]] = {}
    taken: set[str] = set()
    for row in rows:
        by_task.setdefault(row["task"], []).append({**row, "id": _identifier(row, taken)})
    return [
        {
            "task": task,
            "rows": kept,
            "ahead": {way: _ahead(kept, way) for way in ("iha", "baseline", "neither")},
        }
        for task, kept in by_task.items()
    ]


def _identifier(row: ReportQuestion, taken: set[str]) -> str:
    """The question's place on the page, of task and document: the same in every report."""
    name = f"{_NOT_IN_IDENTIFIERS.sub('-', row['task'])[:80]}-{row['doc_id']}"
    unique = unique_name(name, taken)
    taken.add(unique)
    return unique


def _ahead(rows: Iterable[Mapping[str, Any]], direction: str) -> int:
    return sum(row["direction"] == direction for row in rows)
