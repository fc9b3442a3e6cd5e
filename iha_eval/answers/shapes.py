"""The shapes an answer can have once it is read: numbers, tuples, sets, intervals, matrices, words.

For: a small vocabulary that says what must be equal for two answers to be equal.
Not for: reading text (`read`), nor deciding about two expressions (`equivalence`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction


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
class Row(Shape):
    """Parts in a fixed order between two brackets: a tuple, a vector, an interval.

    Attributes:
        brackets: The opening and the closing one.
        parts: What stands between them.
    """

    brackets: str = field(compare=False)
    parts: tuple[Shape, ...] = field(compare=False)


@dataclass(frozen=True)
class Group(Shape):
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


def row(brackets: str, parts: tuple[Shape, ...]) -> Row:
    """Parts in order between `brackets`."""
    inner = ",".join(part.form for part in parts)
    return Row(f"{brackets[0]}{inner}{brackets[1]}", brackets, parts)


def group(parts: Sequence[Shape], union: bool = False, distinct: bool = False) -> Shape:
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
    return Group("{" + sign.join(part.form for part in chosen) + "}", union, tuple(chosen))


def matrix(rows: tuple[tuple[Shape, ...], ...]) -> Matrix:
    """A matrix from its rows."""
    inner = ";".join(",".join(cell.form for cell in cells) for cells in rows)
    return Matrix(f"matrix[{inner}]", rows)


def named(name: str, value: Shape, latex: str | None = None) -> Named:
    """A value with a name."""
    # A character that no read answer has, so that the ratio x:5 is not x = 5.
    return Named(f"{name}\x1f{value.form}", name, value, latex)
