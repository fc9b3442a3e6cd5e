"""What a conversion made, and the check that it can be served.

For: all conversions. Not for: showing it (the command line does).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from model_adapters import checkpoint
from model_adapters.convert.errors import ConversionError
from model_adapters.errors import AdapterError

Progress = Callable[[str, int, int], None]
"""Told the phase, the bytes just done in it (0 where it begins) and its bytes in all."""
UNPACKING, CHECKING, WRITING, READING = "unpacking", "checking", "writing", "reading back"
"""The phases; all but writing are told only where they begin."""


@dataclass(frozen=True)
class Outcome:
    """A finished conversion.

    Attributes:
        made: the new checkpoint.
        source: the old one; None for a state dict.
        copied: names of the files that went along.
        left: names of those that did not.
        facts: what it is, name and value.
        notes: sentences that the user should read.
        moves: what went where, tensor by tensor, for a state dict.
    """

    made: checkpoint.Checkpoint
    source: checkpoint.Checkpoint | None
    copied: list[str]
    left: list[str]
    facts: dict[str, str]
    notes: list[str]
    moves: list[tuple[str, str, str]] = field(default_factory=list)


def silent(phase: str, count: int, total: int) -> None:
    """Progress that nobody watches."""
    del phase, count, total


def checked(folder: Path, out: Path) -> checkpoint.Checkpoint:
    """Read back what was written, as whoever evaluates it will.

    Args:
        folder: where it lies now.
        out: where it is going to lie.

    Raises:
        ConversionError: it could not be served.
    """
    try:
        return replace(checkpoint.read(folder), path=out)
    except AdapterError as error:
        text = str(error).replace(str(folder), str(out))
        raise ConversionError(text) from error
