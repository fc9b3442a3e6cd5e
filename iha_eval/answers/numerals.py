r"""Numbers in running text, each read as a whole.

For: `numbers`; 1 1/2 is one number and not 1, and neither is 3:30.
Not for: which number of a generation is its answer (`extract`).
"""

import re

from iha_eval.answers.clean import LONGEST
from iha_eval.answers.read import read
from iha_eval.answers.shapes import Expression

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
_DENIED = re.compile(r"\b(?:not|n't|than)\s*$")


def numbers(text: str) -> list[str | None]:
    """All numbers with a sign, in order; None for what looks like one but has no one value.

    Ranges, times, ratios and lists are such. What "not" stands in front of is left out.
    """
    found: list[str | None] = []
    for numeral in _NUMERAL.finditer(text):
        before = text[max(0, numeral.start() - 20) : numeral.start()]
        if not _DENIED.search(before):
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
