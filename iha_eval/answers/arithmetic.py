r"""The exact value of plain arithmetic on numbers, as a fraction.

For: deciding about numbers without any computer algebra: `1/2`, `\frac12` and `0.5` are the same,
and 0.333333 is not 1/3.
Not for: anything with letters or irrational roots; those have no value here.
"""

from collections.abc import Callable
from fractions import Fraction
from math import comb, gcd, isqrt, lcm

from iha_eval.answers.latex import Command, Tree, is_digits

#: Numbers with more bits are not worked out; `10^{10^{10}}` would fill the memory.
MOST_BITS = 8192
_HIGHEST_FACTORIAL = 200


class _NoValueError(Exception):
    """There is no exact value within the limits."""


def value_of(items: Tree) -> Fraction | None:
    """The value of an arithmetic expression, or None if it is not one or is too large.

    Plus, minus, times, division, whole powers, factorials, square roots of squares, percent-free
    decimals with a repeating part are known. A product without a sign after a slash, such as
    1/2(3), is read in two ways by different people and has no value here.
    """
    try:
        return _Calculator(items).everything()
    except (_NoValueError, ZeroDivisionError, RecursionError):
        return None


def _kept(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MOST_BITS:
        raise _NoValueError
    return value


class _Calculator:
    """Reads one tree from left to right by the usual precedence."""

    def __init__(self, items: Tree) -> None:
        self._items = items
        self._at = 0

    def everything(self) -> Fraction:
        value = self._sum()
        if self._at != len(self._items):
            raise _NoValueError
        return value

    def _peek(self) -> "str | Command | None":
        return self._items[self._at] if self._at < len(self._items) else None

    def _take(self, *wanted: str) -> str | None:
        item = self._peek()
        if isinstance(item, str) and item in wanted:
            self._at += 1
            return item
        return None

    def _sum(self) -> Fraction:
        value = self._product()
        while sign := self._take("+", "-"):
            term = self._product()
            value = _kept(value + term if sign == "+" else value - term)
        return value

    def _product(self) -> Fraction:
        sign = 1
        while taken := self._take("+", "-"):
            sign = -sign if taken == "-" else sign
        value = self._power()
        divided = False
        while True:
            if self._take("\\cdot"):
                value = _kept(value * self._signed())
            elif self._take("\\bmod"):
                value %= self._signed()
            elif self._take("/"):
                value, divided = _kept(value / self._signed()), True
            elif self._follows():
                if divided:
                    raise _NoValueError
                value = _kept(value * self._power())
            else:
                return sign * value

    def _signed(self) -> Fraction:
        return -self._power() if self._take("-") else self._power()

    def _follows(self) -> bool:
        """Whether a factor follows without a sign: a bracket, a root, a fraction."""
        item = self._peek()
        return item == "(" or (isinstance(item, Command) and item.name in ("frac", "sqrt", "{"))

    def _power(self) -> Fraction:
        value = self._atom()
        while True:
            item = self._peek()
            if item == "!":
                self._at += 1
                value = _factorial(value)
            elif isinstance(item, Command) and item.name == "^":
                self._at += 1
                value = _raised(value, _Calculator(item.arguments[0]).everything())
            else:
                return value

    def _atom(self) -> Fraction:
        item = self._peek()
        self._at += 1
        if isinstance(item, Command):
            return self._call(item)
        if item is None:
            raise _NoValueError
        if item == "(":
            value = self._sum()
            if not self._take(")"):
                raise _NoValueError
            return value
        if item in _OF_SEVERAL:
            return self._of_several(item)
        if not (item[0].isdigit() and item.isascii()):
            raise _NoValueError
        following = self._peek()
        if isinstance(following, Command) and following.name == "overline":
            self._at += 1
            return _repeating(item, following.arguments[0])
        return _kept(Fraction(item))

    def _of_several(self, function: str) -> Fraction:
        """The value of a function of a list in brackets."""
        if not self._take("("):
            raise _NoValueError
        values = [self._sum()]
        while self._take(","):
            values.append(self._sum())
        if not self._take(")"):
            raise _NoValueError
        return _OF_SEVERAL[function](values)

    def _call(self, item: Command) -> Fraction:
        inner = [_Calculator(argument).everything() for argument in item.arguments]
        if item.name == "frac":
            return _kept(inner[0] / inner[1])
        if item.name == "binom":
            return _chosen(*inner)
        if item.name == "sqrt" and len(inner) == 1:
            return _root(inner[0])
        if item.name == "{":
            return inner[0]
        raise _NoValueError


def _divisor(values: list[Fraction]) -> Fraction:
    return Fraction(gcd(*map(_integer, values)))


def _multiple(values: list[Fraction]) -> Fraction:
    return _kept(Fraction(lcm(*map(_integer, values))))


def _integer(value: Fraction) -> int:
    if value.denominator != 1:
        raise _NoValueError
    return int(value)


#: Functions of a list of values.
_OF_SEVERAL: dict[str, Callable[[list[Fraction]], Fraction]] = {
    "\\gcd": _divisor,
    "\\lcm": _multiple,
    "\\max": max,
    "\\min": min,
}


def _raised(base: Fraction, power: Fraction) -> Fraction:
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if power.denominator != 1 or bits * abs(power) > MOST_BITS:
        raise _NoValueError
    raised: Fraction = base ** int(power)
    return raised


def _factorial(value: Fraction) -> Fraction:
    if value.denominator != 1 or not 0 <= value <= _HIGHEST_FACTORIAL:
        raise _NoValueError
    product = 1
    for factor in range(2, int(value) + 1):
        product *= factor
    return Fraction(product)


def _chosen(of: Fraction, some: Fraction) -> Fraction:
    if {of.denominator, some.denominator} != {1} or not 0 <= some <= of <= MOST_BITS:
        raise _NoValueError
    return Fraction(comb(int(of), int(some)))


def _root(value: Fraction) -> Fraction:
    if value < 0:
        raise _NoValueError
    root = Fraction(isqrt(value.numerator), isqrt(value.denominator))
    if root * root != value:
        raise _NoValueError
    return root


def _repeating(start: str, period: Tree) -> Fraction:
    """The value of a decimal such as 0.1 followed by an overlined 6, that is 1/6."""
    digits = period[0] if len(period) == 1 else None
    if not is_digits(digits):
        raise _NoValueError
    whole, _, part = start.partition(".")
    scale: int = 10 ** len(part)
    nines = scale * (10 ** len(digits) - 1)
    return Fraction(int(whole + part), scale) + Fraction(int(digits), nines)
