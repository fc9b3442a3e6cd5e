"""`iha-eval verify`: do all implementations of a checkpoint say the same?

For: before trusting a number, and after converting a checkpoint. Not for: scores.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from iha_eval.cli._argument_types import positive_real

SUMMARY = "verify CHECKPOINT: compare the naive, the Transformers and the vLLM implementation on it"


def main(arguments: Sequence[str]) -> int:
    """Read with every implementation and show how far they are apart.

    Returns:
        0 if all agree that took part, else 1.

    Raises:
        UserError: A checkpoint cannot be read, or an implementation refuses it.
    """
    options = _parser().parse_args(arguments)
    # Slow to import, and not needed for the help.
    from iha_eval.util.terminal import CleanConsole
    from iha_eval.util.text import clean
    from iha_eval.verify.report import as_json, judge, show
    from iha_eval.verify.run import Request, verify

    request = Request(
        options.checkpoint,
        options.against,
        options.dtype,
        options.prompts,
        options.tolerance,
        vllm="vllm" not in options.without,
    )
    report = verify(request, say=lambda what: print(f"reading: {clean(what)}", file=sys.stderr))
    verdict = judge(report)
    if options.json:
        print(json.dumps(as_json(report, verdict), indent=2, allow_nan=False))
    else:
        show(report, verdict, CleanConsole())
    return 0 if verdict.agree else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iha-eval verify",
        description="Compare log-probabilities and greedy text of all implementations on built-in "
        "prompts. Exit code 0: they agree; 1: they do not; 2: a mistake that you can mend.",
    )
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="folder, hub name, embedded-iha or embedded-baseline",
    )
    parser.add_argument(
        "--against", metavar="BASE", help="the plain checkpoint that it is an exact conversion of"
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "checkpoint"),
        default="float32",
        help="type to compute in (float32, which shows most)",
    )
    parser.add_argument(
        "--prompts", choices=("short", "all"), default="all", help="short: none above 129 tokens"
    )
    parser.add_argument(
        "--tolerance",
        type=positive_real,
        metavar="X",
        default=1e-3,
        help="nats that log-probabilities may differ by in float32 (%(default)g)",
    )
    parser.add_argument(
        "--without", choices=("vllm",), action="append", default=[], help="leave vLLM out"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser
