"""`iha-eval compare`: two lm-eval outputs in, one report out.

For: the command line only. Not for: the work, which is `iha_eval.compare`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

SUMMARY = "compare IHA_RUN BASELINE_RUN --out DIR: a report of one model against another"


def main(arguments: Sequence[str]) -> int:
    """Compare, write the three files, and print the headlines.

    Returns:
        0, whatever the verdict.

    Raises:
        UserError: A run is missing or broken, or the two cannot be compared.
    """
    # Slow to import, and not needed for the help of `iha-eval`.
    from iha_eval.compare import build_report, write_report

    options = _parser().parse_args(arguments)
    report = build_report(
        options.iha_run,
        options.baseline_run,
        unpaired=options.unpaired,
        correction=options.correction,
        margin=options.margin,
        title=options.title,
        commit=options.commit,
        command=["iha-eval", "compare", *arguments],
    )
    paths = write_report(report, options.out)
    for headline in report["headlines"]:
        print(headline["sentence"])
    for warning in report["warnings"]:
        print(f"warning: {warning}")
    for path in paths:
        print(path)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="iha-eval compare", description=SUMMARY)
    run = "results_*.json of lm-eval, or its folder; needs --log_samples"
    parser.add_argument("iha_run", type=Path, metavar="IHA_RUN", help=run)
    parser.add_argument("baseline_run", type=Path, metavar="BASELINE_RUN", help="the same")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for report.html, report.md and report.json",
    )
    parser.add_argument(
        "--unpaired",
        action="store_true",
        help="compare tasks of different questions or settings, too; shows less, and says so",
    )
    parser.add_argument(
        "--correction",
        choices=("holm", "fdr"),
        default="holm",
        help="of p-values across cells: Holm, or Benjamini and Hochberg's (holm)",
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=5.0,
        metavar="POINTS",
        help="difference that matters, for telling none from not enough data (5)",
    )
    parser.add_argument("--title", help="the report's title (the models' names)")
    parser.add_argument("--commit", help="a commit to be named in the report")
    return parser
