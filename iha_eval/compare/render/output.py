"""The files of a report, each written in one step.

For: report.json, report.md and report.html in a folder, and the tables as CSV and LaTeX if asked.
Not for: what stands in them.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from iha_eval.compare.render.markdown import to_markdown
from iha_eval.compare.render.tables import TABLES
from iha_eval.compare.schema import Report
from iha_eval.errors import UserError
from iha_eval.util.files import write_whole


def write_report(report: Report, folder: Path | str, tables: Sequence[str] = ()) -> list[Path]:
    """Write a report; a reader finds old files or new ones, never half of one.

    Args:
        report: As `build_report` returns it.
        folder: Where to; made if need be.
        tables: Forms in which to write the tables beside it, of `TABLES`.

    Returns:
        The page, the Markdown and the JSON file, and the tables that were asked for.

    Raises:
        UserError: The folder cannot be written to.
    """
    # Jinja and matplotlib, so not before it is needed.
    from iha_eval.compare.render.page import render

    texts = {
        "report.html": render(report),
        "report.md": to_markdown(report),
        "report.json": json.dumps(report, ensure_ascii=False, allow_nan=False) + "\n",
    }
    for form in tables:
        ending, write = TABLES[form]
        texts[f"report.{ending}"] = write(report)
    return write_files(texts, folder)


def write_files(texts: Mapping[str, str], folder: Path | str) -> list[Path]:
    """Write texts into a folder, each in one step.

    Args:
        texts: File name -> content.
        folder: Where to; made if need be.

    Raises:
        UserError: The folder cannot be written to.
    """
    place = Path(folder).expanduser()
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_whole(place / name, text)
    except OSError as error:
        raise UserError(
            f"{place} cannot be written to ({error.strerror or error}): name another folder with "
            "--out."
        ) from error
    return [place / name for name in texts]
