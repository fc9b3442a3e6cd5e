"""Needles in a haystack: RULER's eight niah tasks.

For: what the tasks are, and drafts of their documents in running prose, in lines that look just
like the needle, or in one line that is repeated. As in RULER, every document in prose hides its
needles in the first words of the same text. Distractor lines and their order are drawn from a
document's own stream; the lines themselves come from one supply per task, so that each is tokenized
once and not once per document. The supply is drawn independently line by line, as RULER draws them,
and many times what a document can hold.
Not for: choosing the prose (haystack.py).

Source: NVIDIA/RULER, scripts/synthetic.yaml, scripts/data/synthetic/constants.py and niah.py.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from iha_eval.ruler.definition import LEAST_FILL
from iha_eval.ruler.drafts import Definition, Draft, Material, RulerSettings
from iha_eval.ruler.draw import Stream, draw, key_words, nvidia_order
from iha_eval.ruler.haystack import load_haystack

#: Depths a needle can have in an essay haystack, in percent of its sentences: 40 points from 0 to
#: 100.
DEPTHS = tuple(round(100 * i / 39) for i in range(40))

NEEDLE = "One of the special magic {kind}s for {key} is: {value}."
QUESTIONS = {
    "one": (
        "A special magic {kind} is hidden within the following text. Make sure to memorize it. "
        "I will quiz you about the {kind} afterwards.\n{context}\n"
        "What is the special magic {kind} for {query} mentioned in the provided text?"
    ),
    "several": (
        "Some special magic {kind}s are hidden within the following text. Make sure to memorize "
        "it. I will quiz you about the {kind}s afterwards.\n{context}\n"
        "What are all the special magic {kind}s for {query} mentioned in the provided text?"
    ),
}
PREFIXES = {
    "one": "The special magic {kind} for {query} mentioned in the provided text is",
    "several": "The special magic {kind}s for {query} mentioned in the provided text are",
}
#: The line that a haystack of noise repeats; vt has it too.
NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."

Kind = Literal["number", "uuid"]


@dataclass(frozen=True)
class Variant(Definition):
    """One of the eight tasks.

    Attributes:
        name: Such as `multikey_1`.
        haystack: `essay` for running prose, `needles` for lines that are needles themselves,
            `noise` for one line again and again.
        keys: Number of keys besides those of the haystack.
        key_kind: `word` for adjective-noun, `uuid` for a random UUID (version 4).
        value_kind: `number` for seven digits, `uuid` for a random UUID.
        values: Number of values of each key.
        queries: Number of keys that are asked for.
    """

    name: str
    haystack: Literal["essay", "needles", "noise"]
    keys: int
    key_kind: Literal["word", "uuid"]
    value_kind: Kind
    values: int = 1
    queries: int = 1

    new_tokens: ClassVar[int] = 128
    family: ClassVar[str] = "ruler_mk"

    @property
    def title(self) -> str:
        """Its name in RULER."""
        return f"niah_{self.name}"

    @property
    def _form(self) -> str:
        return "one" if self.values * self.queries == 1 else "several"

    @property
    def kind(self) -> str:
        """What answers are: `number`, `uuid`, or `numbers` where several are asked for."""
        return self.value_kind if self._form == "one" else f"{self.value_kind}s"

    def needle(self, key: str, value: str) -> str:
        """The sentence that hides `value` under `key`."""
        return NEEDLE.format(kind=self.value_kind, key=key, value=value)

    def question(self, context: str, query: str) -> str:
        """The whole user text: instruction, haystack with needles, question."""
        return QUESTIONS[self._form].format(kind=self.value_kind, context=context, query=query)

    def answer_prefix(self, query: str) -> str:
        """The words the answer opens with; they belong to the prompt."""
        return PREFIXES[self._form].format(kind=self.value_kind, query=query)

    def material(self, length: int, haystack: str | None, settings: RulerSettings) -> Material:
        """What haystacks are made of."""
        kinds: dict[str, type[Material]]
        kinds = {"essay": EssayMaterial, "noise": NoiseMaterial, "needles": LinesMaterial}
        return kinds[self.haystack](self, length, settings, haystack)


NIAH = {
    variant.title: variant
    for variant in (
        Variant("single_1", "noise", 1, "word", "number"),
        Variant("single_2", "essay", 1, "word", "number"),
        Variant("single_3", "essay", 1, "word", "uuid"),
        Variant("multikey_1", "essay", 4, "word", "number"),
        Variant("multikey_2", "needles", 1, "word", "number"),
        Variant("multikey_3", "needles", 1, "uuid", "uuid"),
        Variant("multivalue", "essay", 1, "word", "number", values=4),
        Variant("multiquery", "essay", 4, "word", "number", queries=4),
    )
}
#: The three of the `ruler_mk` tasks, by their short names.
VARIANTS = {
    variant.name: variant for variant in NIAH.values() if variant.name.startswith("multikey_")
}


def draw_needles(stream: Stream, variant: Variant) -> list[tuple[str, str]]:
    """The variant's needles as (key, value), no key and no value twice."""
    needles: list[tuple[str, str]] = []
    while len(needles) < variant.keys * variant.values:
        key = draw(stream, variant.key_kind, 1)[0]
        values = draw(stream, variant.value_kind, variant.values)
        taken = {text for needle in needles for text in needle}
        if len({key, *values}) == 1 + variant.values and taken.isdisjoint((key, *values)):
            needles += [(key, value) for value in values]
    return needles


