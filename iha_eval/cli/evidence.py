"""`iha-eval evidence`: the paper's theory and its synthetic experiment, on this machine.

For: a table, a JSON file and a figure for each claim. Not for: the claims themselves, which are in
`iha_eval/evidence/`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from iha_eval.cli._argument_types import natural, positive

if TYPE_CHECKING:
    from rich.table import Table

    from iha_eval.evidence.result import Evidence

SUMMARY = (
    "evidence polynomial|cpm3|separation|composition: the paper's theory and synthetic results"
)

_CLAIMS = {
    "polynomial": "k polynomial filters from ceil(sqrt k) interleaved heads, with linear attention",
    "cpm3": "pairs counted by ceil(sqrt N_max) interleaved heads, with hard attention",
    "separation": "non-linear on repeated tokens, as no multi-head attention layer is",
    "composition": "relation composition learned by one layer of IHA, MHA and simplicial attention",
}


def main(arguments: Sequence[str]) -> int:
    """Check one claim.

    Returns:
        0, whatever it finds.

    Raises:
        UserError: The folder cannot be made, or holds cells of another experiment.
    """
    # Slow to import, and not needed for the help of `iha-eval`.
    from iha_eval.evidence.result import prepare, write
    from iha_eval.util.terminal import CleanConsole

    options = _parser().parse_args(arguments)
    folder = prepare(options.out.expanduser())
    evidence = _find(options, folder)
    console = CleanConsole()
    console.print(_table(evidence))
    for sentence in evidence.sentences:
        console.print(sentence, soft_wrap=True, highlight=False, markup=False)
    written = write(evidence, _command(options), folder)
    console.print(f"written: {', '.join(map(str, written))}", soft_wrap=True, highlight=False)
    return 0


def _command(options: argparse.Namespace) -> str:
    """What makes the same numbers again, whatever the folder and however many processes."""
    words = ["iha-eval evidence", options.claim, f"--seed {options.seed}"]
    for name in ("seeds", "epochs"):
        if getattr(options, name, None) is not None:
            words.append(f"--{name} {getattr(options, name)}")
    return " ".join([*words, *(["--quick"] if options.quick else [])])


def _find(options: argparse.Namespace, folder: Path) -> "Evidence":
    import importlib

    if options.claim == "composition":
        from iha_eval.evidence.composition import experiment
        from iha_eval.evidence.composition.plan import Plan

        fields = {name: vars(options)[name] for name in Plan.__dataclass_fields__}
        return experiment.run(folder, print_flushed, Plan(**fields))
    module = importlib.import_module(f"iha_eval.evidence.{options.claim}")
    evidence: Evidence = module.run(options.seed, options.quick)
    return evidence


def print_flushed(text: str) -> None:
    """Print a line of progress at once, also into a file, and from any process."""
    print(text, flush=True)


def _table(evidence: "Evidence") -> "Table":
    from rich.table import Table

    shown = Table(title=evidence.title)
    for name, cell in zip(evidence.columns, evidence.rows[0], strict=True):
        shown.add_column(name, justify="right" if cell[:1].isdigit() else "left")
    for row in evidence.rows:
        shown.add_row(*row)
    return shown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="iha-eval evidence", description=SUMMARY)
    claims = parser.add_subparsers(required=True, dest="claim", metavar="CLAIM")
    for name, text in _CLAIMS.items():
        claim = claims.add_parser(name, help=text, description=text)
        claim.add_argument("--quick", action="store_true", help="a small form, in seconds")
        claim.add_argument(
            "--out",
            type=Path,
            default=Path("evidence"),
            metavar="DIR",
            help="folder for the JSON file and the figure (%(default)s)",
        )
        claim.add_argument(
            "--seed",
            type=natural,
            default=0,
            metavar="S",
            help="of whatever is random; composition also uses those after it (%(default)s)",
        )
    _add_extent(claims.choices["composition"])
    return parser


def _add_extent(composition: argparse.ArgumentParser) -> None:
    composition.add_argument(
        "--seeds", type=positive, metavar="N", help="how many, from --seed up (3)"
    )
    composition.add_argument(
        "--epochs", type=positive, metavar="E", help="limit on passes over the examples (4)"
    )
    composition.add_argument(
        "--jobs",
        type=positive,
        default=1,
        metavar="N",
        help="processes at a time, a thread each (%(default)s)",
    )
    composition.add_argument(
        "--summary",
        action="store_true",
        help="train nothing: sum up what is there, and say what is missing",
    )
