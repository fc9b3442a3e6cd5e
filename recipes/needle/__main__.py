"""`python -m recipes.needle`: train one model of the pair.

For: the command line only.
Not for: what it does (see `train.py`, `export.py`).
"""

import argparse
import sys
from pathlib import Path

import torch

from iha_eval.errors import UserError
from recipes.needle.models import KINDS
from recipes.needle.presets import PRESETS
from recipes.needle.run import Run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m recipes.needle", description=__doc__)
    parser.add_argument("--model", choices=KINDS, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; goes on there")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="on a CPU; results depend on it")
    parser.add_argument("--until", type=int, help="stop after this step; the run can go on later")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Train; 0 on success."""
    from recipes.needle.train import train

    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    run = Run(options.out, options.model, options.preset, options.seed)
    try:
        run.open()
        train(run, torch.device(options.device), options.until)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
