"""Frequent coded words: made-up words with falling frequencies; which three lead?

For: the task `fwe` and drafts of its documents.
Not for: real words (cwe.py).

Source: NVIDIA/RULER, scripts/synthetic.yaml (fwe), scripts/data/synthetic/constants.py and
freq_words_extraction.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from iha_eval.ruler.definition import NoRoomError
from iha_eval.ruler.drafts import Definition, Draft, Material
from iha_eval.ruler.draw import Stream, drawn_last, drawn_order, nvidia_order

QUESTION = (
    "Read the following coded text and track the frequency of each coded word. Find the three most "
    "frequently appeared coded words. {context}\n"
    "Question: Do not provide any explanation. Please ignore the dots '....'. What are the three "
    "most frequently appeared words in the above coded text?"
)
PREFIX = "Answer: According to the coded text above, the three most frequently appeared words are:"
#: Sizes that are counted past the length, since an estimate of the size may be off by some.
_SPARE = 8

#: The word of rank 1, which does not count.
DOTS = "..."

_ZETA = math.pi**2 / 6
_LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", dtype=np.uint8)


class CodedDraft(Draft):
    """A document: its vocabulary by rank."""

    kind = "coded words"
    query = ""
    reach = 2

    def __init__(self, material: "CodedMaterial", index: int) -> None:
        """Draw everything from streams of (length, index)."""
        super().__init__(material, index)
        task = material.task
        self.minimum = task.smallest
        used = len(material.counts(material.largest))
        if material.settings.layout == "nvidia":
            words = sorted(self._drawn(task, len(material.shares)))
            words = [words[i] for i in nvidia_order(len(words))]
        else:
            words = self._drawn(task, used)
        self._words = [DOTS, *words[1:used]]
        self.outputs = self._words[1 : 1 + task.answers]
        self._text = Stream(*self._parts, "text")

    def _drawn(self, task: Any, count: int) -> list[str]:
        """Different words of small letters; fewer are the first of more."""
        stream, words = Stream(*self._parts), dict[str, None]()
        while len(words) < count:
            numbers = stream.words64(task.letters * (count - len(words))) % np.uint64(26)
            text = _LETTERS[numbers.astype(np.intp)].tobytes().decode()
            starts = range(0, len(text), task.letters)
            words |= dict.fromkeys(text[start : start + task.letters] for start in starts)
        return list(words)

    def context(self, size: int) -> str:
        """A text of size `size`, which is a little more than the number of its words."""
        counts = self._material.counts(size)
        ranks = np.repeat(np.arange(len(counts)), counts)
        keys = self._text.first(len(ranks))
        order = drawn_order(keys, len(ranks), self._material.settings.layout)
        return " ".join(np.array(self._words, dtype=object)[ranks[order]].tolist())

    def largest(self) -> int:
        """The largest size there is, with many more words than fit."""
        return int(self._material.largest)

    def edges(self, size: int) -> str:
        """The last word."""
        counts = self._material.counts(size)
        total = int(counts.sum())
        last = drawn_last(self._text.first(total), total, self._material.settings.layout)
        return self._words[int(np.searchsorted(np.cumsum(counts), last, side="right"))]

    def inner_tokens(self) -> npt.NDArray[np.int64]:
        """Tokens of all words."""
        return np.asarray(self._material.running(self._words)[self.minimum :])

    def tokens(self, size: int, inner: npt.NDArray[np.int64]) -> int:
        """Tokens of user text and answer prefix, as the sum over their pieces."""
        return super().tokens(size, inner) - self._pieces(self.edges(size))

    def texts(self, context: str) -> tuple[str, str]:
        """User text and answer prefix around `context`."""
        return QUESTION.format(context=context), PREFIX


class CodedMaterial(Material):
    """How often each rank stands in texts of every size.

    Attributes:
        shares: For each rank its share of a text's size, as an array [vocabulary].
    """

    drafts = CodedDraft

    def __init__(self, *of: Any) -> None:
        """Work them out for documents of the length.

        Raises:
            NoRoomError: There are too few words to ask for three of them.
        """
        super().__init__(*of)
        task, length = self.task, self.length
        words = task.vocabulary(length)
        if words <= task.answers:
            least = (task.answers + 1) * task.tokens_per_word + task.new_tokens
            raise NoRoomError(
                f"A length of {length} tokens is too short for {task.name}: it gives no more than "
                f"{max(words, 0)} coded words; ask for {-(-least // 128) * 128}."
            )
        self.shares = np.arange(1, words + 1, dtype=np.float64) ** -2.0
        # A word takes a token at least, so that no text has more of them than the length.
        self.largest = 2 * length
        self._steps = self._all_steps()
        self._enough = length // 2

    def counts(self, size: int) -> npt.NDArray[np.int64]:
        """How often each rank stands in a text of `size`, as an array [ranks that do]."""
        counts = (size * self.shares[: math.isqrt(size)] / _ZETA).astype(np.int64)
        return counts[counts > 0]

    def _all_steps(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(rank, size from which on it stands there once more), for each such step, by size."""
        most = self.counts(self.largest)
        ranks = np.repeat(np.arange(len(most)), most)
        nth = np.arange(len(ranks)) - np.repeat(np.cumsum(most) - most, most) + 1
        sizes = np.ceil(nth * _ZETA * (ranks + 1.0) ** 2).astype(np.int64)
        order = np.argsort(sizes, kind="stable")
        return ranks[order], sizes[order]

    def running(self, words: Sequence[str]) -> npt.NDArray[np.int64]:
        """Tokens of all words for sizes 0, 1, 2 and so on, up to more than the length.

        Args:
            words: The word of each rank; those of the ranks that stand in the text are encoded.
        """
        ranks, sizes = self._steps
        while True:
            # One more than stand there, since sizes of steps are rounded.
            costs = self.counter.costs(words[: len(self.counts(self._enough)) + 1])
            steps = int(np.searchsorted(sizes, self._enough, side="right"))
            weights = costs[ranks[:steps]]
            added = np.bincount(sizes[:steps], weights=weights, minlength=self._enough + 1)
            tokens: npt.NDArray[np.int64] = np.cumsum(added).astype(np.int64)
            if tokens[-_SPARE] > self.length or self._enough == self.largest:
                return tokens
            # The next documents are about as large, so that this is seldom.
            self._enough = min(self._enough + self.length // 16, self.largest)


@dataclass(frozen=True)
class CodedTask(Definition):
    """The task.

    Attributes:
        letters: Letters of a coded word.
        tokens_per_word: Tokens of the length for each word of the vocabulary.
        answers: Words that are asked for.
        smallest: From this size on no two of the first five ranks are equally frequent.
    """

    name: str = "fwe"
    letters: int = 6
    tokens_per_word: int = 50
    answers: int = 3
    smallest: int = 74

    new_tokens: ClassVar[int] = 50

    def vocabulary(self, length: int) -> int:
        """Words of the vocabulary, the dots included; most are too rare to stand in the text."""
        return (length - self.new_tokens) // self.tokens_per_word

    materials = CodedMaterial


FWE = {"fwe": CodedTask()}
