"""What reaches a terminal: no character of a file's text moves its cursor or hides what it shows.

For: tables and sentences of all commands, which may hold names of tensors, fields and files.
Not for: error sentences (`errors.py`) and reports, which are cleaned where they are made.
"""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from iha_eval.util.text import clean


class CleanConsole(Console):
    """A console that shows control characters as pictures; its own colours and bars stay."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """See `rich.console.Console.render`."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else clean(text), style, control)
