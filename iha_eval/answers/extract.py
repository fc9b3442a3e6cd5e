"""Find the final answer that a generation states.

For: `extract`, in time linear in the text, whatever the text is.
Not for: judging whether the answer can be read or is right (`read`, `equivalence`).
"""

import re
from collections import deque
from typing import Literal

from iha_eval.answers.clean import LONGEST
from iha_eval.answers.read import read
from iha_eval.answers.shapes import Expression

#: How a data set's answers look: a number (GSM8K) or any math (MATH).
Kind = Literal["number", "math"]

#: Characters from the end in which phrases are looked for, and the most of a line that is read.
_TAIL = 50_000
_LINE = 4 * LONGEST

#: Braces and boxes looked at, the last ones first.
_BOXES = 32
_BOX_REACH = 20_000

_BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])\s*")
_BARE = re.compile(r"[-+]?[\d\\(\[.][^$\n]*|[a-zA-Z](?=\s*(?:\$|$))")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_STATED = re.compile(
    r"\banswer\b[*_\"' ]*(?:\s(?:is|was|equals|would be|will be|must be)\b|=|:)[\s:*_]*",
    re.IGNORECASE,
)
# Bounded, so that openings without an end do not make the search quadratic.
_MATH = re.compile(
    r"\$\$([^$]{1,1000})\$\$"
    r"|(?<!\\)\$((?:[^$\\]|\\.){1,1000})\$"
    r"|\\\(((?:[^\\]|\\[^)]){1,1000})\\\)"
    r"|\\\[((?:[^\\]|\\[^\]]){1,1000})\\\]"
)
_NUMBER = re.compile(
    r"(?<![\w.])[-+\u2212]?(?:\\?[$€£]\s?)?-?"
    r"(?:(?:\d{1,3}(?:(?:,|\{,\}|,\\!)\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:/\d+)?"
)
_HASHES = re.compile(r"####[ \t]*([^\n]*)")
_SENTENCE_END = re.compile(r"\.(?=\s|$|[*\"'])|[;!?](?=\s)|\n|<\||</")


def extract(text: str, kind: Kind) -> str | None:
    r"""The final answer in a generation; None if it states none.

    Looked for in this order: the last `\boxed{}` or `\fbox{}` that is closed and not empty; for
    `number` the last `#### n`; what follows the last "answer is"; and on the last line that is not
    empty, the last math (`math`) or number (`number`).

    Args:
        text: What the model wrote.
        kind: `number` for a question whose answer is a number, `math` for any answer.
    """
    boxed = _boxed(text)
    if boxed is not None:
        return _number_in_box(boxed) if kind == "number" else _fitting(boxed)
    tail = text[-_TAIL:]
    return _number(tail) if kind == "number" else _math(tail)


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = deque(pattern.finditer(text), maxlen=1)
    return found[0] if found else None


def _fitting(answer: str) -> str | None:
    answer = answer.strip()
    return answer if answer and len(answer) <= LONGEST else None


def _boxed(text: str) -> str | None:
    """What stands in the last box that is closed; None if there is no such box."""
    end = len(text)
    for _ in range(_BOXES):
        start = max(text.rfind("\\boxed", 0, end), text.rfind("\\fbox", 0, end))
        if start < 0:
            return None
        end = start
        opened = _BOX.match(text, start)
        if opened is None:
            continue
        inside = _inside(text, opened.end())
        # An empty box is the question's "put it in \\boxed{}", repeated.
        if inside is not None and inside.strip():
            return inside
    return None


def _inside(text: str, at: int) -> str | None:
    """The group that starts at `at`; without a brace, what follows up to the end of the math."""
    if text[at : at + 1] != "{":
        bare = _BARE.match(text, at, at + LONGEST)
        return None if bare is None else bare[0].strip(" .,")
    depth = 0
    for found in _BRACE.finditer(text, at, at + _BOX_REACH):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth == 0:
            return text[at + 1 : found.start()]
    return None


def _stated(tail: str) -> str | None:
    """The rest of the sentence after the last "answer is"; None without one."""
    last = _last(_STATED, tail)
    if last is None:
        return None
    return tail[last.end() : last.end() + 2 * LONGEST]


def _sentence(text: str) -> str:
    return _SENTENCE_END.split(text, maxsplit=1)[0].strip(" *_\"'`:")


def _last_line(tail: str) -> str:
    return tail.rstrip().rpartition("\n")[2][-_LINE:]


def _math(tail: str) -> str | None:
    stated = _stated(tail)
    if stated is not None:
        first_line = stated.lstrip().partition("\n")[0]
        found = _MATH.search(first_line)
        if found:
            return _fitting(_content(found))
        sentence = _sentence(stated.lstrip())
        if sentence:
            return _fitting(sentence)
    found = _last(_MATH, _last_line(tail))
    # The value is at the end of a chain of equalities.
    return None if found is None else _fitting(_content(found).rpartition("=")[2])


def _content(found: re.Match[str]) -> str:
    return next(group for group in found.groups() if group is not None)


def _number_in_box(boxed: str) -> str | None:
    """A box around a number and words holds the number."""
    if not _fitting(boxed):
        return None
    shape = read(boxed)
    if isinstance(shape, Expression) and shape.value is not None:
        return _fitting(boxed)
    return _last_number(boxed)


def _number(tail: str) -> str | None:
    hashes = _last(_HASHES, tail)
    if hashes is not None:
        number = _first_number(hashes[1])
        if number is not None:
            return number
    stated = _stated(tail)
    if stated is not None:
        number = _first_number(_sentence(stated.lstrip()).rpartition("=")[2])
        if number is not None:
            return number
    return _last_number(_last_line(tail))


def _numbers(text: str) -> list[str]:
    return [found[0].strip() for found in _NUMBER.finditer(text)]


def _first_number(text: str) -> str | None:
    found = _numbers(text)
    return _fitting(found[0]) if found else None


def _last_number(text: str) -> str | None:
    found = _numbers(text)
    return _fitting(found[-1]) if found else None
