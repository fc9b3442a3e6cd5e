"""Needles in a haystack: running prose, or lines that look just like the needle.

For: the prose cut into words and sentences, the supply of lines, and drafts of documents in either.
As in RULER, every document in prose hides its needles in the first words of the same text. Lines
and their order are drawn from a document's own stream; the lines themselves come from one supply
per task, so that each is tokenized once and not once per document. The supply is drawn
independently line by line, as RULER draws them, and many times what a document can hold.
Not for: choosing the prose (haystack.py).

Source: NVIDIA/RULER, scripts/data/synthetic/niah.py, haystack types `essay` and `needle`.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from iha_eval.ruler.definition import DEPTHS, Variant
from iha_eval.ruler.drafts import Draft
from iha_eval.ruler.draw import draw, draw_needles
from iha_eval.ruler.haystack import Haystack
from iha_eval.ruler.stream import Stream

_ENDS = re.compile("[.!?]+[\"')\\]\u2019\u201d]*$")
_STARTS = re.compile("[\"'(\\[\u2018\u201c]*[A-Z0-9]")
_ABBREVIATION = re.compile(
    r"(?:[A-HJ-Z]\.)+$|(?:Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|Inc|Ltd|Co|Corp|vs|etc|cf|No|Fig|e\.g|i\.e|a\.m|p\.m)\.$"
)


def sentence_ends(words: Sequence[str]) -> list[int]:
    """Indices i, ascending, such that a sentence ends before word i and another begins with it.

    The end of the text itself is not among them: a text of k sentences has k - 1 ends. The rule
    looks at two neighboring words only, so the ends in a prefix of a text are a prefix of the
    text's ends, on every machine and without data to download. NLTK's Punkt, which RULER uses,
    needs a download and may change its mind when the text goes on. A rare wrong end moves a needle
    by part of a sentence.
    """
    ends = []
    for i in range(1, len(words)):
        before = words[i - 1]
        # The cheap look at the last two characters spares the patterns for most words.
        if not any(mark in before[-3:] for mark in ".!?"):
            continue
        if _ENDS.search(before) and _STARTS.match(words[i]) and not _ABBREVIATION.match(before):
            ends.append(i)
    return ends


class EssayMaterial:
    """The first words of a haystack, as many as any document of `length` tokens can hold.

    Attributes:
        units: The words.
    """

    def __init__(self, haystack: Haystack, length: int) -> None:
        """Take words for documents of up to `length` tokens; a word takes one token at least."""
        self.haystack = haystack
        self.units = haystack.words(length)
        self._text = " ".join(self.units)

    @cached_property
    def _starts(self) -> list[int]:
        """Where each word, and one word more, begins in the text."""
        return [0, *accumulate(len(word) + 1 for word in self.units)]

    def span(self, start: int, end: int) -> str:
        """The words from `start` to before `end`, as text."""
        return self._text[self._starts[start] : self._starts[end] - 1]

    @cached_property
    def ends(self) -> list[int]:
        """Word indices at which a new sentence begins, ascending."""
        return sentence_ends(self.units)

    def draft(self, variant: Variant, length: int, index: int) -> "EssayDraft":
        """The draft of document `index`."""
        return EssayDraft(self, variant, length, index)


class EssayDraft(Draft):
    """A multikey_1 document: needles with their depths, to be hidden among words."""

    minimum = 2
    reach = 6

    def __init__(self, material: EssayMaterial, variant: Variant, length: int, index: int) -> None:
        """Draw needles, depths and the asked key from the stream of (variant, length, index)."""
        self.variant, self.length, self.index = variant, length, index
        self._material = material
        stream = Stream("ruler_mk", variant.name, length, index)
        needles = draw_needles(stream, variant)
        self._depths = sorted(DEPTHS[i] for i in stream.sample(len(DEPTHS), variant.keys))
        self._needles = [variant.needle(key, value) for key, value in needles]
        self._asked = stream.integer(variant.keys)
        self.key, self.value = needles[self._asked]

    def _places(self, size: int) -> list[int]:
        """The word index before which each needle goes: a sentence's begin, or the very end."""
        inside = bisect_left(self._material.ends, size)
        sentences = inside + 1
        places = []
        for depth in self._depths:
            sentence = sentences * depth // 100
            if sentence == sentences:
                places.append(size)
            else:
                places.append(self._material.ends[sentence - 1] if sentence else 0)
        return places

    def context(self, size: int) -> str:
        """The first `size` words with the needles between their sentences."""
        places = self._places(size)
        parts = []
        for start, place, needle in zip([0, *places], places, self._needles, strict=False):
            parts += [self._material.span(start, place)] if start < place else []
            parts.append(needle)
        parts += [self._material.span(places[-1], size)] if places[-1] < size else []
        return " ".join(parts)

    def edges(self, size: int) -> str:
        """The needles and the haystack's first and last word, in their order."""
        words, places = self._material.units, self._places(size)
        first = [needle for place, needle in zip(places, self._needles, strict=True) if place == 0]
        last = [
            needle for place, needle in zip(places, self._needles, strict=True) if place == size
        ]
        between = self._needles[len(first) : len(self._needles) - len(last)]
        return " ".join([*first, words[0], *between, words[size - 1], *last])

    def inner_tokens(self, costs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Tokens of the words between the first and the last."""
        return np.concatenate(([0], np.cumsum(costs[1:-1])))

    def depth(self, size: int) -> float:
        """Depth of the asked needle in percent of the sentences, one of DEPTHS."""
        del size
        return float(self._depths[self._asked])


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
