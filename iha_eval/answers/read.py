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
from math import inf

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
_PLAIN = re.compile(r"-?[1-9]\d*(?:\.\d+)?")
#: A choice of a test, in front of what it says.
_CHOICE = re.compile(
    r"(?:\\(?:text|textbf|textrm|mathrm|mathbf) ?\{ ?\(?([A-Z])[).:]{1,2} ?\}[\s~\\]*(?=[^\s~\\}])"
    r"|\\text ?\{ ?\(?([A-H])[).:] ?(?=[^{}]+\}$)|\(?([A-H])(?:\)|[.:] )\s*(?=[^\s,)]))"
    r"(?! ?(?:or|and|,|&))"
)
#: Intervals of a set that are looked at.
_LARGEST_SET = 40
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
    if _PLAIN.fullmatch(answer):
        # Most answers are bare numbers, and nothing of them has to be taken off.
        items = (*("-" * answer.startswith("-")), answer.lstrip("-"))
        return expression("", Fraction(answer), for_parser(items))
    sequence = tokens(clean(answer))
    return _read(sequence, 0) if sequence else None


_MODULUS = re.compile(
    r"\\pmod ?(?:\{[^{}]*\}|\d+)|\( ?(?:\\text ?\{)? ?mod ?\}? ?\d+ ?\)|\\mod\b ?(?:\{[^{}]*\}|\d+)"
)
#: 1 and 4/5.
_AND_A_FRACTION = re.compile(
    r"^(\d+) ?(?:\\text ?\{)? ?and ?\}? ?((?:\\[dt]?frac ?\{\d+\} ?\{\d+\}|\d+ ?/ ?\d+))$"
)
#: The letter of a point.
_LETTERED = re.compile(r"^[A-Z]'? ?(?=(?:\\left)?\()")
_OTHER_ANGLE = re.compile(r"(?<![A-Za-z])rad(?:ian)?s?(?![A-Za-z])|['\u2032]")
#: Unit -> what names another one in an answer, and what one of that is worth.
_MONEY = {
    "cent": (re.compile(r"\\\$|dollar"), Fraction(100)),
    "dollar": (re.compile(r"^(?!.*(?:\\\$|dollar)).*\bcents?\b"), Fraction(1, 100)),
}
_PERCENT = re.compile(r"^(?!.*\\approx|.*=).*(?:%|\bper ?cent)\W*$")


def fitting(answer: str, gold: Shape, unit: str = "") -> Shape | None:
    r"""The shape of an answer, of what it is about where the gold answer shows that.

    Where the gold answer is no equation, an answer A = B is B, or A if B is a bare name; what
    stands after \approx goes. A choice with its text, `\text{(C)} 12`, is the letter where the gold
    answer is a letter, and else the text.

    Args:
        answer: As for `read`.
        gold: The shape of the gold answer.
        unit: What `unit_of` says about it, so that the number of another unit does not equal it.
    """
    answer = answer.strip()
    if len(answer) > LONGEST:
        return None
    if _PLAIN.fullmatch(answer):
        return read(answer)
    if unit == "degree" and _OTHER_ANGLE.search(answer):
        return expression(answer)
    other, worth = _MONEY.get(unit, (None, Fraction()))
    if other and other.search(answer):
        amount = getattr(read(answer), "value", None)
        return expression(answer, None if amount is None else amount * worth)
    letter = len(gold.form) == 1 and gold.form.isalpha()
    choice = _CHOICE.match(answer)
    if choice and letter:
        answer = choice[1] or choice[2] or choice[3]
    elif choice:
        answer = "\\text{" * bool(choice[2]) + answer[choice.end() :]
    elif letter and gold.form.isupper() and len(answer) == 1:
        answer = answer.upper()
    for pattern, plain, applies in (
        (_LETTERED, "", isinstance(gold, Ordered)),
        (_MODULUS, "", "mod" not in gold.form),
        (_AND_A_FRACTION, r"\1 \2", not isinstance(gold, Unordered)),
    ):
        answer = pattern.sub(plain, answer) if applies else answer
    shape = read(answer)
    if _PERCENT.search(answer) and _is_share(gold) and isinstance(shape, Expression):
        return None if shape.value is None else expression("", shape.value / 100)
    stated = (isinstance(gold, Named) and gold.latex is not None) or (
        isinstance(gold, Expression) and gold.equation
    )
    return shape if stated else solved(answer) or shape


def unit_of(gold: str) -> str:
    """The unit of a gold answer if it makes a difference: degree, cent or dollar."""
    names = {"degree": r"\\circ|\xb0|degree", "cent": r"\bcents?\b", "dollar": r"\\\$|dollar"}
    return next((unit for unit, pattern in names.items() if re.search(pattern, gold)), "")


