"""The random parts that needles are made of.

For: keys and values of each kind from a stream.
Not for: where needles go.

Source: NVIDIA/RULER, scripts/data/synthetic/niah.py (generate_random_number, _word and _uuid).
"""

from typing import Literal

from iha_eval.ruler.definition import Variant
from iha_eval.ruler.stream import Stream
from iha_eval.ruler.words import key_words

_SMALLEST, _NUMBERS = 1_000_000, 9_000_000


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


def draw_needles(stream: Stream, variant: Variant) -> list[tuple[str, str]]:
    """The variant's needles as (key, value), no key or value twice."""
    needles: list[tuple[str, str]] = []
    while len(needles) < variant.keys:
        key = draw(stream, variant.key_kind, 1)[0]
        value = draw(stream, variant.value_kind, 1)[0]
        if all(key != other_key and value != other for other_key, other in needles):
            needles.append((key, value))
    return needles
