r"""Math in running text: where it stands, and which pieces make one list.

For: `passages`, in time linear in the text, and `last_stated`, the answers among them.
Not for: deciding which passage of a generation states its answer (`extract`).
"""

import re
from typing import NamedTuple

_CLOSING = {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}
_SIGN = re.compile(r"\$\$|\$|\\.|\n[ \t]*\n", re.DOTALL)
_BETWEEN = re.compile(r"[ \t]*(?:,|;)?[ \t]*(?:and|or|&)?[ \t]*\n?[ \t]*")
_DENIED = re.compile(r"\b(?:not|never|isn't|n't)[ \t]*(?:be |equal |to ){0,3}$")
_SIGNED_NAME = re.compile(
    r"[A-Za-z](?:_\{?\w\}?)?'?|[A-Z]{1,4}|\\[a-z]+|\\text\{[^{}]*\}|[A-Za-z]\([a-z]\)"
)


class Passage(NamedTuple):
    """A piece of math.

    Attributes:
        start: Where its opening sign starts.
        end: Where its closing sign ends.
        content: What is in between, without spaces at the ends.
    """

    start: int
    end: int
    content: str


def passages(text: str) -> list[Passage]:
    """The pieces of math between dollar signs or LaTeX's brackets, in order."""
    found: list[Passage] = []
    opened, start = "", 0
    for sign in _SIGN.finditer(text):
        token = sign[0]
        money = token == "$" and text[sign.end() : sign.end() + 1].isdigit()
        if opened == "$" and (token[0] == "\n" or (money and text[sign.start() - 1].isspace())):
            # The opening one was a price.
            opened = ""
        if opened and token == _CLOSING[opened]:
            content = text[start + len(opened) : sign.start()].strip()
            if content:
                found.append(Passage(start, sign.end(), content))
            opened = ""
        elif not opened and token in _CLOSING:
            opened, start = token, sign.start()
    return found


def affirmed(text: str, found: list[Passage]) -> list[Passage]:
    """Those that no "not" stands in front of."""
    return [one for one in found if not _DENIED.search(text[max(0, one.start - 30) : one.start])]


def runs(text: str, found: list[Passage]) -> list[list[Passage]]:
    """Neighbors with nothing but a comma, "and" or "or" between them, put together."""
    together: list[list[Passage]] = []
    for one in found:
        between = text[together[-1][-1].end : one.start] if together else ""
        if between.strip() and _BETWEEN.fullmatch(between):
            together[-1].append(one)
        else:
            together.append([one])
    return together


def stated(run: list[Passage]) -> str:
    """What a run states: its only passage, or the list of all."""
    return ", ".join(value(one.content) for one in run)


def value(content: str) -> str:
    """What a chain of equalities that starts with a name ends in; other math as it is."""
    content = content.rstrip(" .,;")
    left, _, right = content.partition("=")
    if right and (_SIGNED_NAME.fullmatch(left.strip()) or not re.search("[A-Za-z]", left)):
        return content.rpartition("=")[2].strip()
    return content
