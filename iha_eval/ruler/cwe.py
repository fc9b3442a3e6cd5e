"""Common words: a numbered list of words; which ten are in it more often than the others?

For: the task `cwe` and drafts of its documents.
Not for: the list of words itself (draw.py).

Source: NVIDIA/RULER, scripts/synthetic.yaml (cwe), scripts/data/synthetic/constants.py and
common_words_extraction.py.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from iha_eval.ruler.drafts import Definition, Draft, Material
from iha_eval.ruler.draw import Stream, all_words, drawn_last, drawn_order

QUESTION = (
    "Below is a numbered list of words. In these words, some appear more often than others. "
    "Memorize the ones that appear most often.\n{context}\n"
    "Question: What are the 10 most common words in the above list?"
)
PREFIX = "Answer: The top 10 words that appear most often in the list are:"


@dataclass(frozen=True)
class Frequencies:
    """How often words stand in a list.

    Attributes:
        common: How often each common word does.
        others: How often each other word does.
        example_words: Different words of the example.
        example_common: How often its common words stand in it.
        example_others: How often its other words do.
    """

    common: int
    others: int
    example_words: int
    example_common: int
    example_others: int


@cache
def _numbers(count: int) -> list[str]:
    """The first numbers of a list: `1.`, `2.` and so on."""
    return [f"{number}." for number in range(1, count + 1)]


def _numbered(words: Sequence[str]) -> str:
    """Words as a list: `1. word 2. word`."""
    entries = [""] * (2 * len(words))
    # Powers of two, so that few lists of numbers are kept.
    entries[::2] = _numbers(1 << len(words).bit_length())[: len(words)]
    entries[1::2] = words
    return " ".join(entries)


class WordListDraft(Draft):
    """A document: its words in the order in which it takes them, the common ones first."""

    kind = "words"
    supply = "different words"
    reach = 2

    def __init__(self, material: "WordListMaterial", index: int) -> None:
        """Draw everything from streams of (length, index)."""
        super().__init__(material, index)
        self._task: WordListTask = material.task
        self._frequencies: Frequencies = self._task.frequencies(self.length)
        self.minimum = self._task.common + 1
        # The document's words and the example's are drawn from all.
        stream = Stream(*self._parts, expected=16 * len(material.units))
        # Each further word takes two tokens at least, each time it stands in the list.
        most = self.minimum + self.length // (2 * self._frequencies.others)
        self._words = stream.sample(len(material.units), min(most, len(material.units)))
        self.outputs = [material.units[i] for i in self._words[: self._task.common]]
        self.query = ""
        self._stream, self._list = stream, Stream(*self._parts, "list")

    @cached_property
    def _example(self) -> str:
        """The solved example; its words are drawn without regard to the document's."""
        size, common = self._frequencies.example_words, self._task.common
        words = [
            self._material.units[i] for i in self._stream.sample(len(self._material.units), size)
        ]
        often, rarely = self._frequencies.example_common, self._frequencies.example_others
        listed = words[:common] * often + words[common:] * rarely
        keys = Stream(*self._parts, "example").words64(len(listed))
        order = drawn_order(keys, len(listed), self._material.settings.layout)
        question = QUESTION.format(context=_numbered([listed[i] for i in order]))
        return f"{question} {PREFIX} {_numbered(words[:common])}\n"

    def _entries(self, size: int) -> int:
        """Entries of the list of `size` different words."""
        common = self._task.common
        return common * self._frequencies.common + (size - common) * self._frequencies.others

    def _order(self, size: int) -> npt.NDArray[np.int64]:
        """The places in `_words` of a whole list, in its order, as an array [entries]."""
        common, often = self._task.common, self._task.common * self._frequencies.common
        keys = self._list.first(self._entries(size))
        order = drawn_order(keys, len(keys), self._material.settings.layout)
        rarely = common + (order - often) % max(size - common, 1)
        return np.where(order < often, order % common, rarely)

    def _last(self, size: int) -> str:
        """The last word of the list."""
        common, often = self._task.common, self._task.common * self._frequencies.common
        keys = self._list.first(self._entries(size))
        last = drawn_last(keys, len(keys), self._material.settings.layout)
        place = last % common if last < often else common + (last - often) % (size - common)
        return str(self._material.units[self._words[place]])

    def context(self, size: int) -> str:
        """The list of `size` different words."""
        words = np.array([self._material.units[i] for i in self._words[:size]], dtype=object)
        return _numbered(words[self._order(size)].tolist())

    def edges(self, size: int) -> str:
        """The first number and the last word."""
        return f"1. {self._last(size)}"

    def inner_tokens(self) -> npt.NDArray[np.int64]:
        """Tokens of all numbers but the first, and of all words."""
        costs = self._material.costs[self._words]
        common = self._task.common
        often = int(costs[:common].sum()) * self._frequencies.common
        words = often + np.cumsum(costs[common:]) * self._frequencies.others
        sizes = np.arange(self.minimum, len(costs) + 1)
        entries = self._entries(0) + sizes * self._frequencies.others
        numbers = self._material.numbers(int(entries[-1]))
        return np.asarray(words + numbers[entries - 1])

    def tokens(self, size: int, inner: npt.NDArray[np.int64]) -> int:
        """Tokens of user text and answer prefix, as the sum over their pieces."""
        return super().tokens(size, inner) - self._pieces(self._last(size))

    def texts(self, context: str) -> tuple[str, str]:
        """Example and question, and the answer prefix."""
        return self._example + QUESTION.format(context=context), PREFIX


class WordListMaterial(Material):
    """All words of the `wonderwords` package."""

    drafts = WordListDraft

    def __init__(self, *of: Any) -> None:
        """Take all words there are."""
        super().__init__(*of)
        self.units, self._numbers = all_words(), np.zeros(0, dtype=np.int64)

    @property
    def sources(self) -> dict[str, str]:
        """The list of words."""
        return {"words_sha256": hashlib.sha256("\n".join(self.units).encode()).hexdigest()}

    def numbers(self, count: int) -> npt.NDArray[np.int64]:
        """Tokens of the numbers from 2. to 2., 3., 4. and so on, as an array [count or more]."""
        if len(self._numbers) < count:
            costs = self.counter.costs([f"{number}." for number in range(2, count + 2)])
            self._numbers = np.concatenate(([0], np.cumsum(costs)))
        return self._numbers


@dataclass(frozen=True)
class WordListTask(Definition):
    """The task.

    Attributes:
        common: Number of common words, which are the answer.
        usual: Frequencies from 4,096 tokens on.
        short: Frequencies below.
    """

    name: str = "cwe"
    common: int = 10
    usual: Frequencies = Frequencies(30, 3, 40, 10, 3)
    short: Frequencies = Frequencies(6, 1, 20, 3, 1)

    new_tokens: ClassVar[int] = 120

    def frequencies(self, length: int) -> Frequencies:
        """The frequencies of a length; RULER has another task below 4,096 tokens."""
        return self.usual if length >= 4096 else self.short

    materials = WordListMaterial


CWE = {"cwe": WordListTask()}
