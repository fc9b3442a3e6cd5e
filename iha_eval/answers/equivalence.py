"""Decide whether two answers are equal: by form, by exact value, part by part, or by math-verify.

For: `Comparer.compare`, which is symmetric and remembers what it decided.
Not for: reading answers (`read`) and running math-verify (`sympy_pool`, `sympy_process`).
"""

import threading
from collections.abc import Callable, Sequence
from enum import Enum
from fractions import Fraction
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from iha_eval.answers.read import Expression, Matrix, Named, Ordered, Shape, Unordered
from iha_eval.answers.sympy_pool import Workers
from iha_eval.errors import UserError

#: Decisions remembered at a time; all of GSM8K and MATH-500 with 16 answers fit.
_REMEMBERED = 500_000

#: Larger groups are compared by their forms only; their elements could pair up in too many ways.
_LARGEST_GROUP = 40


class Equality(Enum):
    """What a comparison came to."""

    EQUAL = "equal"
    DIFFERENT = "different"
    UNDECIDED = "undecided"


#: Asks about two LaTeX texts; None means that a limit was hit.
Ask = Callable[[str, str], bool | None]

#: The number that a LaTeX text comes to at a fixed point, to double precision: equal expressions
#: have equal ones. None without one; TimeoutError if a limit was hit.
Value = Callable[[str], complex | None]

#: Numbers that differ by a larger share are different; the rest is asked.
_NEAR = 1e-9


