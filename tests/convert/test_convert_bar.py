"""The bar of a conversion: a line for each phase, and nothing where nobody watches."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from iha_eval.cli._convert_bar import shown, teller


def test_a_phase_pulses_until_the_first_bytes_and_then_counts() -> None:
    bar = Progress(disable=True)
    tell = teller(bar)
    seen = []
    for phase, count in [("checking", 0), ("writing", 0), ("writing", 1500), ("writing", 500)]:
        tell(phase, count, 4000)
        [task] = bar.tasks
        seen.append((task.description, task.completed, task.total))
    assert seen == [
        ("Checking 4.0 kB", 0, None),
        ("Writing 4.0 kB", 0, None),
        ("Writing 1.5 kB of 4.0 kB", 1500, 4000),
        ("Writing 2.0 kB of 4.0 kB", 2000, 4000),
    ]


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "log"])
def test_only_a_terminal_is_drawn_on(terminal: bool) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, force_interactive=terminal, width=80)
    with shown(console) as tell:
        tell("checking", 0, 4000)
    assert ("Checking 4.0 kB" in written.getvalue()) == terminal
    assert terminal or not written.getvalue()
