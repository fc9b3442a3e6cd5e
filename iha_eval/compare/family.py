"""More than two runs: each against one baseline, or methods by their training runs.

For: the family's own page and its folder, `report.json`, `report.md` and `report.html` above the
reports of the pairs. Not for: a pair (report.py), nor for the numbers of training runs
(analysis/seeds.py).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iha_eval.compare.analysis.seeds import compare_seeds
from iha_eval.compare.inputs.runs import load_run
from iha_eval.compare.render.markdown import table_line, text
from iha_eval.compare.render.output import write_files, write_report
from iha_eval.compare.render.tables import SIGNIFICANT, TABLES, latex, write_csv
from iha_eval.compare.report import build_reports
from iha_eval.compare.schema import SCHEMA, FamilyReport, Report, ReportRow
from iha_eval.util.numbers import plain_difference, plain_p
from iha_eval.util.text import clean_all, one_line, unique_name

_HEAD = ("", "verdict", "compared", "n", "model", "baseline", "points (95%)", "p corrected")


def compare_many(
    runs: Sequence[Path],
    baseline: Path,
    folder: Path,
    asked: Mapping[str, Any],
    tables: Sequence[str] = (),
) -> tuple[FamilyReport, list[Path]]:
    """Compare each run with the baseline, all corrected as one family, and write the reports.

    Args:
        runs: The runs in question, at least one.
        baseline: The run that each is paired with.
        folder: Where to; each pair has a folder in it.
        asked: `command` and `options`, see `build_reports`.
        tables: See `write_report`.

    Returns:
        The family and the files that were written.

    Raises:
        UserError: A run is missing or broken, or two cannot be compared.
    """
    reports = build_reports([(run, baseline) for run in runs], _of_a_pair(asked))
    names = _distinct([report["models"]["iha"]["name"] for report in reports])
    return write_family(names, reports, folder, asked, tables)


def write_family(
    names: Sequence[str],
    reports: Sequence[Report],
    folder: Path,
    asked: Mapping[str, Any],
    tables: Sequence[str] = (),
    night: Mapping[str, Any] | None = None,
) -> tuple[FamilyReport, list[Path]]:
    """Write the reports of several models against one baseline.

    Args:
        names: Of the models; each pair's report is in a folder of that name.
        reports: As `build_reports` makes them together.
        folder: Where to.
        asked: `command` and `options`, see `build_reports`.
        tables: See `write_report`.
        night: Of nightly reports: what the night found over all models.

    Returns:
        The family and the files that were written.

    Raises:
        UserError: They cannot be written.
    """
    family: dict[str, Any] = {
        **_frame(asked, reports, f"{len(names)} models against one baseline"),
        "members": _members(names, reports),
        "seeds": None,
    }
    if night is not None:
        family["night"] = night
    return _write(family, folder, _write_pairs(names, reports, folder, tables), tables)


def compare_groups(
    groups: Mapping[str, Sequence[Path]],
    baseline: str,
    folder: Path,
    asked: Mapping[str, Any],
    tables: Sequence[str] = (),
) -> tuple[FamilyReport, list[Path]]:
    """Compare methods by their training runs, and write the report.

    The n-th runs of a method and the baseline have a report of their own, too.

    Args:
        groups: Method -> its training runs.
        baseline: The method that the others are measured by.
        folder: Where to.
        asked: `command` and `options`, see `build_reports`.
        tables: See `write_report`.

    Returns:
        The family and the files that were written.

    Raises:
        UserError: See `compare_seeds`.
    """
    loaded = {name: [load_run(run) for run in runs] for name, runs in groups.items()}
    rows = compare_seeds(loaded, baseline, asked["options"]["margin"])
    pairs = {
        f"{name}-{number}": (run, other)
        for name in groups
        if name != baseline
        for number, (run, other) in enumerate(
            zip(groups[name], groups[baseline], strict=False), start=1
        )
    }
    reports = build_reports(list(pairs.values()), _of_a_pair(asked))
    names = _distinct(list(pairs))
    counts = [f"{name} ({len(runs)})" for name, runs in groups.items() if name != baseline]
    title = f"Training runs: {', '.join(counts)} against {baseline} ({len(groups[baseline])})"
    family = {
        **_frame(asked, reports, title),
        # The rows of training runs are those of `seeds`.
        "members": [member | {"rows": []} for member in _members(names, reports)],
        "seeds": {
            "baseline": baseline,
            "groups": {name: [str(run) for run in runs] for name, runs in groups.items()},
            "rows": rows,
        },
    }
    return _write(family, folder, _write_pairs(names, reports, folder, tables), tables)


def sentences(family: FamilyReport) -> list[str]:
    """What the family comes to, a sentence for each row that decides."""
    if family["seeds"]:
        return [row["sentence"] for row in family["seeds"]["rows"] if row["decides"]]
    return [
        f"{member['name']}: {headline['sentence']}"
        for member in family["members"]
        for headline in member["headlines"]
    ]


def family_markdown(family: FamilyReport) -> str:
    """The family in short, with a link to each pair's report."""
    lines = [f"## {text(family['title'])}", ""]
    lines += [f"- {text(sentence)}" for sentence in sentences(family)]
    lines += ["", table_line(_HEAD), table_line(["---"] * len(_HEAD))]
    lines += [table_line([text(field) for field in fields]) for fields in family_rows(family)]
    lines += ["", "Each pair: " + ", ".join(_links(family, "report.md"))]
    lines += ["", f"<sub>{text(family['families'])}</sub>"]
    return "\n".join(lines) + "\n"