def _is_share(gold: Shape) -> bool:
    """Whether a gold answer is a share of one, so that a percent sign divides by a hundred."""
    return isinstance(gold, Expression) and gold.value is not None and 0 < abs(gold.value) < 1


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
    parts = _split(sequence, {",", "\\lor", "\\land"})
    if len(parts) > 1 and all(parts) and depth <= _DEEPEST:
        outer, elements = {*_outer(sequence)}, _elements(parts, depth)
        solutions = _solutions(parts, elements, outer)
        return solutions or unordered(elements, distinct="\\lor" in outer)
    signs = _signs(sequence)
    if len(signs) > 1:
        both = [_single(sign, depth) for sign in signs]
        return ("\\ne" in sequence and _solutions(signs, both, set())) or unordered(
            both, distinct=True
        )
    return _single(sequence, depth)


def _elements(parts: Sequence[Sequence[str]], depth: int) -> list[Shape]:
    """The elements of a list, plus-minus counting as two."""
    return [_single(sign, depth + 1) for part in parts for sign in _signs(part)]


def _solutions(
    parts: Sequence[Sequence[str]], elements: Sequence[Shape], signs: set[str]
) -> Shape | None:
    """The set that a list of inequalities or intervals states; None if it states none.

    What a letter must fulfill together, such as x > 1, x < 3, bounds one interval. With "or"
    between them, or where they have nothing in common and no "and" between them, they are united.
    """
    if "\\ne" in parts[0] and isinstance(elements[0], Named):
        # x \ne 0, 1 leaves out both.
        name = elements[0].name
        elements = [
            element if isinstance(element, Named) else named(name, _left_out(element) or element)
            for element in elements
        ]
    elif all(isinstance(element, Ordered) for element in elements):
        unbounded = any("\\infty" in part for part in parts)
        return _united(elements) if unbounded else None
    elif not all({*part} & {*_ORDER, "\\ne"} for part in parts):
        return None
    rays = [element for element in elements if isinstance(element, Named)]
    if len({ray.name for ray in rays}) != 1 or len(rays) < len(elements):
        return None
    values = [ray.value for ray in rays]
    common = None if "\\lor" in signs else _common(values)
    if common is None and "\\land" in signs and all(map(_spans, values)):
        return _leaf(["\\emptyset"])
    return named(rays[0].name, common or _united(values))


#: Where an interval ends: at a number, or with 1 or -1 just above or below it.
_End = tuple[Fraction | float, int]
_Span = tuple[_End, _End]


def _spans(shape: Shape) -> list[_Span] | None:
    """The intervals and points that a set of numbers is made of; None if an end is not known."""
    if isinstance(shape, Unordered):
        inner = [_spans(part) for part in shape.parts]
        known = [span for spans in inner if spans is not None for span in spans]
        return None if None in inner else known
    if isinstance(shape, Ordered) and len(shape.parts) == 2 and set(shape.brackets) <= set("[]()"):
        low, high = (_bound(part) for part in shape.parts)
        if low is None or high is None or low >= high:
            return None
        return [((low, int(shape.brackets[0] == "(")), (high, -int(shape.brackets[1] == ")")))]
    point = _bound(shape)
    return None if point is None else [((point, 0), (point, 0))]


def _bound(shape: Shape) -> Fraction | float | None:
    infinite = {"\\infty": inf, "-\\infty": -inf}.get(shape.form)
    return shape.value if infinite is None and isinstance(shape, Expression) else infinite


def _set(spans: Sequence[_Span]) -> Shape:
    """The set of what is in any of some intervals, in as few as possible."""
    merged: list[_Span] = []
    for low, high in sorted(spans):
        last = merged[-1][1] if merged else (-inf, 0)
        if merged and (low[0] < last[0] or (low[0] == last[0] and low[1] - last[1] <= 1)):
            merged[-1] = (merged[-1][0], max(last, high))
        else:
            merged.append((low, high))
    parts: list[Shape] = []
    for low, high in merged:
        ends = _number(low[0]), _number(high[0])
        brackets = ("(" if low[1] else "[") + (")" if high[1] else "]")
        parts.append(ends[0] if low == high else ordered(brackets, ends))
    points = all(low == high for low, high in merged)
    return unordered(parts, union=not points) if parts else _leaf(["\\emptyset"])


def _number(value: Fraction | float) -> Shape:
    if isinstance(value, float):
        return _leaf(["\\infty"] if value > 0 else ["-", "\\infty"])
    return expression("", value)


