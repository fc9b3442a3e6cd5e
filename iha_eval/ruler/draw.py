"""Random numbers that stay the same for ever, and the parts of documents that are drawn by them.

For: `Stream`, the output of SHAKE-256 for a name: it depends on that name alone and not on what was
drawn elsewhere, on any machine, Python and NumPy (which promise less for their generators' derived
methods); keys and values of each kind from a stream; the words of `wonderwords`; orders of entries.
Not for: cryptography or millions of draws from one stream, nor for where needles go.

Source: NVIDIA/RULER, scripts/data/synthetic/niah.py (generate_random_number, _word and _uuid); it
draws keys uniformly from all adjective-noun pairs of that package.
"""

import hashlib
import random
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib import resources
from typing import Literal

import numpy as np
import numpy.typing as npt

_SMALLEST, _NUMBERS = 1_000_000, 9_000_000


class Stream:
    """Random numbers named by `parts`; a longer draw starts with what a shorter one gives."""

    def __init__(self, *parts: str | int, expected: int = 1024) -> None:
        """Open the stream named by `parts`; about `expected` bytes will be taken."""
        self._source = hashlib.shake_256("/".join(map(str, parts)).encode())
        self._buffer, self._expected = b"", expected
        self._position = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self._position + count
        if end > len(self._buffer):
            # A digest is always computed from its start, so doubling keeps the sum linear.
            self._buffer = self._source.digest(max(end, 2 * len(self._buffer), self._expected))
        start, self._position = self._position, end
        return self._buffer[start:end]

    def words64(self, count: int) -> npt.NDArray[np.uint64]:
        """The next `count` numbers of 64 bits, as an array [count]."""
        return np.frombuffer(self.take(8 * count), dtype="<u8")

    def first(self, count: int) -> npt.NDArray[np.uint64]:
        """The first `count` numbers of 64 bits, whatever was taken before, as an array [count]."""
        if 8 * count > len(self._buffer):
            # Little more, since who asks for the first ones often asks for some more next.
            self._buffer = self._source.digest(8 * (count + count // 64))
        return np.frombuffer(self._buffer, dtype="<u8", count=count)

    def integers(self, limit: int, count: int) -> list[int]:
        """`count` integers in [0, limit); the bias of the remainder is below limit / 2**64."""
        numbers: list[int] = (self.words64(count) % np.uint64(limit)).tolist()
        return numbers

    def integer(self, limit: int) -> int:
        """One integer in [0, limit)."""
        return self.integers(limit, 1)[0]

    def distinct(self, limit: int, draws: int) -> list[int]:
        """Different integers in [0, limit) in random order: `draws` of them, less the repeats."""
        return list(dict.fromkeys(self.integers(limit, draws)))

    def sample(self, population: int, count: int) -> list[int]:
        """Exactly `count` different integers in [0, population), in random order."""
        keys = self.words64(population)
        if count < population:
            # Those with the smallest keys, in the order of their places: a fifth of the time.
            chosen = np.sort(np.argpartition(keys, count)[:count])
            chosen = chosen[np.argsort(keys[chosen], kind="stable")]
        else:
            chosen = np.argsort(keys, kind="stable")[:count]
        numbers: list[int] = chosen.tolist()
        return numbers

    def uuids(self, count: int) -> list[str]:
        """`count` random UUIDs of version 4, in lower case with dashes."""
        digits, uuids = self.take(16 * count).hex(), []
        # Three times as fast as uuid.UUID, of which there would be tens of thousands.
        for start in range(0, 32 * count, 32):
            h = digits[start : start + 32]
            variant = "89ab"[int(h[16], 16) & 3]
            uuids.append(f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{variant}{h[17:20]}-{h[20:]}")
        return uuids


@dataclass(frozen=True)
class KeyWords:
    """Adjectives and nouns without repeats, in alphabetical order."""

    adjectives: tuple[str, ...]
    nouns: tuple[str, ...]

    @cached_property
    def sha256(self) -> str:
        """64 hex digits over both lists."""
        text = "\n".join(self.adjectives) + "\n\n" + "\n".join(self.nouns)
        return hashlib.sha256(text.encode()).hexdigest()


def _words(file: str) -> tuple[str, ...]:
    # The package's own classes build a search tree of all words first, which takes longer than a
    # whole run should.
    text = (resources.files("wonderwords") / "assets" / file).read_text(encoding="utf-8")
    return tuple(sorted({line.strip() for line in text.splitlines()} - {""}))


@cache
def all_words() -> tuple[str, ...]:
    """All 8,166 nouns, adjectives and verbs of the package, without repeats, sorted."""
    files = ("nounlist.txt", "adjectivelist.txt", "verblist.txt")
    return tuple(sorted({word for file in files for word in _words(file)}))


@cache
def key_words() -> KeyWords:
    """The lists of the installed `wonderwords`."""
    return KeyWords(_words("adjectivelist.txt"), _words("nounlist.txt"))


def draw(stream: Stream, kind: Literal["word", "number", "uuid"], count: int) -> list[str]:
    """`count` independent keys or values: adjective-noun, seven digits, or UUIDs of version 4."""
    if kind == "uuid":
        return stream.uuids(count)
    if kind == "number":
        return [str(_SMALLEST + n) for n in stream.integers(_NUMBERS, count)]
    words = key_words()
    nouns = len(words.nouns)
    pairs = stream.integers(len(words.adjectives) * nouns, count)
    return [f"{words.adjectives[pair // nouns]}-{words.nouns[pair % nouns]}" for pair in pairs]


def drawn_order(keys: npt.NDArray[np.uint64], count: int, layout: str) -> npt.NDArray[np.int64]:
    """The order of `count` entries: that of their keys, or NVIDIA's; entry by place, [count].

    Args:
        keys: A number drawn for each entry, as an array [count or more].
        count: Number of entries.
        layout: `nvidia` for NVIDIA's.
    """
    if layout == "nvidia":
        return nvidia_order(count)
    return np.argsort(keys[:count], kind="stable")


def drawn_last(keys: npt.NDArray[np.uint64], count: int, layout: str) -> int:
    """The last entry of `drawn_order`, without sorting."""
    if layout == "nvidia":
        return int(nvidia_order(count)[-1])
    return int(np.argmax(keys[:count]))


@lru_cache(maxsize=256)
def nvidia_order(count: int) -> npt.NDArray[np.int64]:
    """The one order in which NVIDIA's scripts shuffle any list of `count` items.

    Returns:
        For each place the index of the item that goes there, as an array [count].

    Source: NVIDIA/RULER, `random.Random(42).shuffle` in all generators.
    """
    order = list(range(count))
    random.Random(42).shuffle(order)
    return np.array(order, dtype=np.int64)
