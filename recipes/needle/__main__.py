"""`python -m recipes.needle`: train one model of the pair.

For: the command line only.
Not for: what it does (see `train.py`, `export.py`).
"""

import argparse
import sys
from pathlib import Path

import torch

from iha_eval.cli._argument_types import positive
from iha_eval.errors import UserError
from recipes.needle.models import KINDS
from recipes.needle.presets import PRESETS
from recipes.needle.run import TrainingRun


def _device(text: str) -> torch.device:
    """A device of torch's that this machine has.

    Raises:
        ArgumentTypeError: It is none, or not here.
    """
    try:
        device = torch.device(text)
        # Only use shows whether a device is there.
        torch.zeros(1, device=device).item()
    except (AssertionError, RuntimeError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no device that torch can use here: give cpu, or leave it out"
        ) from error
    return device


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m recipes.needle", description=__doc__)
    parser.add_argument("--model", choices=KINDS, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; goes on there")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny")
    parser.add_argument("--seed", type=int, default=0)
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", type=_device, default=default, help="such as cpu or cuda:1")
    threads = "on a CPU; results depend on it"
    parser.add_argument("--threads", type=positive, default=1, help=threads)
    until = "stop after this step; the run can go on later"
    parser.add_argument("--until", type=positive, help=until)
    save = "leave a checkpoint in step-N of the folder every so many steps, for iha-eval watch"
    parser.add_argument("--save-every", type=positive, default=0, metavar="N", help=save)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Train; 0 on success."""
    from recipes.needle.train import train

    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    run = TrainingRun(
        options.out,
        options.model,
        options.preset,
        options.seed,
        save_every=options.save_every,
    )
    try:
        run.open()
        train(run, options.device, options.until)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