def _united(sets: Sequence[Shape]) -> Shape:
    spans = _spans(Unordered("", True, tuple(sets)))
    return unordered(sets, union=True) if spans is None else _set(spans)


def _common(sets: Sequence[Shape]) -> Shape | None:
    """What some sets have in common; None if that is nothing or not known."""
    common: list[_Span] = [((-inf, 1), (inf, -1))]
    for shape in sets:
        spans = _spans(shape)
        if spans is None:
            return None
        pairs = [(max(a[0], b[0]), min(a[1], b[1])) for a in common for b in spans[:_LARGEST_SET]]
        common = [(low, high) for low, high in pairs if low <= high][:_LARGEST_SET]
    return _set(common) if common else None


def _left_out(shape: Shape) -> Shape | None:
    """All real numbers but some; None if they are not known."""
    spans = _spans(shape)
    if spans is None:
        return None
    edges = [(-inf, 0), *(edge for low, high in sorted(spans) for edge in (low, high)), (inf, 0)]
    gaps = [
        ((high[0], high[1] + 1), (low[0], low[1] - 1))
        for high, low in zip(edges[::2], edges[1::2], strict=True)
    ]
    return _set([(low, high) for low, high in gaps if low <= high])


def _by_sets(sequence: Sequence[str], depth: int) -> Shape | None:
    """A set less another one, or what several have in common; None for anything else."""
    for sign in ("\\setminus", "\\cap"):
        parts = _split(sequence, {sign})
        if len(parts) > 1 and all(parts):
            first, *rest = (_read(part, depth + 1) for part in parts)
            if sign == "\\setminus":
                rest = [gaps for gaps in map(_left_out, rest) if gaps is not None]
            whole = len(rest) == len(parts) - 1
            return _common([first, *rest]) if whole else None
    return None


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
    # |A \cup B| = 5 is about a number of elements.
    united = [] if {"|", "="} <= set(sequence) else _split(sequence, {"\\cup"})
    if len(united) > 1 and all(united):
        sets = [_read(part, depth + 1) for part in united]
        names = {member.name if isinstance(member, Named) else "" for member in sets}
        if len(names) == 1 and "" not in names:
            values = [member.value for member in sets if isinstance(member, Named)]
            return named(names.pop(), _united(values))
        if all(part[0] == "\\{" for part in united):
            inner = [
                member.parts if isinstance(member, Unordered) else (member,) for member in sets
            ]
            return unordered(sum(inner, ()), distinct=True)
        return _united(sets)
    return (
        _related(sequence, depth)
        or _by_sets(sequence, depth)
        or _bracketed(sequence, depth)
        or _scaled(sequence, depth)
        or _leaf(sequence)
    )


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
        return _one_sided(sides, signs, depth) or _opaque(sequence)
    if sides[0][0].startswith("\\begin") and len(sides) == 2 and not sides[1][0].startswith("\\"):
        # A matrix and a shorter way to write it.
        return _read(sides[0], depth + 1)
    name = _name(sides[0])
    if signs == ["\\ne"] and name:
        gaps = _left_out(_read(sides[1], depth + 1))
        return _equation(sequence) if gaps is None else named(name, gaps)
    if signs == ["\\in"] and name:
        return named(name, _read(sides[1], depth + 1))
    if set(signs) == {"="}:
        if name:
            return named(name, _read(sides[-1], depth + 1), _equation(sequence).latex)
        turned = _name(sides[1])
        if turned and len(sides) == 2:
            return named(turned, _read(sides[0], depth + 1), _equation(sequence).latex)
        if not _has_letters(sides[0]) and not _has_letters(sides[-1]):
            return _read(sides[-1], depth + 1)
    return _interval(sides, signs) or _equation(sequence)


def _one_sided(sides: Sequence[Sequence[str]], signs: Sequence[str], depth: int) -> Shape | None:
    """What a sign without a left side states: a value, as in "= 5", or an interval, as in "> 5"."""
    if len(sides) != 2 or not sides[1]:
        return None
    if signs[0] in ("=", "\\approx"):
        return _read(sides[1], depth + 1)
    ray = _interval([["x"], sides[1]], signs)
    return ray.value if isinstance(ray, Named) else None


def _has_letters(sequence: Sequence[str]) -> bool:
    return any(
        re.search("[a-zA-Z]", token) and token not in ("\\frac", "\\sqrt", "\\cdot", "\\binom")
        for token in sequence
    )


