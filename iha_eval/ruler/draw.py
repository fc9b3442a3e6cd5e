"""The random parts that needles are made of, and the words that keys are made of.

For: keys and values of each kind from a stream; the adjectives and nouns of `wonderwords`.
Not for: where needles go.

Source: NVIDIA/RULER, scripts/data/synthetic/niah.py (generate_random_number, _word and _uuid); it
draws keys uniformly from all adjective-noun pairs of that package.
"""

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import Literal

from iha_eval.ruler.stream import Stream

_SMALLEST, _NUMBERS = 1_000_000, 9_000_000


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
