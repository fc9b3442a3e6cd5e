"""The words that keys are made of: the adjectives and nouns of the `wonderwords` package.

For: the list of adjectives and the list of nouns, sorted, and a hash of both.
Not for: choosing among them.

Source: NVIDIA/RULER draws keys uniformly from all adjective-noun pairs of that package.
"""

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources


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
def key_words() -> KeyWords:
    """The lists of the installed `wonderwords`."""
    return KeyWords(_words("adjectivelist.txt"), _words("nounlist.txt"))