class Comparer:
    """Compares answers and remembers the verdicts."""

    def __init__(self, ask: Ask, value: Value | None = None) -> None:
        """Compare with `ask` for what neither form nor value decides.

        Args:
            ask: Whether two texts are equal.
            value: What a text comes to; without it every pair is asked about.
        """
        self._ask = ask
        self._value = value
        self._numbers: dict[str, complex | None] = {}
        self._known: dict[tuple[str, str], Equality] = {}
        self._lock = threading.Lock()

    def compare(self, left: Shape, right: Shape) -> Equality:
        """Whether two answers are equal; the order of the two makes no difference.

        A comparison stops at the first pair of parts that comes out undecided.
        """
        if left.form == right.form:
            return Equality.EQUAL
        left, right = sorted((left, right), key=lambda shape: shape.form)
        key = (left.form, right.form)
        with self._lock:
            known = self._known.get(key)
        if known is None:
            known = self._decide(left, right)
            with self._lock:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[key] = known
        return known

    def number(self, shape: Shape) -> complex | None:
        """A number that equal shapes have in common to _NEAR; None without one.

        Raises:
            TimeoutError: It hit a limit.
        """
        if isinstance(shape, Named):
            return self.number(shape.value)
        if isinstance(shape, Expression):
            return self._worked_out(shape)
        parts = shape.rows[0] if isinstance(shape, Matrix) else getattr(shape, "parts", ())
        numbers = [self.number(part) for part in parts]
        known = [number for number in numbers if number is not None]
        # Of a set the sum, which does not depend on the order; of a tuple what starts it.
        return sum(known) if isinstance(shape, Unordered) else known[0] if known else None

    def _worked_out(self, shape: Expression) -> complex | None:
        if shape.value is not None:
            return _as_float(shape.value)
        if shape.latex is None or shape.equation or self._value is None:
            return None
        if shape.latex not in self._numbers:
            if len(self._numbers) >= _REMEMBERED:
                self._numbers.clear()
            self._numbers[shape.latex] = self._value(shape.latex)
        return self._numbers[shape.latex]

    def _decide(self, left: Shape, right: Shape) -> Equality:
        if isinstance(left, Named) or isinstance(right, Named):
            return self._named(left, right)
        if isinstance(left, Ordered) and isinstance(right, Ordered):
            alike = left.brackets == right.brackets
            return self._in_order(left.parts, right.parts) if alike else Equality.DIFFERENT
        if isinstance(left, Unordered) and isinstance(right, Unordered):
            alike = left.union == right.union
            return self._in_any_order(left.parts, right.parts) if alike else Equality.DIFFERENT
        if isinstance(left, Ordered) and isinstance(right, Unordered):
            return self._solution(right, left)
        if isinstance(left, Unordered) and isinstance(right, Ordered):
            return self._solution(left, right)
        if isinstance(left, Matrix) and isinstance(right, Matrix):
            if [len(cells) for cells in left.rows] != [len(cells) for cells in right.rows]:
                return Equality.DIFFERENT
            return self._in_order(sum(left.rows, ()), sum(right.rows, ()))
        if isinstance(left, Expression) and isinstance(right, Expression):
            return self._expressions(left, right)
        return Equality.DIFFERENT

    def _named(self, left: Shape, right: Shape) -> Equality:
        """A name counts only against another name: `x = 5` is 5, but `y = 5` is another line."""
        if isinstance(left, Named) and isinstance(right, Named):
            if left.name == right.name or _is_graph(left.name, right.name):
                return self.compare(left.value, right.value)
            return self._asked(left.latex, right.latex)
        holder, bare = (left, right) if isinstance(left, Named) else (right, left)
        if isinstance(holder, Named) and isinstance(bare, Expression) and bare.equation:
            return self._asked(holder.latex, bare.latex)
        return self.compare(holder.value, bare) if isinstance(holder, Named) else Equality.DIFFERENT

    def _solution(self, named: Unordered, row: Ordered) -> Equality:
        """Values for different letters, x = 1, y = 2, against the tuple (1, 2)."""
        values = {part.name: part.value for part in named.parts if isinstance(part, Named)}
        if row.brackets != "()" or len(values) != len(named.parts):
            return Equality.DIFFERENT
        return self._in_order([values[name] for name in sorted(values)], row.parts)

    def _in_order(self, left_parts: Sequence[Shape], right_parts: Sequence[Shape]) -> Equality:
        if len(left_parts) != len(right_parts):
            return Equality.DIFFERENT
        for left, right in zip(left_parts, right_parts, strict=True):
            verdict = self.compare(left, right)
            if verdict is not Equality.EQUAL:
                return verdict
        return Equality.EQUAL

    def _in_any_order(self, left_parts: Sequence[Shape], right_parts: Sequence[Shape]) -> Equality:
        if len(left_parts) != len(right_parts) or len(left_parts) > _LARGEST_GROUP:
            return Equality.DIFFERENT
        unmatched = list(right_parts)
        for left in left_parts:
            # The same form first: it costs nothing.
            for right in sorted(unmatched, key=lambda shape: shape.form != left.form):
                verdict = self.compare(left, right)
                if verdict is Equality.UNDECIDED:
                    return verdict
                if verdict is Equality.EQUAL:
                    unmatched.remove(right)
                    break
            else:
                return Equality.DIFFERENT
        return Equality.EQUAL

    def _expressions(self, left: Expression, right: Expression) -> Equality:
        # Two values that are both known are different, since equal ones have the same form.
        known = left.value is not None and right.value is not None
        if known or left.equation != right.equation:
            return Equality.DIFFERENT
        if left.latex is not None and right.latex is not None and not left.equation:
            try:
                numbers = self.number(left), self.number(right)
            except TimeoutError:
                return Equality.UNDECIDED
            if far_apart(*numbers):
                return Equality.DIFFERENT
        return self._asked(left.latex, right.latex)

    def _asked(self, left: str | None, right: str | None) -> Equality:
        if left is None or right is None:
            return Equality.DIFFERENT
        equal = self._ask(*sorted((left, right)))
        if equal is None:
            return Equality.UNDECIDED
        return Equality.EQUAL if equal else Equality.DIFFERENT


def far_apart(left: complex | None, right: complex | None) -> bool:
    """Whether two numbers are known and differ."""
    if left is None or right is None:
        return False
    return abs(left - right) > _NEAR * max(abs(left), abs(right))


def _as_float(value: Fraction) -> complex | None:
    """A fraction to double precision; None if it is too large or too close to zero for that."""
    try:
        number = complex(value)
    except OverflowError:
        return None
    return number if number or not value else None


def _is_graph(left: str, right: str) -> bool:
    """Whether one name is y and the other a function of x."""
    return "y" in (left, right) and any(name.endswith("(x)") for name in (left, right))


@cache
def default_comparer() -> Comparer:
    """The comparer of this process, whose workers start at the first question they are asked."""
    workers = Workers()
    return Comparer(workers.ask, workers.value)


def grader_version() -> str:
    """What decides about answers besides our own code, such as `math-verify 0.9.0, sympy 1.14.0`.

    Raises:
        UserError: If a package is missing.
    """
    names = ("math-verify", "latex2sympy2_extended", "sympy")
    try:
        return ", ".join(f"{name} {version(name)}" for name in names)
    except PackageNotFoundError as error:
        raise UserError(
            f"The package {error.name} is not installed, and answers cannot be compared without "
            f"it; install it with: pip install math-verify 'antlr4-python3-runtime==4.11.*'"
        ) from None
