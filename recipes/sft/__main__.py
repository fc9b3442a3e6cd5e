"""`python -m recipes.sft`: the command line of the fine-tuning recipe.

For: reading arguments and saying what came of it. Not for: the training (training.py).
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from iha_eval.cli._argument_types import fraction, natural, positive
from iha_eval.errors import UserError, exit_on_user_error


def main(arguments: Sequence[str] | None = None) -> int:
    """Fine-tune a checkpoint.

    Returns:
        0 when the result is written.

    Raises:
        UserError: An argument cannot be meant, or the data cannot be read.
    """
    options = _parser().parse_args(arguments)
    if options.out.exists() and not (options.out / "training").is_dir():
        raise UserError(f"{options.out} exists: name a new folder with --out.")
    # Slow to import, and not needed for --help.
    from recipes.sft.dialogues import read
    from recipes.sft.training import FineTuneSettings, train

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    dialogues = list(islice(read(options.data), options.limit))
    fields = {name: vars(options)[name] for name in FineTuneSettings.__dataclass_fields__}
    losses = train(FineTuneSettings(**fields), dialogues)
    ends = max(1, len(losses) // 4)
    first, last = (sum(part) / len(part) for part in (losses[:ends], losses[-ends:]))
    print(f"{len(losses)} steps, loss {first:.3f} -> {last:.3f} (means of {ends})")  # noqa: T201
    print(f"written to {options.out}; next: iha-eval verify {options.out}")  # noqa: T201
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m recipes.sft",
        description="Fine-tune a checkpoint on dialogues; the same command goes on after a stop.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="CHECKPOINT", help="where to start from")
    parser.add_argument("--data", required=True, help="JSON lines, or hub:OWNER/NAME")
    parser.add_argument("--out", type=Path, required=True, help="folder for the result")
    parser.add_argument("--limit", type=positive, help="take only the first dialogues")
    parser.add_argument("--steps", type=positive, default=1000, help="optimizer steps")
    parser.add_argument("--batch", type=positive, default=4, help="dialogues a device and pass")
    parser.add_argument("--accumulate", type=positive, default=4, help="passes a step")
    parser.add_argument("--learning-rate", type=fraction, default=1e-5, help="of all but those two")
    parser.add_argument("--iha-learning-rate", type=fraction, default=1e-3, help="alphas, collapse")
    parser.add_argument("--max-length", type=positive, default=2048, help="tokens of a dialogue")
    parser.add_argument("--lora", type=natural, default=0, metavar="RANK", help="0: every weight")
    parser.add_argument("--seed", type=natural, default=0, help="of the order of the data")
    parser.add_argument("--save-steps", type=positive, default=100, help="from checkpoint to next")
    parser.add_argument(
        "--save-every",
        type=positive,
        default=0,
        metavar="N",
        help="leave a checkpoint in step-N of the result every N steps, for iha-eval watch",
    )
    return parser


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
