"""Two outputs side by side as HTML: the gold answer and the words that differ are marked.

For: `marked`, of the questions on the page.
Not for: judging an answer: a marked gold answer is a text that is there, not a right answer.
"""

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise

from markupsafe import Markup, escape

from iha_eval.util.text import visible

#: Words of both outputs, multiplied, up to which they are compared word by word.
MOST_WORK = 60_000
#: Share of equal words from which on differing words are worth a mark.
LEAST_SHARED = 0.25

_WORD = re.compile(r"\S+")
#: Longer gold answers are texts that no output repeats.
_MOST_GOLD = 80

Span = tuple[int, int]


def marked(gold: object, first: object, second: object) -> tuple[Markup, Markup]:
    """Both outputs as HTML, escaped, with `mark` around gold answers and `u` around differences.

    Words are marked as different only where the outputs have much in common.

    Args:
        gold: The answer that was asked for; several are parted by commas.
        first: One model's output.
        second: The other's.
    """
    texts = visible(first), visible(second)
    differing = _differing(*texts)
    words = _gold(visible(gold))
    made = [
        Markup("").join(_pieces(text, _places(text, words), spans))
        for text, spans in zip(texts, differing, strict=True)
    ]
    return made[0], made[1]


def _gold(gold: str) -> re.Pattern[str] | None:
    """Finds the gold answers, whole words alone; None if they are too long to be found."""
    answer = gold.rpartition("####")[2].strip()
    if not answer or len(answer) > _MOST_GOLD:
        return None
    parts = {answer, *(part.strip() for part in answer.split(", "))} - {""}
    wanted = "|".join(re.escape(part) for part in sorted(parts, key=len, reverse=True))
    return re.compile(rf"(?<![\w.])(?:{wanted})(?!\w|\.\d)")


def _places(text: str, gold: re.Pattern[str] | None) -> list[Span]:
    return [match.span() for match in gold.finditer(text)] if gold else []


def _differing(first: str, second: str) -> tuple[list[Span], list[Span]]:
    """The places of the words that only one of the texts has, runs of words in one."""
    words = [list(_WORD.finditer(text)) for text in (first, second)]
    ours, theirs = ([match[0] for match in matches] for matches in words)
    if not ours or not theirs or len(ours) * len(theirs) > MOST_WORK or ours == theirs:
        return [], []
    matcher = SequenceMatcher(None, ours, theirs, autojunk=False)
    if matcher.quick_ratio() < LEAST_SHARED:
        return [], []
    changes = [code[1:] for code in matcher.get_opcodes() if code[0] != "equal"]
    return (
        _spans(words[0], [(start, end) for start, end, _, _ in changes]),
        _spans(words[1], [(start, end) for _, _, start, end in changes]),
    )


def _spans(words: Sequence[re.Match[str]], runs: Sequence[Span]) -> list[Span]:
    return [(words[start].start(), words[end - 1].end()) for start, end in runs if end > start]


def _pieces(text: str, gold: list[Span], differing: list[Span]) -> Iterator[Markup]:
    """The text, cut where a mark begins or ends."""
    edges = sorted({0, len(text), *(edge for span in (*gold, *differing) for edge in span)})
    for start, end in pairwise(edges):
        piece = escape(text[start:end])
        if _inside(start, gold):
            piece = Markup("<mark>{}</mark>").format(piece)
        if _inside(start, differing):
            piece = Markup("<u>{}</u>").format(piece)
        yield piece


def _inside(place: int, spans: list[Span]) -> bool:
    return any(start <= place < end for start, end in spans)