def _outer(sequence: Sequence[str]) -> list[str]:
    """The tokens outside of all brackets."""
    depth, outer = 0, []
    for token in sequence:
        depth += _step(token)
        if depth == 0:
            outer.append(token)
    return outer


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
    if opening == "\\{" and inner in ([], ["\\emptyset"]):
        return _opaque(sequence) if inner else _leaf(["\\emptyset"])
    if not all(parts):
        return None
    if inner[0].startswith("\\begin") and opening in "([" and len(parts) == 1:
        # The brackets of an array or a plain matrix.
        return _read(inner, depth + 1)
    if opening == "\\{" and closing == "\\}":
        described = _split(inner, {"|", ":"})
        if len(described) == 2 and described[0][1:] == ["\\in", "\\mathbb{R}"]:
            described[0] = described[0][:1]
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


def _scaled(sequence: Sequence[str], depth: int) -> Shape | None:
    r"""A matrix with a factor in front or transposed; None for anything else."""
    start = next((at for at, token in enumerate(sequence) if token.startswith("\\begin")), None)
    if start is None or not _MATRIX.fullmatch(sequence[start].split("}")[0] + "}"):
        return None
    factor, rest = list(sequence[:start]), sequence[start:]
    turned = _TRANSPOSED.search("".join(rest))
    if turned:
        rest = rest[: len(rest) - next(n for n in range(1, 6) if "".join(rest[-n:]) == turned[0])]
    if factor[-1:] in (["("], ["["]) and rest[-1] in (")", "]"):
        factor, rest = factor[:-1], rest[:-1]
    if factor[-1:] == ["\\cdot"]:
        factor = factor[:-1]
    if "".join(rest[-2:-1]) == "/" and rest[-1].isdigit():
        factor, rest = ["\\frac", "{", "1", "}", "{", rest[-1], "}", *factor], rest[:-2]
    body = _matrix(rest, depth) if sum(map(_step, factor)) == 0 else None
    if not isinstance(body, Matrix) or any(
        token.startswith(("\\begin", "\\end")) for token in rest[1:-1]
    ):
        return None
    lines = [_split(line, {"&"}) for line in _split(rest[1:-1], {"\\\\"}) if line]
    if turned:
        if len({len(line) for line in lines}) > 1:
            return None
        lines = [list(column) for column in zip(*lines, strict=True)]
    times = [[[*factor, "(", *cell, ")"] if factor else cell for cell in line] for line in lines]
    return matrix(tuple(tuple(_cell(cell, depth) for cell in line) for line in times))


#: At the end of a transposed matrix.
_TRANSPOSED = re.compile(
    r"\^(?:T|\\top|\\intercal|\{(?:T|\\top|\\text\{T\}|\\intercal)\}|\\text\{T\})$"
)


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
    if plain != text or _is_word(plain):
        return _words(plain)
    if sequence[-1].startswith("\\text{is ") and _name(sequence[:-1]):
        return _words(sequence[-1][6:-1])
    items = _tree(sequence)
    latex = None if _by_form_only(sequence, items) else for_parser(items)
    return expression(written(items), value_of(items), latex)


_SUBJECT = re.compile(r".*\b(?:is|are|was|be)\b(?! no\b)")
_ARTICLES = re.compile(r"^(?:\s*(?:the|an?|on|in|at|due)\b)+(?=.*\w)")
_KIND_OF = re.compile(r"(?<=\w\w) (?:function|graph|one)$")
_NONE = re.compile(
    r"(?:there (?:is|are|exists?) |(?:.* )?(?:has|have) )?(?:no|0|zero)"
    r" (?:(?:real|complex|integer|such|valid|possible|finite) )*"
    r"(?:solutions?|roots?|values?|answers?|numbers?|integers?|x)(?: exists?)?"
    r"|(?:.* )?(?:does|do) ?(?:not|n't) exist|dne|none|(?:the )?empty set|no such .*"
    r"|(?:there (?:is|are) )?none"
)


#: All real numbers, in words.
_ALL = re.compile(
    r"(?:x (?:is|can be) )?(?:the )?(?:set of )?(?:all|any|every) (?:the )?reals?"
    r"(?: numbers?| values?)?(?: (?:of |for )?x)?|(?:the )?(?:set of )?reals?(?: numbers?)|all x"
)


def _words(text: str) -> Shape:
    """What an answer in words says, without articles and the subject of its sentence."""
    text = " ".join(text.lower().split()).strip("(). !\"'")
    if _NONE.fullmatch(text):
        return _leaf(["\\emptyset"])
    if _ALL.fullmatch(text):
        return _leaf(["\\mathbb{R}"])
    predicate = _SUBJECT.sub("", text) or text
    predicate = _KIND_OF.sub("", _ARTICLES.sub("", predicate).strip())
    return expression(f'"{"".join(predicate.split())}"')


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
