"""Training texts: RULER's multi-key prompts with many questions each, and never an evaluation's.

For: token ids and the positions that are learned, for a variant, a length and a stream.
Not for: which variants and lengths come when (see `curriculum.py`), or evaluation documents, whose
sentences, keys and values are made by the same code from streams of their own.

A text is the prompt of the evaluation with its answer, then further answers about the same text.
Each costs as much as a line, so a text teaches retrieval some ten times a thousand tokens.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from transformers import PreTrainedTokenizerFast

from iha_eval.ruler import DOCUMENTS, LENGTHS, VARIANTS, RulerSettings, Variant, load_haystack
from iha_eval.ruler.draw import Stream, draw
from iha_eval.ruler.niah import LinesMaterial, draw_needles, sentence_ends

PURPOSE = "needle"
IGNORED = -100
# Evaluation takes the haystack's first words; a word is at least a token.
HAYSTACK_START = 2 * max(LENGTHS)


@dataclass(frozen=True)
class Text:
    """One training text.

    Attributes:
        ids: Token ids, no padding.
        targets: For each position the id itself where it is to be learned, else `IGNORED`.
        needles: (key, value) of every needle.
        prompt: How many of the ids are the evaluation's prompt, up to the first answer.
    """

    ids: list[int]
    targets: list[int]
    needles: list[tuple[str, str]]
    prompt: int


class Writer:
    """Writes texts for one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        """Write for `tokenizer`, which must not let a token cross the end of a line."""
        self._tokenizer = tokenizer
        self._end = tokenizer.eos_token

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def write(self, variant: Variant, length: int, share: float, stream: Stream) -> Text:
        """A text of `length` tokens at most.

        Args:
            variant: Which of RULER's forms.
            length: Tokens.
            share: Of the tokens, how many may go to answers; there is always one answer.
            stream: Where everything random comes from.
        """
        needles = _needles(variant, stream, max(length // 16, 8))
        fixed = len(self._prompt(variant, "", *needles[0])) + 2
        lines = [self._ids(f"{variant.needle(*needle)}\n") for needle in needles]
        answers = [self._answer(variant, *needle) for needle in needles]
        room = length - fixed - len(answers[0])
        if variant.haystack == "needles":
            count = _fitting([len(line) for line in lines], int(room * (1 - share)))
            needles = needles[: max(count, 1)]
            context = "\n".join(variant.needle(*needle) for needle in needles)
            spent = sum(map(len, lines[: len(needles)]))
        else:
            needles = needles[: max(variant.keys, min(len(needles), length // 128))]
            context, spent = self._essay(variant, needles, room, share, stream)
        # Half of the keys at most, or what was not asked yet would give the last ones away.
        order = stream.sample(len(needles), max(len(needles) // 2, 1))
        further = _fitting([len(answers[i]) + 1 for i in order[1:]], room - spent)
        ids = self._prompt(variant, context, *needles[order[0]])
        prompt, targets = len(ids), [IGNORED] * len(ids)
        for number, i in enumerate(order[: 1 + further]):
            key, value = needles[i]
            lead = self._ids("\n" + variant.answer_prefix(key)) if number else []
            answer = self._ids(f" {value}.{self._end}")
            ids += lead + answer
            targets += [IGNORED] * len(lead) + answer
        return Text(ids[:length], targets[:length], needles, prompt)

    def drill(self, variant: Variant, length: int, most: int, stream: Stream) -> Text:
        """The first text of all: a few needles, asked for again and again.

        Lines and answers are cut to what follows "for", and a question is as often as not asked in
        the line's own words, which is the easier one to find.

        Args:
            variant: Which of RULER's forms; its prose is left out.
            length: Tokens at most.
            most: So many needles at most, and two at least.
            stream: Where everything random comes from.
        """
        needles = _needles(variant, stream, 2 + stream.integer(most - 1))
        lines = [_cut(variant.needle(key, value)) for key, value in needles]
        ids = [self._tokenizer.bos_token_id, *self._ids("\n".join(lines))]
        prompt, targets = len(ids), [IGNORED] * len(ids)
        while True:
            # Any of them each time, so that what was not asked yet says nothing.
            key, value = needles[stream.integer(len(needles))]
            lead, answer = variant.answer_prefix(key), f" {value}.{self._end}"
            if stream.integer(2):
                lead, answer = variant.needle(key, "").removesuffix(" ."), f" {value}."
            question, learned = self._ids("\n" + _cut(lead)), self._ids(answer)
            if len(ids) + len(question) + len(learned) > length:
                return Text(ids, targets, needles, prompt)
            ids += question + learned
            targets += [IGNORED] * len(question) + learned

    def _prompt(self, variant: Variant, context: str, key: str, _: str) -> list[int]:
        text = f"{variant.question(context, key)} {variant.answer_prefix(key)}"
        return [self._tokenizer.bos_token_id, *self._ids(text)]

    def _answer(self, variant: Variant, key: str, value: str) -> list[int]:
        return self._ids(f"{variant.answer_prefix(key)} {value}.{self._end}")

    def _essay(
        self,
        variant: Variant,
        needles: list[tuple[str, str]],
        room: int,
        share: float,
        stream: Stream,
    ) -> tuple[str, int]:
        """Needles at random ends of sentences of a random stretch; its text and tokens."""
        lines = [variant.needle(*needle) for needle in needles]
        spent = sum(len(self._ids(" " + line)) for line in lines)
        sentences, ends = _sentences(), len(_sentences())
        first = stream.integer(ends)
        taken: list[str] = []
        room_for_text = int(room * (1 - share)) - spent
        while True:
            sentence = sentences[(first + len(taken)) % ends]
            cost = len(self._ids(" " + sentence))
            if cost > room_for_text:
                break
            room_for_text -= cost
            spent += cost
            taken.append(sentence)
        places = sorted(stream.integers(len(taken) + 1, len(lines)), reverse=True)
        for place, line in zip(places, lines, strict=True):
            taken.insert(place, line)
        return " ".join(taken), spent


def _cut(sentence: str) -> str:
    """What of it begins with " for", where a key follows."""
    return sentence[sentence.index(" for ") :]


def _fitting(costs: list[int], room: int) -> int:
    """How many of the first costs fit."""
    return int(np.searchsorted(np.cumsum(costs), room, side="right")) if costs else 0


def _needles(variant: Variant, stream: Stream, most: int) -> list[tuple[str, str]]:
    """Needles whose keys are different, of one another and of all evaluation documents'."""
    keys = draw(stream, variant.key_kind, most)
    values = draw(stream, variant.value_kind, most)
    taken = evaluation_keys()
    return list({k: (k, v) for k, v in zip(keys, values, strict=True) if k not in taken}.values())


@cache
def evaluation_keys() -> frozenset[str]:
    """Every key of the documents of the nine standard tasks."""
    keys: set[str] = set()
    for variant in VARIANTS.values():
        for length in LENGTHS:
            if variant.haystack == "needles":
                keys |= set(LinesMaterial(variant, length, RulerSettings()).keys)
            for index in range(DOCUMENTS):
                stream = Stream("ruler_mk", variant.name, length, index)
                keys |= {key for key, _ in draw_needles(stream, variant)}
    return frozenset(keys)


@cache
def _sentences() -> list[str]:
    """Sentences of the offline haystack after the words that evaluation can reach."""
    words = load_haystack("kjv").text.split()
    ends = [*sentence_ends(words), len(words)]
    ends = ends[bisect_left(ends, HAYSTACK_START) :]
    return [" ".join(words[a:b]) for a, b in pairwise(ends)]
