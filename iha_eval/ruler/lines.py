"""Documents of multikey_2 and _3: one needle among lines that look just like it.

For: the supply of such lines, and drafts of documents that take theirs from it. A document's lines
and their order are drawn from its own stream; the lines themselves come from one supply per task,
so that each is tokenized once and not once per document. The supply is drawn independently line by
line, as RULER draws them, and many times what a document can hold.
Not for: multikey_1.

Source: NVIDIA/RULER, scripts/data/synthetic/niah.py, haystack type `needle`.
"""

from functools import cached_property

import numpy as np
import numpy.typing as npt

from iha_eval.ruler.definition import Variant
from iha_eval.ruler.drafts import Draft
from iha_eval.ruler.draw import draw, draw_needles
from iha_eval.ruler.stream import Stream


def _unit(line: str) -> str:
    """What one more line adds, from space to space: its first word goes to the next line's end."""
    first, rest = line.split(" ", 1)
    return f"{rest}\n{first}"


class LinesMaterial:
    """A supply of needle lines; a longer one begins with the lines of a shorter one.

    Attributes:
        keys: Key of each line.
        values: Value of each line.
        lines: The lines.
        draws: How many of them a document draws, repeats included.
    """

    def __init__(self, variant: Variant, length: int) -> None:
        """Draw lines for documents of up to `length` tokens; a line takes ten tokens at least."""
        self.draws = max(length // 8, 64)
        supply = 8 * self.draws if variant.key_kind == "word" else 4 * self.draws
        self.keys = draw(Stream("ruler_mk", variant.name, "keys"), variant.key_kind, supply)
        self.values = draw(Stream("ruler_mk", variant.name, "values"), variant.value_kind, supply)
        self.lines = [
            variant.needle(key, value) for key, value in zip(self.keys, self.values, strict=True)
        ]

    @cached_property
    def taken(self) -> frozenset[str]:
        """All keys and values."""
        return frozenset(self.keys + self.values)

    def clashes(self, line: int, key: str, value: str) -> bool:
        """Whether a line has this key or this value."""
        return self.keys[line] == key or self.values[line] == value

    @cached_property
    def units(self) -> list[str]:
        """What each line adds to a document, from space to space."""
        return [_unit(line) for line in self.lines]

    def draft(self, variant: Variant, length: int, index: int) -> "LinesDraft":
        """The draft of document `index`."""
        return LinesDraft(self, variant, length, index)


class LinesDraft(Draft):
    """A multikey_2 or _3 document: a needle, its place, and the lines around it in their order."""

    minimum = 1
    reach = 1

    def __init__(self, material: LinesMaterial, variant: Variant, length: int, index: int) -> None:
        """Draw needle, place and lines from the stream of (variant, length, index)."""
        self.variant, self.length, self.index = variant, length, index
        self._material = material
        stream = Stream("ruler_mk", variant.name, length, index)
        [(self.key, self.value)] = draw_needles(stream, variant)
        self._needle = variant.needle(self.key, self.value)
        self._place = stream.integer(2**32)

    def _drawn(self, draws: int) -> list[int]:
        """The lines of the first `draws` draws, in the order of the document's haystack."""
        material = self._material
        stream = Stream("ruler_mk", self.variant.name, self.length, self.index, "lines")
        lines = stream.distinct(len(material.lines), draws)
        # A second line with the asked key, or its value, would make a right answer ambiguous.
        if self.key in material.taken or self.value in material.taken:
            lines = [i for i in lines if not material.clashes(i, self.key, self.value)]
        return lines

    @cached_property
    def _order(self) -> list[int]:
        return self._drawn(self._material.draws)

    def _lines(self, count: int) -> list[int]:
        """The first `count` lines, drawing little more than that where it is enough."""
        draws = min(count + count // 4 + 16, self._material.draws)
        lines = self._drawn(draws)
        return (lines if len(lines) >= count else self._order)[:count]

    def _position(self, size: int) -> int:
        """Lines before the needle, 0 to `size` - 1; RULER never puts it last."""
        return self._place * size >> 32

    def context(self, size: int) -> str:
        """`size` lines and, among them, the needle."""
        lines = [self._material.lines[i] for i in self._lines(size)]
        lines.insert(self._position(size), self._needle)
        return "\n".join(lines)

    def edges(self, size: int) -> str:
        """The needle and the last line."""
        return f"{self._needle}\n{self._material.lines[self._order[size - 1]]}"

    def inner_tokens(self, costs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Tokens of all lines but the needle and the last."""
        return np.concatenate(([0], np.cumsum(costs[self._order[:-1]])))

    def depth(self, size: int) -> float:
        """Lines before the needle in percent of all others, to one decimal."""
        return round(100 * self._position(size) / size, 1)
