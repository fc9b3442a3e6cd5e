"""`iha-eval history`: the trend over all nights, first bad nights, and what changed there.

For: reading what `iha-eval nightly` has recorded, and accepting a night as the new normal.
Not for: running anything.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

SUMMARY = "history DIR: the trend over all nights, first bad nights and what changed there"


def main(arguments: Sequence[str]) -> int:
    """Show a history.

    Returns:
        0, whatever it shows.

    Raises:
        UserError: there is no such folder, or no such night to accept.
    """
    # Slow to import, and not needed for the help of `iha-eval`.
    from rich.console import Console

    from iha_eval.cli._history_table import sentences, table
    from iha_eval.errors import UserError
    from iha_eval.nightly.history import Store
    from iha_eval.nightly.lock import only_one
    from iha_eval.nightly.lookback import look_back

    options = _parser().parse_args(arguments)
    store = Store(options.folder.expanduser())
    if not store.folder.is_dir():
        raise UserError(
            f"{store.folder} is not a folder: name the one that history: in the configuration of "
            "iha-eval nightly names."
        )
    if options.accept:
        with only_one(store.folder, "an --accept"):
            store.accept(options.accept)
    found = look_back(store.read())
    if options.json:
        print(json.dumps(found.as_dict(), indent=1))
        return 0
    rows = [
        row
        for row in found.rows
        if row.series.results and (options.all or (row.series.watched and row.series.current))
    ]
    console = Console()
    count = len(found.nights)
    title = f"{store.folder}: {count} {'night' if count == 1 else 'nights'}"
    if rows:
        console.print(table(rows, title, console.width))
    else:
        console.print(f"{title}, no results", highlight=False, markup=False)
    for sentence in sentences(rows, found):
        console.print(sentence, soft_wrap=True, highlight=False, markup=False)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="iha-eval history", description=SUMMARY)
    parser.add_argument("folder", type=Path, metavar="DIR", help="the history folder")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--all",
        action="store_true",
        help="also metrics that no rule watches, and series that were replaced by other questions",
    )
    parser.add_argument(
        "--accept",
        metavar="NIGHT",
        help="take this night for good: later ones are held against it",
    )
    return parser
