"""Decide whether two answers are equal: by form, by exact value, part by part, or by math-verify.

For: `Comparer.compare`, which is symmetric and remembers what it decided.
Not for: reading answers (`read`) and running math-verify (`sympy_pool`, `sympy_process`).
"""

import threading
from collections.abc import Callable, Sequence
from enum import Enum
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


class Comparer:
    """Compares answers and remembers the verdicts."""

    def __init__(self, ask: Ask) -> None:
        """Compare with `ask` for what neither form nor value decides."""
        self._ask = ask
        self._known: dict[tuple[str, str], Equality] = {}
        self._lock = threading.Lock()

    def compare(self, one: Shape, other: Shape) -> Equality:
        """Whether two answers are equal; the order of the two makes no difference.

        A comparison stops at the first pair of parts that comes out undecided.
        """
        if one.form == other.form:
            return Equality.EQUAL
        first, second = sorted((one, other), key=lambda shape: shape.form)
        key = (first.form, second.form)
        with self._lock:
            known = self._known.get(key)
        if known is None:
            known = self._decide(first, second)
            with self._lock:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[key] = known
        return known

    def _decide(self, one: Shape, other: Shape) -> Equality:
        if isinstance(one, Named) or isinstance(other, Named):
            return self._named(one, other)
        if isinstance(one, Ordered) and isinstance(other, Ordered):
            alike = one.brackets == other.brackets
            return self._in_order(one.parts, other.parts) if alike else Equality.DIFFERENT
        if isinstance(one, Unordered) and isinstance(other, Unordered):
            alike = one.union == other.union
            return self._in_any_order(one.parts, other.parts) if alike else Equality.DIFFERENT
        if isinstance(one, Matrix) and isinstance(other, Matrix):
            if [len(cells) for cells in one.rows] != [len(cells) for cells in other.rows]:
                return Equality.DIFFERENT
            return self._in_order(sum(one.rows, ()), sum(other.rows, ()))
        if isinstance(one, Expression) and isinstance(other, Expression):
            return self._expressions(one, other)
        return Equality.DIFFERENT

    def _named(self, one: Shape, other: Shape) -> Equality:
        """A name counts only against another name: `x = 5` is 5, but `y = 5` is another line."""
        if isinstance(one, Named) and isinstance(other, Named):
            if one.name == other.name:
                return self.compare(one.value, other.value)
            return self._asked(one.latex, other.latex)
        holder, bare = (one, other) if isinstance(one, Named) else (other, one)
        if isinstance(holder, Named) and isinstance(bare, Expression) and bare.equation:
            return self._asked(holder.latex, bare.latex)
        return self.compare(holder.value, bare) if isinstance(holder, Named) else Equality.DIFFERENT

    def _in_order(self, ones: Sequence[Shape], others: Sequence[Shape]) -> Equality:
        if len(ones) != len(others):
            return Equality.DIFFERENT
        for one, other in zip(ones, others, strict=True):
            verdict = self.compare(one, other)
            if verdict is not Equality.EQUAL:
                return verdict
        return Equality.EQUAL

    def _in_any_order(self, ones: Sequence[Shape], others: Sequence[Shape]) -> Equality:
        if len(ones) != len(others) or len(ones) > _LARGEST_GROUP:
            return Equality.DIFFERENT
        left = list(others)
        for one in ones:
            # The same form first: it costs nothing.
            for other in sorted(left, key=lambda shape: shape.form != one.form):
                verdict = self.compare(one, other)
                if verdict is Equality.UNDECIDED:
                    return verdict
                if verdict is Equality.EQUAL:
                    left.remove(other)
                    break
            else:
                return Equality.DIFFERENT
        return Equality.EQUAL

    def _expressions(self, one: Expression, other: Expression) -> Equality:
        # Two values that are both known are different, since equal ones have the same form.
        known = one.value is not None and other.value is not None
        if known or one.equation != other.equation:
            return Equality.DIFFERENT
        return self._asked(one.latex, other.latex)

    def _asked(self, one: str | None, other: str | None) -> Equality:
        if one is None or other is None:
            return Equality.DIFFERENT
        equal = self._ask(*sorted((one, other)))
        if equal is None:
            return Equality.UNDECIDED
        return Equality.EQUAL if equal else Equality.DIFFERENT


@cache
def default_comparer() -> Comparer:
    """The comparer of this process, whose workers start at the first question they are asked."""
    return Comparer(Workers().ask)


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
            f"it; install it with: pip install 'math-verify[antlr4_11_0]'"
        ) from None
