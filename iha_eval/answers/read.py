"""Read an answer: which brackets it has and what they mean, down to its expressions.

For: `read`, the one way from an answer's text to its shape.
Not for: finding the answer in a generation (`extract`), nor comparing two (`equivalence`).

Decisions: round, square and mixed brackets keep order and kind, so (1, 2), [1, 2] and {1, 2} are
three answers. Braces and lists without brackets have no order. What stands left of an equality sign
is a name if it is a letter, a function of one, or words. An inequality for one name is an interval.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate, pairwise

from iha_eval.answers.arithmetic import value_of
from iha_eval.answers.clean import LONGEST, clean
from iha_eval.answers.latex import (
    DEEPEST,
    Command,
    Tree,
    for_parser,
    is_digits,
    tokens,
    tree,
    written,
)


@dataclass(frozen=True)
class Shape:
    """What all shapes have.

    Attributes:
        form: The canonical form; two answers with the same form are equal. Everything else about a
            shape follows from it, so it alone decides whether two shapes are the same object.
    """

    form: str


@dataclass(frozen=True)
class Expression(Shape):
    """An expression, an equation or a single letter.

    Attributes:
        value: Its exact value if it is plain arithmetic.
        latex: How math-verify is asked about it; None if it must be compared by its form alone.
        equation: Whether it states an equality or another relation.
    """

    value: Fraction | None = field(default=None, compare=False)
    latex: str | None = field(default=None, compare=False)
    equation: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Ordered(Shape):
    """Parts in a fixed order between two brackets: a tuple, a vector, an interval.

    Attributes:
        brackets: The opening and the closing one.
        parts: What stands between them.
    """

    brackets: str = field(compare=False)
    parts: tuple[Shape, ...] = field(compare=False)


@dataclass(frozen=True)
class Unordered(Shape):
    """Parts in any order: a set, a list without brackets, both signs of a plus-minus, a union.

    Attributes:
        union: Whether the parts are united sets rather than elements.
        parts: What is in it.
    """

    union: bool = field(compare=False)
    parts: tuple[Shape, ...] = field(compare=False)


@dataclass(frozen=True)
class Matrix(Shape):
    """A matrix or column vector, however its brackets are drawn.

    Attributes:
        rows: Its cells, row by row; rows may differ in length if the text was broken.
    """

    rows: tuple[tuple[Shape, ...], ...] = field(compare=False)


@dataclass(frozen=True)
class Named(Shape):
    r"""A value with a name: `x = 5`, `f(x) = 2x`, `x \in [0, 1]`, `x > 3`.

    Attributes:
        name: What is on the left.
        value: What it equals, or the interval it lies in.
        latex: The equation as math-verify reads it; None for anything but an equation.
    """

    name: str = field(compare=False)
    value: Shape = field(compare=False)
    latex: str | None = field(default=None, compare=False)


def expression(
    form: str, value: Fraction | None = None, latex: str | None = None, equation: bool = False
) -> Expression:
    """An expression; one with an exact value has that value as its form."""
    return Expression(form if value is None else f"={value}", value, latex, equation)


def ordered(brackets: str, parts: tuple[Shape, ...]) -> Ordered:
    """Parts in order between `brackets`."""
    inner = ",".join(part.form for part in parts)
    return Ordered(f"{brackets[0]}{inner}{brackets[1]}", brackets, parts)


def unordered(parts: Sequence[Shape], union: bool = False, distinct: bool = False) -> Shape:
    """Parts in any order; a group of one is that one.

    Args:
        parts: The parts.
        union: Whether they are united sets rather than elements.
        distinct: Whether naming a part twice says no more than naming it once, as in a set.
    """
    chosen = list(dict.fromkeys(parts)) if distinct or union else list(parts)
    chosen.sort(key=lambda part: part.form)
    if len(chosen) == 1:
        return chosen[0]
    sign = "U" if union else ","
    return Unordered("{" + sign.join(part.form for part in chosen) + "}", union, tuple(chosen))


def matrix(rows: tuple[tuple[Shape, ...], ...]) -> Matrix:
    """A matrix from its rows."""
    inner = ";".join(",".join(cell.form for cell in cells) for cells in rows)
    return Matrix(f"matrix[{inner}]", rows)


def named(name: str, value: Shape, latex: str | None = None) -> Named:
    """A value with a name."""
    # A character that no read answer has, so that the ratio x:5 is not x = 5.
    return Named(f"{name}\x1f{value.form}", name, value, latex)


_OPENING = {"(": ")", "[": "]", "\\{": "\\}", "\\langle": "\\rangle"}
_CLOSING = set(_OPENING.values())
_FENCES = {"\\{": "{", "\\}": "}", "\\langle": "<", "\\rangle": ">"}
_ORDER = {"<": "()", "\\le": "(]", ">": "()", "\\ge": "[)"}
_RELATIONS = {"=", "\\ne", "\\in", "\\approx", *_ORDER}
_MATRIX = re.compile(r"\\(begin|end)\{(?:[pbB]?matrix|smallmatrix|array)\*?\}")
_NAME = re.compile(
    r"(?:\\text\{[^{}]*\}|\\angle[A-Z ]+|[A-Z]{1,4}|\\?[A-Za-z]|\\[A-Za-z]+)'*(?:[_^]\{[^{}]*\})*'*"
    r"(?:\([a-zA-Z,]+\))?|\([a-zA-Z](?:,[a-zA-Z])+\)"
)
_NOT_A_NAME = re.compile(r"\\(?:pi|frac|sqrt|infty|sin|cos|tan|cot|sec|csc|log|ln)(?![a-z])")
_WORD = re.compile(r"[A-Za-z]{4,}[0-9]*|yes|no|odd|all|one|two|six|ten|red", re.IGNORECASE)
_VOWEL = re.compile("[aeiou]", re.IGNORECASE)
#: A choice of a test, in front of what it says.
_CHOICE = re.compile(
    r"\\(?:text|textbf|textrm|mathrm|mathbf) ?\{ ?\(?([A-Z])[).:]{1,2} ?\}[\s~\\]*(?=[^\s~\\}])"
)
_REALS = ["(", "-", "\\infty", ",", "\\infty", ")"]

#: Signs that math-verify's parser drops or takes for others, such as a ratio for a quotient.
_MISREAD = {":", ",", "'", '"', "&", "?", "\\approx", "\\in", "\\equiv", "\\emptyset", "\\to"}

#: Tokens of the longest expression that math-verify's parser is given.
_LONGEST = 300

#: Brackets inside brackets that are still looked into.
_DEEPEST = 20


@lru_cache(maxsize=65536)
def read(answer: str) -> Shape | None:
    """The shape of an answer; None if nothing is left of it or it has more than LONGEST characters.

    Args:
        answer: The answer alone, in LaTeX or typed plainly.
    """
    answer = answer.strip()
    if len(answer) > LONGEST:
        return None
    sequence = tokens(clean(answer))
    return _read(sequence, 0) if sequence else None


def fitting(answer: str, gold: Shape) -> Shape | None:
    r"""The shape of an answer, of what it is about where the gold answer shows that.

    Where the gold answer is no equation, an answer A = B is B, or A if B is a bare name; what
    stands after \approx goes. A choice with its text, `\text{(C)} 12`, is the letter where the gold
    answer is a letter, and else the text.

    Args:
        answer: As for `read`.
        gold: The shape of the gold answer.
    """
    answer = answer.strip()
    choice = _CHOICE.match(answer) if len(answer) <= LONGEST else None
    if choice:
        letter = len(gold.form) == 1 and gold.form.isalpha()
        answer = choice[1] if letter else answer[choice.end() :]
    shape = read(answer)
    stated = (isinstance(gold, Named) and gold.latex is not None) or (
        isinstance(gold, Expression) and gold.equation
    )
    return shape if stated else solved(answer) or shape


@lru_cache(maxsize=65536)
def solved(answer: str) -> Shape | None:
    """The shape of the value that an equation or approximation ends in; None if it is neither."""
    shape = read(answer)
    if not isinstance(shape, Expression):
        return None
    sequence = tokens(clean(answer.strip()))
    relations = {token for token in _outer(sequence) if token in _RELATIONS}
    if not relations or relations - {"=", "\\approx"}:
        return None
    about = _split(sequence, {"\\approx"})
    sides = _split(about[-1] if _name(about[0]) else about[0], {"="})
    if not all(sides):
        return None
    if len(sides) == 2 and _name(sides[1]):
        return _read(sides[0], 0)
    letters = {token for token in sides[-1] if token.isalpha()}
    # What relates letters that the other side does not have is no value of it.
    return _read(sides[-1], 0) if letters <= set(sides[0]) else None


def _read(sequence: Sequence[str], depth: int) -> Shape:
    parts = _split(sequence, {","})
    if len(parts) > 1 and all(parts) and depth <= _DEEPEST:
        return unordered(_elements(parts, depth))
    signs = _signs(sequence)
    if len(signs) > 1:
        return unordered([_single(sign, depth) for sign in signs], distinct=True)
    return _single(sequence, depth)


def _elements(parts: Sequence[Sequence[str]], depth: int) -> list[Shape]:
    """The elements of a list, plus-minus counting as two."""
    return [_single(sign, depth + 1) for part in parts for sign in _signs(part)]


def _signs(sequence: Sequence[str]) -> list[Sequence[str]]:
    """Both readings of plus-minus outside of inner brackets; the sequence itself without one."""
    if "\\pm" not in sequence and "\\mp" not in sequence:
        return [sequence]
    if sequence[0] in _OPENING:
        return [sequence]
    upper = {"\\pm": "+", "\\mp": "-"}
    lower = {"\\pm": "-", "\\mp": "+"}
    return [[signs.get(token, token) for token in sequence] for signs in (upper, lower)]


def _single(sequence: Sequence[str], depth: int) -> Shape:
    """One answer that is not a list."""
    if depth > _DEEPEST:
        return _opaque(sequence)
    united = _split(sequence, {"\\cup"})
    if len(united) > 1 and all(united):
        return unordered([_single(part, depth + 1) for part in united], union=True)
    return _related(sequence, depth) or _bracketed(sequence, depth) or _leaf(sequence)


def _split(sequence: Sequence[str], separators: set[str]) -> list[Sequence[str]]:
    """Cut at separators outside of brackets, groups and environments."""
    parts: list[Sequence[str]] = []
    depth, start = 0, 0
    for place, token in enumerate(sequence):
        depth += _step(token)
        if depth == 0 and token in separators:
            parts.append(sequence[start:place])
            start = place + 1
    return [*parts, sequence[start:]]


def _step(token: str) -> int:
    if token in _OPENING or token == "{" or token.startswith("\\begin"):
        return 1
    return -int(token in _CLOSING or token == "}" or token.startswith("\\end"))


def _related(sequence: Sequence[str], depth: int) -> Shape | None:
    """An equation, membership or inequality; None if the sequence is none."""
    sides = _split(sequence, _RELATIONS)
    if len(sides) == 1:
        return None
    signs = [token for token in _outer(sequence) if token in _RELATIONS]
    if not all(sides):
        # A sign without a left side, as in "= 5".
        return _read(sides[-1], depth + 1) if sides[-1] and len(sides) == 2 else _opaque(sequence)
    name = _name(sides[0])
    if signs == ["\\in"] and name:
        return named(name, _read(sides[1], depth + 1))
    if set(signs) == {"="}:
        if name:
            return named(name, _read(sides[-1], depth + 1), _equation(sequence).latex)
        turned = _name(sides[1])
        if turned and len(sides) == 2:
            return named(turned, _read(sides[0], depth + 1), _equation(sequence).latex)
        if not any(re.search("[a-zA-Z]", token.replace("\\frac", "")) for token in sides[0]):
            return _read(sides[-1], depth + 1)
    return _interval(sides, signs) or _equation(sequence)


def _outer(sequence: Sequence[str]) -> list[str]:
    """The tokens outside of all brackets."""
    depth, found = 0, []
    for token in sequence:
        depth += _step(token)
        if depth == 0:
            found.append(token)
    return found


def _name(sequence: Sequence[str]) -> str | None:
    """The text of a side that is a name: a letter, a function of letters, points, or words."""
    text = written(_tree(sequence))
    if text.startswith("\\text{") or _is_word(text):
        return text
    return text if _NAME.fullmatch(text) and not _NOT_A_NAME.search(text) else None


def _is_word(text: str) -> bool:
    return bool(_WORD.fullmatch(text) and _VOWEL.search(text))


def _interval(sides: Sequence[Sequence[str]], signs: Sequence[str]) -> Shape | None:
    """The interval that `x > a`, `a < x` or `a < x < b` states; None if it is none of these."""
    if any(sign not in _ORDER for sign in signs) or len(signs) > 2:
        return None
    if signs[0] in (">", "\\ge"):
        # Read from right to left, so that the smaller side comes first.
        turned = {">": "<", "\\ge": "\\le", "<": ">", "\\le": "\\ge"}
        sides, signs = sides[::-1], [turned[sign] for sign in reversed(signs)]
    if any(sign in (">", "\\ge") for sign in signs):
        return None
    names = [_name(side) for side in sides]
    minus, plus = _leaf(["-", "\\infty"]), _leaf(["\\infty"])
    if len(sides) == 2 and names[0] and not names[1]:
        name, ends, brackets = names[0], (minus, _leaf(sides[1])), "(" + _end(signs[0], ")", "]")
    elif len(sides) == 2 and names[1] and not names[0]:
        name, ends, brackets = names[1], (_leaf(sides[0]), plus), _end(signs[0], "(", "[") + ")"
    elif len(sides) == 3 and names[1]:
        name, ends = names[1], (_leaf(sides[0]), _leaf(sides[2]))
        brackets = _end(signs[0], "(", "[") + _end(signs[1], ")", "]")
    else:
        return None
    return named(name, ordered(brackets, ends))


def _end(sign: str, without: str, with_it: str) -> str:
    return with_it if sign == "\\le" else without


def _bracketed(sequence: Sequence[str], depth: int) -> Shape | None:
    """What stands between two brackets around the whole; None if there are none."""
    environment = _MATRIX.fullmatch(sequence[0].split("}")[0] + "}")
    if sequence[0].startswith("\\begin"):
        return _matrix(sequence, depth) if environment else None
    if not _encloses(sequence):
        return None
    opening, closing = sequence[0], sequence[-1]
    inner = sequence[1:-1]
    parts = _split(inner, {","})
    if not inner and opening == "\\{":
        return _leaf(["\\emptyset"])
    if not inner or not all(parts):
        return None
    if inner[0].startswith("\\begin") and opening in "([" and len(parts) == 1:
        # The brackets of an array or a plain matrix.
        return _read(inner, depth + 1)
    if opening == "\\{" and closing == "\\}":
        described = _split(inner, {"|", ":"})
        if len(described) == 2 and all(described) and _name(described[0]):
            # The set of all x with a property is what the property says.
            return _read(described[1], depth + 1)
        return unordered(_elements(parts, depth), distinct=True)
    if opening == "(" and closing == ")" and len(parts) == 1:
        return _read(inner, depth + 1)
    brackets = _FENCES.get(opening, opening) + _FENCES.get(closing, closing)
    return ordered(brackets, tuple(_read(part, depth + 1) for part in parts))


def _encloses(sequence: Sequence[str]) -> bool:
    """Whether the first token is a bracket that the last one closes; `(3, 4]` is such a pair."""
    if len(sequence) < 2 or sequence[0] not in _OPENING or sequence[-1] not in _CLOSING:
        return False
    depth = 0
    for token in sequence[:-1]:
        depth += _step(token)
        if depth == 0:
            return False
    return depth == 1


def _matrix(sequence: Sequence[str], depth: int) -> Shape | None:
    if not (sequence[-1].startswith("\\end") and len(sequence) > 2):
        return None
    rows = [line for line in _split(sequence[1:-1], {"\\\\"}) if line]
    return matrix(tuple(tuple(_cell(cell, depth) for cell in _split(line, {"&"})) for line in rows))


def _cell(sequence: Sequence[str], depth: int) -> Shape:
    return _read(sequence, depth + 1) if sequence else _opaque(["\\text{}"])


def _tree(sequence: Sequence[str]) -> Tree:
    return tree(list(sequence))


def _opaque(sequence: Sequence[str]) -> Shape:
    """Something that is equal only to what is written the same."""
    return expression("".join(sequence))


def _equation(sequence: Sequence[str]) -> Expression:
    items = _tree(sequence)
    latex = None if _by_form_only(sequence, items) else for_parser(items)
    return expression(written(items), latex=latex, equation=True)


def _leaf(sequence: Sequence[str]) -> Shape:
    """An expression, a word, or a number in a base."""
    if list(sequence) == ["\\mathbb{R}"]:
        return _single(_REALS, 0)
    if list(sequence) == ["+", "\\infty"]:
        sequence = sequence[1:]
    text = "".join(sequence)
    plain = text[6:-1] if len(sequence) == 1 and text.startswith("\\text{") else text
    words = "".join(plain.split()).strip("().").lower()
    if plain != text or _is_word(plain):
        return expression(f'"{words}"')
    items = _tree(sequence)
    latex = None if _by_form_only(sequence, items) else for_parser(items)
    return expression(written(items), value_of(items), latex)


def _by_form_only(sequence: Sequence[str], items: Tree) -> bool:
    """Whether math-verify is not asked, because it would misread it or take for ever.

    It would misread letters, bases, ratios, numbers side by side and words.
    """
    if len(sequence) > _LONGEST or not _well_nested(sequence):
        return True
    if len(items) == 1 and isinstance(items[0], str) and items[0].isalpha():
        return True
    return any(
        (isinstance(item, str) and (item in _MISREAD or item.startswith("\\text")))
        or (is_digits(item) and isinstance(after, Command) and after.name == "_")
        or (is_digits(item) and isinstance(after, str) and after[0].isdigit())
        for item, after in pairwise((*items, "\\end"))
    )


def _well_nested(sequence: Sequence[str]) -> bool:
    """Whether every bracket and group is closed, and none is deeper than an honest answer goes."""
    depths = list(accumulate(map(_step, sequence)))
    return depths[-1] == 0 and min(depths) >= 0 and max(depths) <= DEEPEST
