r"""LaTeX as a tree of arguments, and one way of writing what can be written in many.

For: `\frac12`, `\dfrac{1}{2}` and other spellings of one expression; the text that is sent to
math-verify.
Not for: brackets that make an answer a tuple, a set or an interval (`read`).
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TypeGuard

#: Deeper nesting is left as it is written: no honest answer has it, and Python's stack is finite.
DEEPEST = 40

_TOKEN = re.compile(
    r"\\(?:begin|end)\s*\{[a-zA-Z]+\*?\}(?:\{[lcr| ]*\})?|\\text\s*\{[^{}]*\}"
    r"|\\mathbb\s*\{?\s*[A-Z]\s*\}?"
    r"|\\[a-zA-Z]+|\\.|\d+(?:\.\d+|\.(?=\s*\\overline))?|\.\d+|\S",
    re.DOTALL | re.ASCII,
)

#: Commands with another name for the same thing.
_ALIASES = {
    r"\frac": r"\dfrac \tfrac \cfrac \sfrac \nicefrac",
    r"\binom": r"\dbinom \tbinom",
    r"\cdot": r"\times \ast",
    "/": r"\div \over",
    r"\le": r"\leq \leqslant \leqq",
    r"\ge": r"\geq \geqslant \geqq",
    r"\ne": r"\neq",
    "<": r"\lt",
    ">": r"\gt",
    r"\infty": r"\infin",
    "|": r"\lvert \rvert \vert \mid",
    r"\{": r"\lbrace",
    r"\}": r"\rbrace",
    "[": r"\lbrack",
    "]": r"\rbrack",
    "(": r"\lparen",
    ")": r"\rparen",
    r"\ldots": r"\dots \cdots",
    r"\emptyset": r"\varnothing",
    "i": r"\imath",
    r"\lor": r"\vee",
    r"\setminus": r"\backslash",
    "=": r"\equiv",
    ":": r"\colon",
    "'": r"\prime",
    ",": ";",
}
_SAME = {alias: name for name, aliases in _ALIASES.items() for alias in aliases.split()}


@dataclass(frozen=True)
class Command:
    """A command or sign with arguments: a fraction, a root, a power, an index, a group.

    Attributes:
        name: `frac`, `binom`, `sqrt`, `^`, `_`, `overline` or `{`.
        arguments: One tree per argument; a root has its index first if it has one.
    """

    name: str
    arguments: tuple["Tree", ...]


#: A sequence of tokens and calls.
Tree = tuple["str | Command", ...]


def tokens(text: str) -> list[str]:
    """The LaTeX tokens of a cleaned text, each named in one way; spaces are gone."""
    names = [_SAME.get(token, token) for token in _TOKEN.findall(text)]
    return [_tidied(token) for token in names]


def _tidied(token: str) -> str:
    if token.startswith("\\text"):
        inner = token[token.find("{") + 1 : -1].strip() if "{" in token else token
        stripped = inner.strip("()")
        # A letter in upright type is a letter.
        return stripped if len(stripped) == 1 else f"\\text{{{inner}}}"
    if token.startswith("\\mathbb"):
        return f"\\mathbb{{{token.strip(' }')[-1]}}}"
    if token[0] == "." and len(token) > 1:
        return f"0{token}"
    return "".join(token.split())


def is_digits(item: "str | Command | None") -> TypeGuard[str]:
    """Whether a token is a whole number without a sign."""
    return isinstance(item, str) and item.isascii() and item.isdigit()


def tree(sequence: list[str]) -> Tree:
    """Find the arguments of fractions, roots, powers and indices.

    Broken or too deeply nested LaTeX does not fail: what cannot be an argument stays a token.
    """
    return _TreeReader(sequence).all()


class _TreeReader:
    """Reads a token sequence once from left to right."""

    def __init__(self, sequence: list[str]) -> None:
        self._left = sequence[::-1]

    def all(self, depth: int = 0, closing: str | None = None) -> Tree:
        """Everything up to `closing`, which is taken too, or to the end."""
        items: list[str | Command] = []
        inner = 0
        while self._left:
            token = self._left.pop()
            if token == closing and inner == 0:
                break
            # Only a typed exponent is closed by a round bracket, and may hold more of them.
            inner += (closing == ")") * ((token == "(") - (token == ")"))
            items.append(self._item(token, depth))
        return _with_mixed(items)

    def _item(self, token: str, depth: int) -> "str | Command":
        if depth > DEEPEST:
            return token
        if token == "{":
            inner = self.all(depth + 1, "}")
            return inner[0] if len(inner) == 1 else Command("{", (inner,))
        if token in ("\\frac", "\\binom"):
            above = self._argument(depth, digit=True)
            return Command(token[1:], (above, self._argument(depth, digit=True)))
        if token == "\\sqrt":
            index: tuple[Tree, ...] = ()
            if self._left and self._left[-1] == "[":
                self._left.pop()
                index = (self.all(depth + 1, "]"),)
            return Command("sqrt", (*index, self._argument(depth)))
        if token in ("^", "_", "\\overline"):
            return Command(token.lstrip("\\"), (self._argument(depth),))
        return token

    def _argument(self, depth: int, digit: bool = False) -> Tree:
        """The next argument; of a bare number only its first digit if `digit`, as TeX does."""
        if not self._left:
            return ()
        token = self._left.pop()
        if token == "{":
            return self.all(depth + 1, "}")
        if digit and is_digits(token) and len(token) > 1:
            self._left.append(token[1:])
            token = token[0]
        if not digit and token == "(":
            # Typed: x^(1/2).
            return self.all(depth + 1, ")")
        # A typed sign belongs to the exponent: x^-1.
        if not digit and token == "-" and self._left:
            return ("-", *self._argument(depth))
        return (self._item(token, depth + 1),)


def _with_mixed(items: list["str | Command"]) -> Tree:
    r"""Read a whole number before a proper fraction of whole numbers as a mixed number.

    MATH writes `1\frac{4}{5}` for 9/5; nobody writes a product of two numbers like that.
    """
    joined: list[str | Command] = []
    for item in items:
        mixed = _mixed(joined, item)
        if mixed is None:
            joined.append(item)
        else:
            joined[-1] = mixed
    return tuple(joined)


def _mixed(before: list["str | Command"], item: "str | Command") -> Command | None:
    if not (isinstance(item, Command) and item.name == "frac" and before):
        return None
    above, below = (part[0] if len(part) == 1 else None for part in item.arguments)
    whole = before[-1]
    if not (is_digits(whole) and is_digits(above) and is_digits(below)):
        return None
    if int(above) >= int(below):
        return None
    value = int(whole) + Fraction(int(above), int(below))
    return Command("frac", ((str(value.numerator),), (str(value.denominator),)))


def written(items: Tree) -> str:
    """The canonical LaTeX of a tree."""
    return "".join(_spaced([_written(item) for item in items]))


def _written(item: "str | Command") -> str:
    if isinstance(item, str):
        # Zeros at the end of a decimal say nothing.
        return item.rstrip("0").rstrip(".") if "." in item and item[0].isdigit() else item
    inner = [written(argument) for argument in item.arguments]
    if item.name == "{":
        return f"{{{inner[0]}}}"
    if item.name == "sqrt" and len(inner) == 2:
        return f"\\sqrt[{inner[0]}]{{{inner[1]}}}"
    sign = item.name if item.name in ("^", "_") else f"\\{item.name}"
    return sign + "".join(f"{{{argument}}}" for argument in inner)


def _spaced(pieces: list[str]) -> list[str]:
    """Keep a command and a letter after it apart."""
    return [
        f"{piece} " if re.search(r"\\[a-zA-Z]+$", piece) and following[:1].isalpha() else piece
        for piece, following in pairwise([*pieces, ""])
    ]


def for_parser(items: Tree) -> str:
    """The same expression for math-verify's parser, without what that parser misreads.

    It drops the case of letters and the power in `I^2`, takes `i` for a real variable and `de` for
    one, rounds long decimals and reads `2(3)` as a mixed number.
    """
    pieces: list[str] = []
    for place, item in enumerate(items):
        after = items[place + 1] if place + 1 < len(items) else None
        piece = _for_parser(item)
        if piece == "I" and isinstance(after, Command) and after.name == "^":
            piece = "(I)"
        before = items[place - 1] if place else None
        number_before = isinstance(before, str) and before[-1].isdigit()
        if number_before and (item == "(" or piece.startswith("\\frac{")):
            pieces.append("\\cdot ")
        pieces.append(piece)
    return " ".join(pieces)


def _for_parser(item: "str | Command") -> str:
    if isinstance(item, Command):
        if item.name == "_":
            return _written(item)
        inner = [for_parser(argument) for argument in item.arguments]
        if item.name == "{":
            return f"({inner[0]})"
        return _written(Command(item.name, tuple((argument,) for argument in inner)))
    if item == "i":
        return "I"
    if len(item) == 1 and ("A" <= item <= "Z" or item == "d"):
        # An index that no answer has stands for the case, or keeps a d apart from what follows.
        return f"{item.lower()}_{{{9000 + ord(item)}}}"
    if "." in item and item[0].isdigit():
        whole, _, part = item.partition(".")
        return f"\\frac{{{whole}{part}}}{{1{'0' * len(part)}}}"
    return item
