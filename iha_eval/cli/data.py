"""`iha-eval data check`: is the real data there, and is it the published one?

For: before a long run. Not for: getting data; the notes below the table say how.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from iha_eval.data.check import FileState

SUMMARY = "data check [FOLDER]: say which benchmark data is there and whether it is the known one"


def main(arguments: Sequence[str]) -> int:
    """Show what was found.

    Returns:
        0 if every test file is there and is the published one, else 1.

    Raises:
        UserError: What is named as a folder is none.
    """
    # Slow to import, and not needed for the help of `iha-eval`.
    from iha_eval.data.check import check_all, complete
    from iha_eval.data.sources import as_folder, named_folder
    from iha_eval.util.terminal import CleanConsole

    options = _parser().parse_args(arguments)
    folder = named_folder() if options.folder is None else as_folder(options.folder, "FOLDER")
    findings = check_all(folder)
    done = complete(findings)
    place = "Hugging Face hub" if folder is None else str(folder)
    if options.json:
        print(
            json.dumps(
                {"place": place, "ok": done, "files": [asdict(state) for state in findings]},
                indent=2,
            )
        )
        return 0 if done else 1
    console = CleanConsole()
    console.print(table(findings, f"data in {place}"))
    for state in findings:
        if state.note:
            console.print(
                f"{state.file}: {state.note}", soft_wrap=True, highlight=False, markup=False
            )
    return 0 if done else 1


def table(findings: "Sequence[FileState]", title: str) -> "Table":
    """Lay the findings out, a row a file."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=escape(title), caption="hashes: SHA-256 of the rows' used fields")
    for name in ("file", "needed for", "rows", "hash", "state"):
        shown.add_column(name, justify="right" if name == "rows" else "left", no_wrap=True)
    for state in findings:
        shown.add_row(
            state.file,
            "tasks" if state.needed else "few-shot",
            f"{'-' if state.rows is None else state.rows} of {state.expected_rows}",
            (state.sha256 or "-")[:12],
            state.state,
        )
    return shown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="iha-eval data", description=SUMMARY)
    commands = parser.add_subparsers(required=True, metavar="check")
    check = commands.add_parser(
        "check", help="look at each file", description="exit code 0 only if all test files match"
    )
    check.add_argument(
        "folder",
        nargs="?",
        metavar="FOLDER",
        help="the data folder (that in IHA_EVAL_DATA; without one, the Hugging Face hub)",
    )
    check.add_argument("--json", action="store_true", help="print JSON")
    return parser
