"""`iha-eval merge`: one run out of runs of one model that were split by hand over machines.

For: the command line only. Not for: what fits together (iha_eval.compare.inputs.merge).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

SUMMARY = "merge RUN RUN... --out RUN: put runs of one model together, by tasks or by documents"


def main(arguments: Sequence[str]) -> int:
    """Merge and say where.

    Returns:
        0.

    Raises:
        UserError: The runs do not fit.
    """
    options = _parser().parse_args(arguments)
    # Slow to import, and not needed for the help of `iha-eval`.
    from iha_eval.compare.inputs.merge import merge_runs
    from iha_eval.compare.inputs.runs import load_run

    file, notes = merge_runs(options.runs, options.out)
    for note in notes:
        print(note)
    run = load_run(file)
    for task in run.tasks:
        counts = run.part("n-samples", task)
        print(f"{task}: {counts.get('effective', '?')} of {counts.get('original', '?')} documents")
    print(file)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iha-eval merge",
        description="Put runs together that differ in tasks or in documents alone. Runs of other "
        "models or settings are refused, and so are documents on which two runs do not agree.",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="a results_*.json, or its folder"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    return parser