def _joined(queries: Sequence[str]) -> str:
    """Keys as a question lists them: `a`, or `a, b, c, and d`."""
    return ", ".join(queries[:-1]) + ", and " + queries[-1] if len(queries) > 1 else queries[0]


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
        # The cheap look at the last characters spares the patterns for most words.
        if before[-1:].isalnum() or not any(mark in before[-3:] for mark in ".!?"):
            continue
        if _ENDS.search(before) and _STARTS.match(words[i]) and not _ABBREVIATION.match(before):
            ends.append(i)
    return ends


class NeedleDraft(Draft):
    """What the documents of all eight tasks have in common."""

    def __init__(self, material: Any, index: int) -> None:
        """Draw the needles."""
        super().__init__(material, index)
        self.variant: Variant = material.task
        self.kind, self._stream = self.variant.kind, Stream(*self._parts)
        self._drawn_needles = draw_needles(self._stream, self.variant)
        [(self.query, value), *_] = self._drawn_needles
        self.outputs = [value]

    def texts(self, context: str) -> tuple[str, str]:
        """User text and answer prefix around `context`."""
        return self.variant.question(context, self.query), self.variant.answer_prefix(self.query)


class EssayDraft(NeedleDraft):
    """A document in prose: needles with their depths, to be hidden among words."""

    minimum = 2
    reach = 6

    def __init__(self, material: "EssayMaterial", index: int) -> None:
        """Draw needles, depths and asked keys."""
        super().__init__(material, index)
        stream, variant, needles = self._stream, self.variant, self._drawn_needles
        self._depths = sorted(DEPTHS[i] for i in stream.sample(len(DEPTHS), len(needles)))
        keys = list(dict.fromkeys(key for key, _ in needles))
        if variant.queries == 1:
            asked = [keys[stream.integer(variant.keys)]]
        else:
            asked = [keys[i] for i in stream.sample(variant.keys, variant.queries)]
        self.query = _joined(asked)
        self.outputs = [value for key in asked for k, value in needles if k == key]
        order = list(range(len(needles)))
        if material.settings.layout == "nvidia":
            order = nvidia_order(len(needles)).tolist()
        elif variant.values > 1:
            # Several keys are in random order already; values of one key are asked for as drawn.
            order = stream.sample(len(needles), len(needles))
        placed = [needles[i] for i in order]
        self._needles = [variant.needle(key, value) for key, value in placed]
        self._asked = [place for place, (key, _) in enumerate(placed) if key in asked]

    def _places(self, size: int) -> list[int]:
        """The word index before which each needle goes: a sentence's begin, or the very end."""
        sentences = bisect_left(self._material.ends, size) + 1
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
        words, places, needles = self._material.units, self._places(size), self._needles
        first, last = places.count(0), len(needles) - places.count(size)
        between = [words[0], *needles[first:last], words[size - 1]]
        return " ".join([*needles[:first], *between, *needles[last:]])

    def inner_tokens(self) -> npt.NDArray[np.int64]:
        """Tokens of the words between the first and the last."""
        return np.asarray(self._material.inner_tokens)

    def depth(self, size: int) -> float | None:
        """Depth of the asked needle in percent of the sentences, one of DEPTHS."""
        del size
        return float(self._depths[self._asked[0]]) if len(self._asked) == 1 else None


