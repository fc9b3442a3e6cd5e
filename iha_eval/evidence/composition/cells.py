"""The cells of the experiment: every task, model, learning rate and seed, each run once.

For: running what is not there yet, in as many processes as asked for. Not for: one cell's training.

A cell that is finished is a file. Starting again runs those that have none; a cell that was under
way goes on from its last evaluation.
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
from iha_eval.evidence.composition.relations import RelationTask
from iha_eval.evidence.composition.training import Say, TrainingSettings, train
from iha_eval.util.files import write_whole
from iha_eval.util.process import end_with_me

#: The paper's learning rates.
RATES = (1e-3, 1e-4)


@dataclass(frozen=True)
class TrainingCell:
    """One training run."""

    task: RelationTask
    model: str
    rate: float
    seed: int

    @property
    def name(self) -> str:
        """Of its file, without the ending."""
        return cell_name(self.task.name, self.model, self.rate, self.seed)


def cell_name(task: str, model: str, rate: float, seed: int) -> str:
    """What a cell is called."""
    return f"{task}-{model.lower()}-lr{rate:g}-seed{seed}"


def grid(tasks: Sequence[RelationTask], seeds: Sequence[int]) -> list[TrainingCell]:
    """All cells, seed by seed, so that whatever is finished early is a whole comparison.

    Within a seed all models of the higher learning rate come first, and of these the task with the
    smaller matrices, which takes a third of the other's time.
    """
    by_size = sorted(tasks, key=lambda task: max(task.sizes))
    return [
        TrainingCell(task, model, rate, seed)
        for seed, rate, task, model in itertools.product(seeds, RATES, by_size, MODELS)
    ]


def run_all(
    cells: Sequence[TrainingCell], settings: TrainingSettings, folder: Path, jobs: int, say: Say
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
    there = {cell.name for cell in cells if read(cell, settings, folder) is not None}
    missing = [cell for cell in cells if cell.name not in there]
    say(f"{len(there)} of {len(cells)} cells are there in {folder}")
    for number, cell in enumerate(_run(missing, settings, folder, jobs, say), 1):
        say(f"{cell.name} is done, {len(missing) - number} to go")
    return finished(cells, settings, folder)


def finished(
    cells: Sequence[TrainingCell], settings: TrainingSettings, folder: Path
) -> list[dict[str, Any]]:
    """The content of the files that are there, in the order of the cells.

    Raises:
        UserError: A file is of other settings, or is not a cell's.
    """
    contents = (read(cell, settings, folder) for cell in cells)
    return [content for content in contents if content is not None]


def read(cell: TrainingCell, settings: TrainingSettings, folder: Path) -> dict[str, Any] | None:
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


def run_cell(cell: TrainingCell, settings: TrainingSettings, folder: Path, say: Say) -> None:
    """Train one cell with one thread and write its file; the state on the way there goes."""
    kept = folder / f"{cell.name}.state"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        result = train(
            *(cell.task, cell.model, cell.rate, cell.seed, settings),
            say=lambda text: say(f"{cell.name}: {text}"),
            kept=kept,
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
    write_whole(_path(cell, folder), json.dumps(head | result, indent=1) + "\n")
    kept.unlink()


def _run(
    cells: Sequence[TrainingCell], settings: TrainingSettings, folder: Path, jobs: int, say: Say
) -> Iterator[TrainingCell]:
    """Each cell when it is done."""
    if jobs == 1:
        for cell in cells:
            run_cell(cell, settings, folder, say)
            yield cell
        return
    end_with_me()
    # Forked processes would inherit torch's threads in a state that hangs.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(run_cell, cell, settings, folder, say): cell for cell in cells}
        for done in as_completed(running):
            done.result()
            yield running[done]


def _path(cell: TrainingCell, folder: Path) -> Path:
    return folder / f"{cell.name}.json"


def _plain(settings: TrainingSettings) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(asdict(settings)))