def family_rows(family: FamilyReport) -> list[list[str]]:
    """The table of the family: each row that decides, of each model."""
    if family["seeds"]:
        return [
            [
                *(row["model"], row["word"], f"{row['benchmark']}: {row['label']}", str(row["n"])),
                *(_mean(row["means_a"]), _mean(row["means_b"]), *_tested(row)),
            ]
            for row in family["seeds"]["rows"]
            if row["decides"]
        ]
    return [
        [
            *(member["name"], row["word"], f"{row['label']}, {row['metric']}", str(row["n"])),
            *(_mean([row["iha"]]), _mean([row["baseline"]]), *_tested(row)),
        ]
        for member in family["members"]
        for row in member["rows"]
        if row["decides"]
    ]


def family_terminal(family: FamilyReport, width: int = 80) -> str:
    """The table of the family, a line a row; no line is longer than the width from 80 on.

    Args:
        family: As `compare_many` returns it.
        width: Characters of a line; from 110 on there are more columns.
    """
    places = (0, 2, 3, 4, 5, 6, 7, 1) if width >= 110 else (0, 2, 6, 1)
    rows = [[row[place] for place in places] for row in (list(_HEAD), *family_rows(family))]
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # The two names share what the others leave.
    room = width - sum(sizes[2:]) - 2 * (len(sizes) - 1)
    sizes[0] = min(sizes[0], max(8, room - min(sizes[1], room // 2)))
    sizes[1] = min(sizes[1], max(8, room - sizes[0]))
    sides = ["<", "<", *">" * (len(sizes) - 3), "<"]
    lines = [
        "  ".join(
            f"{one_line(cell, size):{side}{size}}"
            for cell, size, side in zip(row, sizes, sides, strict=True)
        ).rstrip()
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def family_csv(family: FamilyReport) -> str:
    """Every row of every model with all its numbers, as `to_csv` writes those of a pair."""
    if not family["seeds"]:
        rows = [{"model": m["name"], **row} for m in family["members"] for row in m["rows"]]
        return write_csv(["model"], rows)
    rows = []
    for row in family["seeds"]["rows"]:
        means = {side: " ".join(map(str, row[side])) for side in ("means_a", "means_b")}
        rows.append({**row, **means})
    own = [name for name in rows[0] if name not in ReportRow.__annotations__] if rows else []
    return write_csv(own or ["model"], rows)


def family_latex(family: FamilyReport) -> str:
    """The table of the family for booktabs; significant differences are bold."""
    lines = [
        "% Needs \\usepackage{booktabs}. Bold: significant after correction.",
        f"% {one_line(family['title'], 200)}",
        r"\begin{tabular}{lllrrrrr}",
        r"\toprule",
        " & ".join(latex(head) for head in _HEAD) + r" \\",
        r"\midrule",
    ]
    for row in family_rows(family):
        fields = [latex(field) for field in row]
        if row[1] in SIGNIFICANT:
            # The difference.
            fields[6] = rf"\textbf{{{fields[6]}}}"
        lines.append(" & ".join(fields) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


_FAMILY_TABLES = {"csv": family_csv, "latex": family_latex}


def _frame(asked: Mapping[str, Any], reports: Sequence[Report], title: str) -> dict[str, Any]:
    warnings = [warning for report in reports for warning in report["warnings"]]
    compared = [report for report in reports if report["tables"]] or reports
    return {
        "schema": SCHEMA,
        "kind": "family",
        "title": asked["options"]["title"] or title,
        "created": max(report["created"] or "" for report in reports),
        "families": compared[0]["provenance"]["statistics"]["families"]
        + "; all comparisons of this page share their families",
        "baseline": reports[0]["models"]["baseline"]["name"],
        "warnings": list(dict.fromkeys(warnings)),
        "compare": dict(asked),
    }


def _members(names: Sequence[str], reports: Sequence[Report]) -> list[dict[str, Any]]:
    """What the page of a family has of each pair."""
    return [
        {
            "name": name,
            "folder": name,
            "model": report["models"]["iha"]["name"],
            "headlines": report["headlines"],
            "rows": [row for table in report["tables"] for row in table["rows"]],
        }
        for name, report in zip(names, reports, strict=True)
    ]


def _write_pairs(
    names: Sequence[str],
    reports: Sequence[Report],
    folder: Path,
    tables: Sequence[str],
) -> list[Path]:
    """The report of each pair, in a folder of its name."""
    return [
        path
        for name, report in zip(names, reports, strict=True)
        for path in write_report(report, folder / name, tables)
    ]


def _of_a_pair(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for, without the title, which is the family's."""
    return {**asked, "options": {**asked["options"], "title": None}}


def _write(
    family: dict[str, Any], folder: Path, paths: list[Path], tables: Sequence[str]
) -> tuple[FamilyReport, list[Path]]:
    # Jinja and matplotlib, so not before it is needed.
    from iha_eval.compare.render.page import render_family

    cleaned: FamilyReport = clean_all(family)
    links = [(member["name"], member["folder"]) for member in cleaned["members"]]
    page = render_family(cleaned, sentences(cleaned), [list(_HEAD), *family_rows(cleaned)], links)
    files = {
        "report.html": page,
        "report.md": family_markdown(cleaned),
        "report.json": json.dumps(cleaned, ensure_ascii=False, allow_nan=False) + "\n",
    }
    for form in tables:
        files[f"report.{TABLES[form][0]}"] = _FAMILY_TABLES[form](cleaned)
    return cleaned, [*write_files(files, folder), *paths]


def _distinct(names: Sequence[str]) -> list[str]:
    """Names fit for folders, each once."""
    made: list[str] = []
    for name in names:
        plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".") or "model"
        made.append(unique_name(plain, made))
    return made


def _links(family: FamilyReport, file: str) -> list[str]:
    return [f"[{text(m['name'])}]({m['folder']}/{file})" for m in family["members"]]


def _mean(scores: Sequence[float | None]) -> str:
    known = [score for score in scores if score is not None]
    return f"{100 * sum(known) / len(known):.1f}" if known else "-"


def _tested(row: Mapping[str, Any]) -> tuple[str, str]:
    return plain_difference(row), plain_p(row["p_corrected"])
