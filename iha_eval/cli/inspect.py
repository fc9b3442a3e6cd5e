"""`iha-eval inspect`: what a checkpoint costs, and what its mixing weights have become.

For: the command line only. Not for: counting (`model_adapters.cost`), measuring weights
(`model_adapters.inspection`), or checking what a checkpoint computes (`iha-eval verify`).
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

SUMMARY = "inspect CHECKPOINT: parameters, FLOPs, KV cache, what a GPU holds, alpha and collapse"


def main(arguments: Sequence[str]) -> int:
    """Show what a checkpoint costs and how far its IHA layers are from plain attention.

    Returns:
        0.

    Raises:
        UserError: The checkpoint cannot be read, a number makes no sense, or the page cannot be
            written.
    """
    options = _parser().parse_args(arguments)
    # Slow to import, and not needed for the help.
    from iha_eval.checkpoint_report.gather import Asked, inspect
    from iha_eval.errors import UserError

    if options.html and not options.html.parent.is_dir():
        raise UserError(
            f"--html is {options.html}, whose folder does not exist: make it, or name another file."
        )
    asked = Asked(
        context=options.context,
        gpu_memory=options.gpu_memory,
        bandwidth=options.bandwidth,
        block_size=options.block_size,
        batched_tokens=options.batched_tokens,
    )
    report = inspect(options.checkpoint, asked)
    if options.json:
        print(json.dumps(report.as_dict(), indent=1, allow_nan=False))
    else:
        from iha_eval.checkpoint_report.table import show
        from iha_eval.util.terminal import CleanConsole

        show(report.as_dict(), CleanConsole())
    if options.html:
        from iha_eval.checkpoint_report.page import write_page

        write_page(report, options.html)
        if not options.json:
            print(options.html)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iha-eval inspect",
        description="Parameters, FLOPs and KV cache per kind of layer against the plain baseline, "
        "what a GPU holds and how fast it decodes at best, and how far alpha and collapse are "
        "from identity. Nothing is run.",
    )
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="folder, hub name, embedded-iha or embedded-baseline",
    )
    parser.add_argument(
        "--context",
        type=int,
        metavar="N",
        help="tokens that costs are given at (the checkpoint's max_position_embeddings)",
    )
    numbers = (
        ("--gpu-memory", 80.0, "GB", "memory of the GPU, in 10^9 bytes"),
        ("--bandwidth", 3350.0, "GB/s", "memory bandwidth of the GPU, in 10^9 bytes a second"),
        ("--block-size", 16, "TOKENS", "vLLM's block_size, a multiple of 16"),
        ("--batched-tokens", 16384, "TOKENS", "vLLM's max_num_batched_tokens"),
    )
    for name, default, unit, meaning in numbers:
        parser.add_argument(
            name,
            type=type(default),
            default=default,
            metavar=unit,
            help=f"{meaning} (%(default)g)",
        )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page as well")
    return parser