class EssayMaterial(Material):
    """The first words of a haystack, as many as any document of `length` tokens can hold.

    Attributes:
        units: The words.
    """

    drafts = EssayDraft

    def __init__(self, *of: Any) -> None:
        """Take words for documents of up to the length; a word takes one token at least."""
        super().__init__(*of)
        self.haystack = load_haystack(self._source)
        self.units = self.haystack.words(self.length)
        self._text = " ".join(self.units)

    @property
    def sources(self) -> dict[str, str]:
        """The key words and the prose."""
        return {
            "words_sha256": key_words().sha256,
            "haystack": self.haystack.name,
            "haystack_sha256": self.haystack.sha256,
        }

    @cached_property
    def _starts(self) -> list[int]:
        """Where each word, and one word more, begins in the text."""
        return [0, *accumulate(len(word) + 1 for word in self.units)]

    def span(self, start: int, end: int) -> str:
        """The words from `start` to before `end`, as text."""
        return self._text[self._starts[start] : self._starts[end] - 1]

    @cached_property
    def inner_tokens(self) -> npt.NDArray[np.int64]:
        """Tokens of the words between the first and the last, for 2, 3, 4 words and so on."""
        return np.concatenate(([0], np.cumsum(self.costs[1:-1])))

    @cached_property
    def ends(self) -> list[int]:
        """Word indices at which a new sentence begins, ascending."""
        return sentence_ends(self.units)


def _unit(line: str) -> str:
    """What one more line adds, from space to space: its first word goes to the next line's end."""
    first, rest = line.split(" ", 1)
    return f"{rest}\n{first}"


