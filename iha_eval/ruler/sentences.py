"""Where sentences end in a list of words.

For: the places between words where a needle may be put. The rule looks at two neighboring words
only, so the ends in a prefix of a text are a prefix of the text's ends, on every machine and
without data to download (NLTK's Punkt, which RULER uses, needs a download and may change its mind
when the text goes on).
Not for: linguistics; a rare wrong end moves a needle by part of a sentence.
"""

import re
from collections.abc import Sequence

_ENDS = re.compile("[.!?]+[\"')\\]\u2019\u201d]*$")
_STARTS = re.compile("[\"'(\\[\u2018\u201c]*[A-Z0-9]")
_ABBREVIATION = re.compile(
    r"(?:[A-HJ-Z]\.)+$|(?:Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|Inc|Ltd|Co|Corp|vs|etc|cf|No|Fig|e\.g|i\.e|a\.m|p\.m)\.$"
)


def sentence_ends(words: Sequence[str]) -> list[int]:
    """Indices i, ascending, such that a sentence ends before word i and another begins with it.

    The end of the text itself is not among them: a text of k sentences has k - 1 ends.
    """
    ends = []
    for i in range(1, len(words)):
        before = words[i - 1]
        # The cheap look at the last two characters spares the patterns for most words.
        if not any(mark in before[-3:] for mark in ".!?"):
            continue
        if _ENDS.search(before) and _STARTS.match(words[i]) and not _ABBREVIATION.match(before):
            ends.append(i)
    return ends
