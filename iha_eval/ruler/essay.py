"""Documents of multikey_1: needles between the sentences of running prose.

For: the prose cut into words and sentences, and drafts of documents in it. As in RULER, every
document hides its needles in the first words of the same text.
Not for: choosing the text (haystack.py).

Source: NVIDIA/RULER, scripts/data/synthetic/niah.py, haystack type `essay`.
"""

from bisect import bisect_left
from functools import cached_property
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from iha_eval.ruler.definition import DEPTHS, Variant
from iha_eval.ruler.drafts import Draft
from iha_eval.ruler.draw import draw_needles
from iha_eval.ruler.haystack import Haystack
from iha_eval.ruler.sentences import sentence_ends
from iha_eval.ruler.stream import Stream


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
