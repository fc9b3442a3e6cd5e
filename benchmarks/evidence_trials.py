"""What IHA learns in the composition experiment from other first weights, width, rate or length.

For: the trials of docs/evidence.md on why IHA is behind; each goes on where it was stopped.
Not for: the experiment itself (`iha-eval evidence composition`), whose choices are not changed.

    python benchmarks/evidence_trials.py --out trials [--task ternary] [--start random]
        [--epochs 2] [--width 32] [--rate 0.001] [--seed 0]
"""

import argparse
import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn

from iha_eval.evidence.composition import mixers
from iha_eval.evidence.composition.relations import TASKS
from iha_eval.evidence.composition.training import TrainingSettings, train
from iha_eval.util.files import write_whole


def first(start: str, identity: Tensor) -> nn.Parameter:
    """Alpha [H, H, P] or collapse [H, P*H]: `random` like a linear layer, or the noise's size."""
    noise = torch.randn(identity.shape)
    if start == "random":
        summed = identity.shape[0] if identity.dim() == 3 else identity.shape[1]
        return nn.Parameter(noise / math.sqrt(summed))
    return nn.Parameter(identity + float(start) * noise)


def main() -> None:
    """Train one IHA model, print its progress, and write its history."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--task", choices=[task.name for task in TASKS], default="ternary")
    usual = mixers._NOISE
    parser.add_argument("--start", default=str(usual), help=f"random, or noise ({usual})")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    kept = asked.out / "-".join(str(v) for k, v in vars(asked).items() if k != "out")
    settings = replace(TrainingSettings(), epochs=asked.epochs, hidden=asked.width)
    say = partial(print, flush=True)
    task = next(task for task in TASKS if task.name == asked.task)
    with mock.patch.object(mixers, "_near", lambda identity: first(asked.start, identity)):
        cell = train(task, "IHA", asked.rate, asked.seed, settings, say, Path(f"{kept}.state"))
    write_whole(Path(f"{kept}.json"), json.dumps(cell, indent=1) + "\n")
    print(f"{kept}.json: {cell['test']['accuracy']:.2%} of the test's entries right")


if __name__ == "__main__":
    main()
