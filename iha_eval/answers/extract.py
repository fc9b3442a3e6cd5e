"""Find the final answer that a generation states.

For: `extract`, in time linear in the text, whatever the text is.
Not for: judging whether the answer can be read or is right (`read`, `equivalence`).
"""

import re
from collections import deque
from typing import Literal, NamedTuple

from iha_eval.answers.clean import LONGEST
from iha_eval.answers.read import Expression, read, solved

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
_BETWEEN_BOXES = re.compile(
    r"[$\s]{0,4}(?:\\[)\]])?\s?(?:,|,? ?(?:and|or)\s)\s?(?:\\[(\[])?[$\s]{0,4}"
)
_STATED = re.compile(
    r"\banswers?\b[*_\"' ]{0,10}"
    r"(?:\s(?:is|are|was|equals|would be|will be|must be|should be)\b|:=|=|:)[\s:*_]*+",
    re.IGNORECASE,
)
_HASHES = re.compile(r"####[ \t]*([^\n]*)")
_SENTENCE_END = re.compile(r"\.(?=\s|$|[*\"'])|[;!?](?=\s)|\n|<\||</")
_REASON = re.compile(r"\s(?:because|since|where|which|when|as|so|if)\b")
_NOTHING = re.compile(r"not\b[^,;]*$")
_NOT_BUT = re.compile(r"not\b.{0,100}?\bbut\b(?: rather)?\s*")

#: What states an answer, and what a base model starts a problem of its own with after that.
_ANY = re.compile(rf"\\(?:boxed|fbox)\s*\{{\s*[^\s}}]|####[ \t]*[-$]?\d|(?i:{_STATED.pattern})")
_NEXT_PROBLEM = re.compile(
    r"^[#* \t]{0,8}(?:Problem|Question|Exercise|Q) ?\d{0,4}\*{0,2}[:.]", re.M
)


def extract(text: str, kind: Kind, cut: bool = False) -> str | None:
    r"""The final answer in a generation; None if it states none.

    Looked for in this order: the last `\boxed{}` or `\fbox{}` that is closed and not empty, or
    several with only commas between them; for `number` the last `#### n`; what follows the last
    "answer is"; and the last math (`math`), or the last number of the last line that has one.
    A problem that the model goes on with after an answer is not looked at.

    Args:
        text: What the model wrote.
        kind: `number` for a question whose answer is a number, `math` for any answer.
        cut: Whether its budget ended it. Then only what states an answer counts, and no last word
            that may be half written.
    """
    text = _own(text)
    boxed = _boxes(text)
    if boxed is not None:
        return _number_in_box(boxed) if kind == "number" else _fitting(boxed)
    tail = text[-_TAIL:]
    if cut:
        tail = tail[: max(tail.rfind(" "), tail.rfind("\n")) + 1]
    return _number(tail, cut) if kind == "number" else _math(tail, cut)


def _own(text: str) -> str:
    """The text up to where another problem starts after an answer."""
    answered = _ANY.search(text)
    following = _NEXT_PROBLEM.search(text, answered.end()) if answered else None
    return text[: following.start()] if following else text


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = deque(pattern.finditer(text), maxlen=1)
    return found[0] if found else None


def _fitting(answer: str) -> str | None:
    answer = answer.strip()
    return answer if answer and len(answer) <= LONGEST else None


def _boxes(text: str) -> str | None:
    """What stands in the last box, or in the last boxes if they make a list."""
    contents: list[str] = []
    start, end = len(text), len(text)
    while len(contents) < _BOXES:
        found = _boxed(text, end)
        if found is None:
            break
        at, inside, after = found
        if contents and not _BETWEEN_BOXES.fullmatch(text[after:start][:30]):
            break
        contents.append(inside)
        start = end = at
    return ", ".join(reversed(contents)) if contents else None


def _boxed(text: str, end: int) -> tuple[int, str, int] | None:
    """The last closed box before `end`: its start, what stands in it and where that ends."""
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
            closed = opened.end() + len(inside) + 2 * (text[opened.end()] == "{")
            return start, inside, closed
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


def _math(tail: str, cut: bool) -> str | None:
    after = _stated(tail)
    if after is not None:
        answer = _stated_math(after.lstrip(), cut)
        if answer is not None:
            return _fitting(answer)
    if cut:
        return None
    last = runs(tail, affirmed(tail, passages(tail)))
    return _fitting(stated(last[-1])) if last else None


def _stated_math(after: str, cut: bool) -> str | None:
    """The answer in what follows "answer is"."""
    for run in runs(after, affirmed(after, passages(after))):
        before = after[: run[0].start]
        if not _SENTENCE_END.search(before) and not re.search(r"\d", before):
            return stated(run)
        break
    if cut and not _SENTENCE_END.search(after):
        return None
    sentence = _REASON.split(_NOT_BUT.sub("", _sentence(after)), maxsplit=1)[0]
    return None if _NOTHING.match(sentence) else sentence or None


