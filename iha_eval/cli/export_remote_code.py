"""`iha-eval export-remote-code`: a checkpoint folder that loads where this package is not.

For: the command line only. Not for: what is written (`_remote_code.py`).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

SUMMARY = "export-remote-code CHECKPOINT: the model's code and card beside the weights, for the hub"


def main(arguments: Sequence[str]) -> int:
    """Write the modules, the model card and, from a report, the results.

    Returns:
        0.

    Raises:
        UserError: The folder is no IHA checkpoint, holds such files of others, or cannot be
            written; or the report is of another model.
    """
    options = _parser().parse_args(arguments)
    # Slow to import, and not needed for the help.
    from iha_eval.cli._remote_code import export

    # For a card that others read: names of files, not where they lie here.
    command = ["iha-eval", "export-remote-code", options.checkpoint.resolve().name]
    if options.report:
        command += ["--report", options.report.name]
    if options.data:
        command += ["--data", options.data]
    for line in export(options.checkpoint, options.report, options.data, command):
        print(line)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iha-eval export-remote-code",
        description="Write the few modules beside the weights with which "
        "AutoModelForCausalLM.from_pretrained(FOLDER, trust_remote_code=True) works without this "
        "package, and a model card. Weights stay as they are, and so does the fingerprint.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="an IHA checkpoint")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="report.json of iha-eval compare: its tables go into the card and, as far as the hub "
        "keeps such results, into .eval_results/",
    )
    parser.add_argument(
        "--data", metavar="TEXT", help="what the model was trained on, a sentence for the card"
    )
    return parser
