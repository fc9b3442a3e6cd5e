"""The cells of the experiment: every task, model, learning rate and seed, each run once.

For: running what is not there yet, in as many processes as asked for. Not for: one cell's training.

A cell that is finished is a file. Starting again runs those that have none; a cell that was under
way begins anew.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from iha_eval.errors import UserError
from iha_eval.evidence.composition.network import MODELS
from iha_eval.evidence.composition.relations import Task
from iha_eval.evidence.composition.training import Say, Settings, train
from iha_eval.files import write_whole

#: The paper's learning rates.
RATES = (1e-3, 1e-4)


@dataclass(frozen=True)
class Cell:
    """One training run."""

    task: Task
    model: str
    rate: float
    seed: int

    @property
    def name(self) -> str:
        """Of its file, without the ending."""
        return f"{self.task.name}-{self.model.lower()}-lr{self.rate:g}-seed{self.seed}"


def grid(tasks: Sequence[Task], seeds: Sequence[int]) -> list[Cell]:
    """All cells, seed by seed, so that whatever is finished early is a whole comparison.

    Within a seed all models of the higher learning rate come first.
    """
    return [
        Cell(task, model, rate, seed)
        for seed, rate, task, model in itertools.product(seeds, RATES, tasks, MODELS)
    ]


def run_all(
    cells: Sequence[Cell], settings: Settings, folder: Path, jobs: int, say: Say
) -> list[dict[str, Any]]:
    """The content of every cell's file, after running those without one.

    Args:
        cells: In the order in which they are to run.
        settings: Of all of them.
        folder: For the files; must exist.
        jobs: Processes at a time, a thread each; with 1 the cells run in this one.
        say: Is told about every evaluation and every finished cell.

    Raises:
        UserError: A file is of other settings, or is not a cell's.
    """
    found = {cell: read(cell, settings, folder) for cell in cells}
    missing = [cell for cell, content in found.items() if content is None]
    say(f"{len(cells) - len(missing)} of {len(cells)} cells are there in {folder}")
    for number, cell in enumerate(_run(missing, settings, folder, jobs, say), 1):
        found[cell] = read(cell, settings, folder)
        say(f"{cell.name} is done, {len(missing) - number} to go")
    return [content for content in found.values() if content is not None]


def read(cell: Cell, settings: Settings, folder: Path) -> dict[str, Any] | None:
    """A finished cell, or None.

    Raises:
        UserError: The file is of other settings, or is not a cell's.
    """
    path = _path(cell, folder)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        same = content["settings"] == _plain(settings)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{path} is not a finished cell of this experiment: remove it to run that cell again."
        ) from None
    if not same:
        raise UserError(
            f"{path} was made with other settings than those asked for: name another folder with "
            "--out, or remove it."
        )
    return dict(content)


def run_cell(cell: Cell, settings: Settings, folder: Path, say: Say) -> None:
    """Train one cell with one thread and write its file."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = train(
            *(cell.task, cell.model, cell.rate, cell.seed, settings),
            say=lambda text: say(f"{cell.name}: {text}"),
        )
    finally:
        torch.set_num_threads(threads)
    head = {
        "task": cell.task.name,
        "model": cell.model,
        "learning_rate": cell.rate,
        "seed": cell.seed,
        "settings": _plain(settings),
    }
    write_whole(_path(cell, folder), json.dumps(head | found, indent=1) + "\n")


def _run(
    cells: Sequence[Cell], settings: Settings, folder: Path, jobs: int, say: Say
) -> Iterator[Cell]:
    """Each cell when it is done."""
    if jobs == 1:
        for cell in cells:
            run_cell(cell, settings, folder, say)
            yield cell
        return
    # Forked processes would inherit torch's threads in a state that hangs.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(run_cell, cell, settings, folder, say): cell for cell in cells}
        for done in as_completed(running):
            done.result()
            yield running[done]


def _path(cell: Cell, folder: Path) -> Path:
    return folder / f"{cell.name}.json"


def _plain(settings: Settings) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(asdict(settings)))
