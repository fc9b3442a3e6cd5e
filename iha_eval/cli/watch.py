"""`iha-eval watch`: the checkpoints of two training runs, each evaluated once, at equal steps.

For: the command line; `docs/nightly.md` tells how it is used. Not for: the work, which is
`iha_eval.nightly.watch`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from iha_eval import trackers
from iha_eval.cli._argument_types import positive, positive_real
from iha_eval.util.text import clean

SUMMARY = "watch --iha RUN --baseline RUN CONFIG.yaml: learning curves of two training runs"

_EXIT_CODES = (
    "exit codes: 0 fine; 1 IHA is clearly behind the baseline; 2 a mistake, or a checkpoint that "
    "cannot be used; 3 a run, its scores or a comparison are missing; 130 and 143 stopped, to be "
    "gone on with by the same command"
)


def main(arguments: Sequence[str]) -> int:
    """Follow two training runs.

    Returns:
        0; 1 if IHA is clearly behind; 3 if something is missing; after a signal, 128 and its
        number.

    Raises:
        UserError: The configuration, a run or a checkpoint cannot be meant, or another night or
            watch is under way.
    """
    # Slow to import, and not needed for the help of `iha-eval`.
    from iha_eval.nightly.config import BASELINE, read_config
    from iha_eval.nightly.step_report import IHA
    from iha_eval.nightly.watch import WatchedRuns, run_watch, watch_config

    options = _parser().parse_args(arguments)
    trackers.check_client(options.to)
    tasks = [name.strip() for name in options.tasks.split(",") if name.strip()]
    out = options.out.expanduser().absolute() if options.out else None
    config = watch_config(read_config(options.config, watched=True), tasks, out)
    folders = {IHA: options.iha, BASELINE: options.baseline}
    runs = WatchedRuns(
        {role: folder.expanduser().absolute() for role, folder in folders.items()},
        options.every,
        options.glob,
        options.once,
        options.poll,
        options.new_engines,
        (options.to, options.project) if options.to else None,
        dict(zip(folders, options.tokens_per_step, strict=True))
        if options.tokens_per_step
        else None,
    )
    return run_watch(config, runs, lambda line: print(clean(line), flush=True))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="iha-eval watch", description=SUMMARY, epilog=_EXIT_CODES)
    parser.add_argument(
        "config",
        type=Path,
        metavar="CONFIG.yaml",
        help="as of iha-eval nightly; the checkpoints take the place of pretrained",
    )
    parser.add_argument(
        "--iha", type=Path, required=True, metavar="RUN", help="folder of the training run"
    )
    parser.add_argument(
        "--baseline", type=Path, required=True, metavar="RUN", help="that of the baseline's"
    )
    parser.add_argument(
        "--every", type=positive, default=1, metavar="N", help="only steps that are a multiple (1)"
    )
    parser.add_argument(
        "--tokens-per-step",
        type=positive,
        nargs=2,
        metavar=("IHA", "BASELINE"),
        help="tokens of a training step of each run: pair equal tokens, called by IHA's steps",
    )
    parser.add_argument("--tasks", default="", metavar="TASK,TASK", help="in place of the file's")
    parser.add_argument(
        "--glob",
        metavar="PATTERN",
        help="checkpoint folders below a run; the last number is the step (checkpoint-N, step-N)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="in place of output and history of the file"
    )
    parser.add_argument(
        "--once", action="store_true", help="evaluate what is there, and end; else wait for more"
    )
    parser.add_argument(
        "--poll", type=positive_real, default=60.0, metavar="SECONDS", help="between looks (60)"
    )
    parser.add_argument(
        "--new-engines",
        action="store_true",
        help="start an engine for each checkpoint; else each model's stays, with half the memory",
    )
    trackers.add_options(parser)
    return parser
