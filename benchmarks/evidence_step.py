"""What a training step of the composition experiment takes, by how attention is computed.

For: the tables of docs/evidence.md on what the time goes into, and its estimate of the whole
experiment: milliseconds of CPU time an example, on one thread. All ways are timed in turn in one
process, and the lowest of the turns counts.
Not for: what the models learn (`iha-eval evidence composition`), nor for GPUs.

    python benchmarks/evidence_step.py [--sizes 5 6 7 8 9 10] [--turns 3] [--json FILE]
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional

from iha_eval.cli._argument_types import positive
from iha_eval.evidence.composition import blockwise, network
from iha_eval.evidence.composition.plan import Plan
from iha_eval.evidence.composition.relations import TASKS, Examples, RelationTask, draw
from iha_eval.evidence.composition.training import TrainingSettings, evaluate
from iha_eval.models.provenance import processor
from model_adapters import naive

SETTINGS = TrainingSettings()
LARGEST = max(max(task.sizes) for task in TASKS)
# Of validation, in examples.
BATCHES = (SETTINGS.batch, 8 * SETTINGS.batch)
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
Act = Callable[[], object]
# Model and m: milliseconds of an example by what is done.
Times = dict[tuple[str, int], dict[str, float]]


def by_definition(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`naive.attend` with a mask that hides nothing."""
    mask = torch.ones(query.shape[1], key.shape[1], dtype=torch.bool)
    return naive.attend(query, key, value, mask)


def by_torch(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Torch's own attention, which is fused for four dimensions."""
    return functional.scaled_dot_product_attention(query[None], key[None], value[None])[0]


# What computes attention, and whether Adam is fused.
WAYS: dict[str, tuple[Attend, bool]] = {
    "`naive.attend`": (by_definition, False),
    "torch's fused attention": (by_torch, False),
    "`blockwise.attend`": (blockwise.attend, False),
    "and fused Adam": (blockwise.attend, True),
}


def examples(size: int, count: int) -> Examples:
    """Examples of one m; what is composed does not matter for time."""
    return draw(
        RelationTask("timed", 2, (size,), 0.325), count, torch.Generator().manual_seed(size)
    )


def make_step(model: str, size: int, attend: Attend, *, fused: bool) -> Act:
    """A training step of one batch, as `training.py` makes it."""
    trained = network.build(model, SETTINGS.hidden, LARGEST, seed=0)
    optimizer = torch.optim.Adam(trained.parameters(), lr=1e-3, fused=fused)
    ((relations, composed),) = examples(size, SETTINGS.batch).batches(SETTINGS.batch)

    def step() -> None:
        with mock.patch.object(blockwise, "attend", attend):
            logits = trained(relations)
            loss = functional.binary_cross_entropy_with_logits(logits, composed.float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return step


def acts(model: str, size: int) -> dict[str, tuple[Act, int]]:
    """All that is timed, with the number of examples of each."""
    timed: dict[str, tuple[Act, int]] = {
        name: (make_step(model, size, attend, fused=fused), SETTINGS.batch)
        for name, (attend, fused) in WAYS.items()
    }
    trained: nn.Module = network.build(model, SETTINGS.hidden, LARGEST, seed=0)
    shown = examples(size, max(BATCHES))
    for batch in BATCHES:
        timed[validation(batch)] = (
            lambda batch=batch: evaluate(trained, shown, batch),  # type: ignore[misc]
            shown.count,
        )
    return timed


def validation(batch: int) -> str:
    """What the column is called."""
    return f"validation by {batch}"


def take(act: Act, seconds: float) -> float:
    """Seconds of CPU time of one act, the mean over at least so many seconds."""
    count, start = 0, time.process_time()
    while True:
        act()
        count += 1
        spent = time.process_time() - start
        if spent >= seconds:
            return spent / count


def measure(model: str, size: int, turns: int, seconds: float) -> dict[str, float]:
    """Milliseconds of an example: one turn to warm up, then the lowest of the turns."""
    timed = acts(model, size)
    for act, _ in timed.values():
        act()
    taken = [
        {name: 1000 * take(act, seconds) / count for name, (act, count) in timed.items()}
        for _ in range(turns)
    ]
    return {name: min(turn[name] for turn in taken) for name in timed}


def hours(times: Times, epochs: int) -> float:
    """Core-hours of all runs, if every epoch is made; `times` has every m of both tasks."""
    evaluations = epochs * SETTINGS.evaluations
    training, validating, testing = SETTINGS.examples
    milliseconds = 0.0
    for cell in Plan().cells:
        sizes = [times[cell.model, size] for size in cell.task.sizes]
        step = sum(times_of_size["and fused Adam"] for times_of_size in sizes) / len(sizes)
        look = sum(times_of_size[validation(SETTINGS.batch)] for times_of_size in sizes) / len(
            sizes
        )
        milliseconds += epochs * training * step + (evaluations * validating + testing) * look
    return milliseconds / 3.6e6


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and the estimate where every m was timed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=positive, nargs="+", default=[8, LARGEST], help="m")
    parser.add_argument("--turns", type=positive, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="at least, of one turn")
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    options = parser.parse_args(arguments)
    if max(options.sizes) > LARGEST:
        parser.error(f"--sizes: the experiment has none beyond {LARGEST}")
    torch.set_num_threads(1)
    columns = [*WAYS, *map(validation, BATCHES)]
    print(f"| model | m | {' | '.join(columns)} |")
    print("|---" * (2 + len(columns)) + "|", flush=True)
    times: Times = {}
    for model in network.MODELS:
        for size in options.sizes:
            figures = times[model, size] = measure(model, size, options.turns, options.seconds)
            cells = " | ".join(f"{figures[name]:.3g}" for name in columns)
            print(f"| {model} | {size} | {cells} |", flush=True)
    about: dict[str, object] = {"device": processor(), "threads": 1, "torch": torch.__version__}
    if {size for task in TASKS for size in task.sizes} <= set(options.sizes):
        about["core-hours"] = {epochs: round(hours(times, epochs), 1) for epochs in (4, 1)}
    print("\n" + ", ".join(f"{key}: {value}" for key, value in about.items()))
    if options.json:
        rows = [{"model": key[0], "m": key[1], **row} for key, row in times.items()]
        content = about | {"milliseconds": rows}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
