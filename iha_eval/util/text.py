"""Text of models and files, made fit to be shown.

For: taking out what no page, figure or terminal should receive, and cutting what is long.
Not for: escaping, which depends on where a text goes and is done there.
"""

import itertools
import re
from collections.abc import Container
from typing import Any

#: Stands where a text was cut.
GAP = "\n[... {count:,} characters left out ...]\n"

_UNFIT = re.compile(
    # Controls but tab and line feed; what has no picture or reorders text; fillers; half
    # characters; variation selectors but those of emoji; no characters; tags.
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0d\ufeff\uffa0"
    "\ufff0-\ufffb\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)

# What is broken, as opposed to what cannot be seen.
_BROKEN = (range(0x80, 0xA0), range(0xD800, 0xE000), range(0xFFFE, 0x10000))


def clean(text: str) -> str:
    """A text without characters that hide, reorder or break what stands around them.

    Controls are shown as their pictures (U+2400 and on), what cannot be seen or reorders text as
    `<U+202E>`, and what is no character as U+FFFD.
    """
    return _UNFIT.sub(_shown, text.replace("\r\n", "\n"))


def clean_all(value: Any) -> Any:
    """JSON's types all the way down, with every text cleaned, and NaN and infinities as None."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(name)): clean_all(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean_all(item) for item in value]
    if isinstance(value, float):
        # NaN is the only number that is not equal to itself.
        return value if value == value and abs(value) != float("inf") else None
    return value if isinstance(value, int) or value is None else clean(str(value))


def shorten(text: str, limit: int, around: str | None = None) -> str:
    """A text of at most `limit` characters and the marks of its gaps: head, tail, and what matters.

    Args:
        text: Any text.
        limit: Characters to keep.
        around: Where this occurs in what would be cut, its surroundings are kept as well.
    """
    if len(text) <= limit:
        return text
    head, tail = limit // 4, limit - limit // 4
    place = text.find(around, head, len(text) - limit // 2) if around else -1
    if place < 0 or not around:
        return text[:head] + GAP.format(count=len(text) - limit) + text[len(text) - tail :]
    tail -= limit // 4
    start = max(head, place + len(around) // 2 - limit // 8)
    end = min(start + limit // 4, len(text) - tail)
    gaps = start - head, len(text) - tail - end
    before, after = (GAP.format(count=gap) if gap else "" for gap in gaps)
    return text[:head] + before + text[start:end] + after + text[len(text) - tail :]


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return "\ufffd" if any(code in broken for broken in _BROKEN) else f"<U+{code:04X}>"


def cut_short(text: str, limit: int = 40) -> str:
    """A value in a sentence: at most `limit` characters, the last three dots if it is longer."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def unique_name(name: str, taken: Container[str]) -> str:
    """The name, or with the first number from 2 on with which it is not taken: `model-2`."""
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return name if name not in taken else next(other for other in numbered if other not in taken)


def counted(count: int, noun: str) -> str:
    """A number with its noun: `1 question`, `1,319 questions`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


#: Characters kept of any one text; reports cut theirs shorter before.
KEPT = 6000


def visible(value: Any, kept: int = KEPT) -> str:
    """The text with controls shown and a bounded length; it encodes to UTF-8.

    Args:
        value: The text, or anything whose `str` is meant; None is an empty text.
        kept: Of a longer text the middle is left out, and a line says so.
    """
    return "" if value is None else clean(shorten(str(value), kept))


def one_line(value: Any, kept: int = 80) -> str:
    """The text on one line, cut at its end: a label in a figure."""
    text = " ".join(clean(str(value)[: 4 * kept]).split())
    return text if len(text) <= kept else text[: kept - 1] + "…"
