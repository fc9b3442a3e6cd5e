"""`iha-eval compare`: two lm-eval outputs in, one report out.

For: the command line only. Not for: the work, which is `iha_eval.compare`.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from iha_eval import trackers
from iha_eval.errors import UserError

SUMMARY = "compare RUN [RUN ...] BASELINE_RUN --out DIR: a report of models against a baseline"


def main(arguments: Sequence[str]) -> int:
    """Compare, write the reports, and print headlines and tables.

    Returns:
        0, whatever the verdict.

    Raises:
        UserError: A run is missing or broken, two cannot be compared, or scores cannot be sent.
    """
    # Slow to import, and not needed for the help of `iha-eval`.
    from iha_eval.compare import build_report, write_report
    from iha_eval.compare.family import compare_groups, compare_many, family_terminal, sentences
    from iha_eval.compare.render.tables import TABLES, to_terminal

    options = _parser().parse_args(arguments)
    trackers.check_client(options.to)
    names = ("unpaired", "correction", "margin", "title", "commit")
    given = {name: getattr(options, name) for name in names}
    command = ["iha-eval", "compare", *arguments]
    tables = [name for name in TABLES if getattr(options, name)]
    asked = {"command": command, "options": given}
    width = shutil.get_terminal_size().columns
    if options.seeds:
        groups, baseline = _groups(options)
        family, paths = compare_groups(groups, baseline, options.out, asked, tables)
        told = [*sentences(family), f"\n{family_terminal(family, width)}"]
        warnings = family["warnings"]
    else:
        runs, run = _runs(options)
        if len(runs) > 1:
            family, paths = compare_many(runs, run, options.out, asked, tables)
            told = [*sentences(family), f"\n{family_terminal(family, width)}"]
            warnings = family["warnings"]
        else:
            report = build_report(runs[0], run, command=command, **given)
            paths = write_report(report, options.out, tables)
            told, warnings = [line["sentence"] for line in report["headlines"]], report["warnings"]
            told.append(f"\n{to_terminal(report, width)}")
    for line in (*told, *(f"warning: {warning}" for warning in warnings), *paths):
        print(line)
    if options.to:
        written = json.loads((options.out / "report.json").read_text(encoding="utf-8"))
        trackers.send(options.to, options.project, written["title"], trackers.scores_of(written))
        print(f"sent to {options.to}, project {options.project}")
    return 0


def _runs(options: argparse.Namespace) -> tuple[list[Path], Path]:
    """The runs in question and the baseline, which is the last one if not named."""
    runs = list(options.runs)
    if options.baseline is None and len(runs) < 2:
        raise UserError("name two runs at least, the baseline last: compare RUN BASELINE_RUN.")
    baseline = runs.pop() if options.baseline is None else Path(options.baseline)
    others = [run for run in runs if run != baseline]
    if not others:
        raise UserError(f"there is no run to compare with the baseline {baseline}: name one.")
    if len(set(others)) < len(others):
        raise UserError("a run stands there twice: name each run once.")
    return others, baseline


def _groups(options: argparse.Namespace) -> tuple[dict[str, list[Path]], str]:
    """Method -> its training runs, and the method that is the baseline."""
    if options.runs:
        raise UserError(
            f"{options.runs[0]} stands outside --seeds: with it, every run is in a NAME=RUN,RUN."
        )
    if options.unpaired:
        raise UserError("--seeds pairs every question over all runs: leave out --unpaired.")
    groups: dict[str, list[Path]] = {}
    for group in options.seeds:
        name, equals, runs = group.partition("=")
        if not (name and equals and runs) or name in groups:
            raise UserError(f"--seeds {group}: give each model once, as NAME=RUN,RUN,RUN.")
        groups[name] = [Path(run) for run in runs.split(",") if run]
    baseline = options.baseline or ("baseline" if "baseline" in groups else list(groups)[-1])
    if baseline not in groups or len(groups) < 2:
        raise UserError(
            f"--seeds has no model {baseline!r} beside another one: it has {', '.join(groups)}."
        )
    return groups, baseline


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="iha-eval compare", description=SUMMARY)
    run = "results_*.json of lm-eval, or its folder; needs --log_samples"
    parser.add_argument(
        "runs", type=Path, nargs="*", metavar="RUN", help=f"{run}; two or more, the baseline last"
    )
    parser.add_argument(
        "--baseline",
        metavar="RUN",
        help="the run (with --seeds, the NAME) that each of the others is compared with",
    )
    parser.add_argument(
        "--seeds",
        nargs="+",
        metavar="NAME=RUN,RUN",
        help="training runs of each model, such as iha=A,B,C baseline=D,E: compares the methods",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for report.html, report.md and report.json; of several pairs, one more each",
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
    parser.add_argument("--csv", action="store_true", help="write the tables as report.csv, too")
    parser.add_argument(
        "--latex", action="store_true", help="write the tables as report.tex (booktabs), too"
    )
    parser.add_argument("--title", help="the report's title (the models' names)")
    parser.add_argument("--commit", help="a commit to be named in the report")
    trackers.add_options(parser)
    return parser
