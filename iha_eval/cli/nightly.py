"""`iha-eval nightly`: all models through all tasks, history, regressions, report.

For: the command line; `docs/nightly.md` tells how it is used. Not for: the work, which is
`iha_eval.nightly`.
"""

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from iha_eval import trackers
from iha_eval.errors import UserError
from iha_eval.util.redact import redact
from iha_eval.util.text import clean

if TYPE_CHECKING:
    from iha_eval.nightly.config import Config

SUMMARY = "nightly CONFIG.yaml: run models and baseline, keep the history, find regressions, report"

_EXIT_CODES = (
    "exit codes: 0 fine; 1 a regression; 2 a mistake in the configuration or another night under "
    "way; 3 a run, its scores or the report are missing, or the runs cannot be compared; 130 and "
    "143 stopped, to be gone on with by the same command"
)


def main(arguments: Sequence[str]) -> int:
    """Run a night, or say what it would run.

    Returns:
        0; 1 after a regression; 3 if a run is missing or anything unforeseen fails; after a signal,
        128 and its number.

    Raises:
        UserError: The configuration is wrong, another night is under way, or a folder cannot be
            written.
    """
    # Slow to import, and not needed for the help of `iha-eval`.
    from iha_eval.cli.run import take_progress
    from iha_eval.nightly.config import read_config
    from iha_eval.nightly.run import MISSING, dry_run, run_night

    options = _parser().parse_args(take_progress(arguments))
    trackers.check_client(options.to)
    config = read_config(options.config)
    now = datetime.now().astimezone()
    if options.dry_run:
        for line in dry_run(config, now, fresh=options.fresh):
            print(clean(line))
        return 0
    try:
        code = run_night(config, now, _say, fresh=options.fresh)
        if options.to and code <= MISSING:
            code = _send(config, options, code)
        return code
    except UserError:
        raise
    except Exception:
        # Python would exit with 1, which stands for a regression.
        print(redact(traceback.format_exc()), file=sys.stderr)
        return MISSING


def _send(config: "Config", options: argparse.Namespace, code: int) -> int:
    """Send the newest night to a tracker; a night is not undone because that fails."""
    from iha_eval.nightly.history import History
    from iha_eval.nightly.night import nights_in
    from iha_eval.nightly.run import FINE, MISSING

    newest = nights_in(config.output)[-1]
    try:
        report = json.loads((newest.folder / "report.json").read_text(encoding="utf-8"))
        number = list(History(config.history).read().nights).index(newest.id) + 1
        scores = trackers.scores_of(report, number)
        title = f"nightly {config.file.stem}"
        trackers.send_new(options.to, options.project, title, scores, config.history)
    except (OSError, ValueError, UserError) as error:
        _say(f"NOT SENT: {error}")
        return MISSING if code == FINE else code
    _say(f"sent to {options.to}, project {options.project}")
    return code


def _say(line: str) -> None:
    # Logs of services are read while the night goes on.
    print(clean(line), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iha-eval nightly", description=SUMMARY, epilog=_EXIT_CODES
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml", help="what to run")
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="repeat today's newest night from its beginning; what it had is kept aside",
    )
    parser.add_argument(
        "--json-progress",
        metavar="FILE",
        help="a file in which dashboards find once a second how far the run under way is",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be run, and run nothing"
    )
    trackers.add_options(parser)
    return parser
