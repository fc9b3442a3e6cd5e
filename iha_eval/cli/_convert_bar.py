"""How far a conversion is, on a terminal: the phase, its bytes and the time it has taken.

For: `iha-eval convert`. Not for: logs: where the output is no terminal, nothing is drawn.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from model_adapters.convert import output


@contextlib.contextmanager
def shown(console: Console) -> "Iterator[output.Progress]":
    """Draw a bar while the block runs, and take it away afterwards.

    Args:
        console: where to.

    Yields:
        What a conversion is to tell its progress.
    """
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        yield teller(bar)


def teller(bar: Progress) -> "output.Progress":
    """What tells a bar: one line for each phase, in place of the last one.

    A line without a total pulses, so that a phase of one long step is seen to be alive.

    Args:
        bar: the bar.
    """

    def tell(phase: str, count: int, total: int) -> None:
        name = phase.capitalize()
        if not count:
            for task in bar.task_ids:
                bar.remove_task(task)
            bar.add_task(f"{name} {decimal(total)}", total=None)
            return
        task = bar.task_ids[-1]
        bar.update(task, total=total, advance=count)
        done = decimal(int(bar.tasks[-1].completed))
        bar.update(task, description=f"{name} {done} of {decimal(total)}")

    return tell