def _number_in_box(boxed: str) -> str | None:
    """A box around one number and words holds that number."""
    if not _fitting(boxed):
        return None
    value = solved(boxed)
    if has_value(boxed) or (isinstance(value, Expression) and value.value is not None):
        return _fitting(boxed)
    # Several equations state several numbers.
    found = numbers(boxed if re.search(r",\s", boxed) else boxed.rpartition("=")[2])
    return found[0] if len(found) == 1 else None


def _number(tail: str, cut: bool) -> str | None:
    hashes = _last(_HASHES, tail)
    if hashes is not None:
        found = numbers(hashes[1][:_LINE])
        if found:
            return found[0]
    after = _stated(tail)
    if after is not None:
        found = numbers(_sentence(after.lstrip()).rpartition("=")[2])
        if found:
            return found[0]
    return None if cut else _last_number(tail)


def _last_number(tail: str) -> str | None:
    """The last number of the last line that has one."""
    for line in reversed(tail.splitlines()):
        found = numbers(line[-_LINE:])
        if found:
            return found[-1]
    return None


_CLOSING = {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}
_MATH_SIGN = re.compile(r"\$\$|\$|\\.|\n[ \t]*\n", re.DOTALL)
_BETWEEN = re.compile(r"[ \t]*(?:,|;)?[ \t]*(?:and|or|&)?[ \t]*\n?[ \t]*")
_DENIED_MATH = re.compile(r"\b(?:not|never|isn't|n't)[ \t]*(?:be |equal |to ){0,3}$")
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
    for sign in _MATH_SIGN.finditer(text):
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
    return [
        one for one in found if not _DENIED_MATH.search(text[max(0, one.start - 30) : one.start])
    ]


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


_CURRENCY = r"(?:\\?[$€£]\s?)?"
_SIGN = r"[-+\u2212]?"
_FRACTION = r"\\[dt]?frac ?\{\d{1,20}\} ?\{\d{1,20}\}"
_DIGITS = (
    r"(?:\d{1,3}(?: \d{3})++(?![\d,])|\d++(?:(?:,|\{,\}|\\,|,\\!|:|\.)\d++)*+"
    rf"(?: \d{{1,9}}/\d{{1,9}}| ?{_FRACTION})?|{_FRACTION}|\.\d++)"
)
_JOINT = (
    r"(?:\s?(?:[-+*/\u2212\u2013\u2014\u00d7\u00f7]|\*\*|\\times|\\cdot|\\div)\s?"
    r"|\s(?:x|times|to|and|or)\s|\s?\\text\{ ?(?:to|and|or) ?\}\s?)"
)
_POWER = r"(?:\s?\^\s?\{?-?\d++\}?)?"
_TERM = rf"{_DIGITS}{_POWER}"
_LARGE = (
    r"(?:[eE][-+]?\d{1,4}(?!\w)"
    r"|\s?(?:\\text\{ ?)?(?:hundred|thousand|million|[bt]rillion|dozen)\b\}?)?"
)
_NUMERAL = re.compile(
    rf"(?<![\w.]){_SIGN}{_CURRENCY}{_SIGN}{_TERM}(?:{_JOINT}{_SIGN}{_CURRENCY}{_TERM})*+{_LARGE}"
)
_RANGE = re.compile(r"(?<=[\d}])[-\u2013\u2014](?=[\d$])|\u2013|\u2014|\b(?:to|and|or)\b")
#: After these a sign belongs to the number even if a space follows it.
_SIGN_APART = re.compile(r"(?:^|[=:#]|\b(?:is|was|be|equals|of))\s*[-\u2212]\s$")
_DENIED_NUMBER = re.compile(r"\b(?:not|n't|than)\s*$")


def numbers(text: str) -> list[str | None]:
    """All numbers with a sign, in order; None for what looks like one but has no one value.

    Ranges, times, ratios and lists are such. What "not" stands in front of is left out.
    """
    found: list[str | None] = []
    for numeral in _NUMERAL.finditer(text):
        before = text[max(0, numeral.start() - 20) : numeral.start()]
        if not _DENIED_NUMBER.search(before):
            found.append(_whole(numeral[0], bool(_SIGN_APART.search(before))))
    return found


def _whole(numeral: str, negative: bool) -> str | None:
    """The text of a number, None if it has no value."""
    numeral = f"-{numeral}" if negative else numeral.strip()
    inner = numeral.lstrip("-+\u2212$ ")
    if len(numeral) > LONGEST or _RANGE.search(inner):
        return None
    if has_value(numeral):
        return numeral
    # Signs that are typed as letters.
    plain = re.sub(r"\s(?:x|times)\s", " * ", numeral)
    return plain if has_value(plain) else None


def has_value(text: str) -> bool:
    """Whether a text is a number or arithmetic with a value."""
    shape = read(text)
    return isinstance(shape, Expression) and shape.value is not None