class LinesDraft(NeedleDraft):
    """A multikey_2 or _3 document: a needle, its place, and the lines around it in their order."""

    minimum = 1
    reach = 1

    def __init__(self, material: "LinesMaterial", index: int) -> None:
        """Draw needle, place and lines."""
        super().__init__(material, index)
        self._needle = self.variant.needle(self.query, self.outputs[0])
        self._place = self._stream.integer(2**32)
        self._known: list[int] = []
        self._draws = 0

    def _drawn(self, draws: int) -> list[int]:
        """The lines of the first `draws` draws, in the order of the document's haystack."""
        material, key, [value] = self._material, self.query, self.outputs
        lines = Stream(*self._parts, "lines").distinct(len(material.lines), draws)
        # A second line with the asked key, or its value, would make a right answer ambiguous.
        if not material.taken.isdisjoint((key, value)):
            keys, values = material.keys, material.values
            lines = [i for i in lines if keys[i] != key and values[i] != value]
        return lines

    def _lines(self, count: int) -> list[int]:
        """The first `count` lines, or all there are; little more than that is drawn."""
        draws = min(count + count // 4 + 16, self._material.draws)
        while len(self._known) < count and self._draws < self._material.draws:
            self._known, self._draws = self._drawn(draws), draws
            draws = self._material.draws
        return self._known[:count]

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
        return f"{self._needle}\n{self._material.lines[self._lines(size)[-1]]}"

    def inner_tokens(self) -> npt.NDArray[np.int64]:
        """Tokens of all lines but the needle and the last."""
        costs = self._material.costs
        most = self.length // max(int(costs.min()), 1) + 8
        return np.concatenate(([0], np.cumsum(costs[self._lines(most)[:-1]])))

    def largest(self) -> int:
        """All lines that are drawn."""
        return len(self._lines(self._material.draws))

    def depth(self, size: int) -> float:
        """Lines before the needle in percent of all others, to one decimal."""
        return round(100 * self._position(size) / size, 1)


class LinesMaterial(Material):
    """A supply of needle lines; a longer one begins with the lines of a shorter one.

    Attributes:
        keys: Key of each line.
        values: Value of each line.
        lines: The lines.
        draws: How many of them a document draws, repeats included.
    """

    drafts = LinesDraft

    def __init__(self, *of: Any) -> None:
        """Draw lines for documents of up to the length; a line takes ten tokens at least."""
        super().__init__(*of)
        variant = self.task
        self.draws = max(self.length // 8, 64)
        supply = 8 * self.draws if variant.key_kind == "word" else 4 * self.draws
        self.keys = draw(Stream("ruler_mk", variant.name, "keys"), variant.key_kind, supply)
        self.values = draw(Stream("ruler_mk", variant.name, "values"), variant.value_kind, supply)
        self.lines = [
            variant.needle(key, value) for key, value in zip(self.keys, self.values, strict=True)
        ]
        self.units = [_unit(line) for line in self.lines]

    @property
    def sources(self) -> dict[str, str]:
        """The key words."""
        return {"words_sha256": key_words().sha256, "haystack": "needles"}

    @cached_property
    def taken(self) -> frozenset[str]:
        """All keys and values."""
        return frozenset(self.keys + self.values)


class NoiseDraft(Draft):
    """Statements, each a line before another line of noise; what is between them is open."""

    _statements: list[str]
    _places: list[int]

    def _hide(self, statements: list[str], stream: Stream) -> None:
        """Hide `statements` in this order, at places from the next numbers of `stream`."""
        self._statements, self.minimum = statements, len(statements)
        self._places = [int(number) for number in stream.words64(len(statements))]

    def _lines(self, size: int) -> list[int]:
        """Different line numbers below `size`, ascending, one a statement (Floyd's algorithm)."""
        chosen: set[int] = set()
        for number, last in zip(self._places, range(size - len(self._places), size), strict=True):
            line = number * (last + 1) >> 64
            chosen.add(last if line in chosen else line)
        return sorted(chosen)

    def _last(self) -> list[str]:
        """The part of a noise line at the end, where whole lines leave too much room."""
        parts = NOISE.split(". ")[: self.filler]
        return [". ".join(parts) + "."] if parts else []

    def context(self, size: int) -> str:
        """`size` noise lines and the statements."""
        lines, before = [], 0
        for line, statement in zip(self._lines(size), self._statements, strict=True):
            lines += [NOISE] * (line - before)
            lines.append(statement)
            before = line
        return "\n".join([*lines, *[NOISE] * (size - before), *self._last()])

    def edges(self, size: int) -> str:
        """The statements with a noise line after each, and one before the first if there is."""
        lines = [NOISE] if self._lines(size)[0] else []
        for statement in self._statements:
            lines += [statement, NOISE]
        return "\n".join([*lines, *self._last()])

    def inner_tokens(self) -> npt.NDArray[np.int64]:
        """Tokens of 0, 1, 2 lines and so on."""
        return np.arange(self.length // 4) * int(self._material.costs[0])

    def tokens(self, size: int, inner: npt.NDArray[np.int64]) -> int:
        """Tokens of user text and answer prefix, as the sum over their pieces."""
        left_out = size - self.minimum - (self._lines(size)[0] > 0)
        return self._pieces(*self.texts(self.edges(size))) + int(inner[1]) * left_out

    def fillers(self, size: int, rest: int) -> Iterable[int]:
        """Sentences of one more line, where a line is more than 2% of the length."""
        del size
        return range(4, 0, -1) if rest > (1 - LEAST_FILL) * self.length else ()


class NoiseNeedleDraft(NoiseDraft, NeedleDraft):
    """A document of single_1: a needle among lines of noise."""

    def __init__(self, material: "NoiseMaterial", index: int) -> None:
        """Draw needle and place."""
        super().__init__(material, index)
        self._hide([self.variant.needle(self.query, self.outputs[0])], self._stream)

    def depth(self, size: int) -> float:
        """Lines before the needle in percent of all others, to one decimal."""
        return round(100 * self._lines(size)[0] / size, 1)


class NoiseMaterial(Material):
    """One line, as often as needed."""

    units = (_unit(NOISE),)
    drafts: ClassVar[type[Draft]] = NoiseNeedleDraft

    @property
    def sources(self) -> dict[str, str]:
        """The key words of needles."""
        return {"words_sha256": key_words().sha256, "haystack": "noise"}
