"""The process that asks math-verify, so that the process that runs the evaluation need not.

For: `python -m iha_eval.answers.sympy_process LIMIT BYTES`, which `sympy_pool.py` starts and may
kill any time. Questions come as JSON lines on its standard input: two LaTeX texts, or one. For each
it writes one line for every text that it has read, then the verdict, or what the one comes to.
Not for: anything else; nothing here is meant to be imported by the evaluation.

A comparison that takes more than LIMIT seconds of processor time ends the process: the kernel sends
it SIGPROF, which no amount of work inside a C function holds up. Processor time rather than time on
the wall, so that a busy machine does not change a verdict.
"""

import cmath
import json
import logging
import os
import resource
import signal
import sys
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TextIO

#: Digits to which two values must differ to be called different without algebra.
_DIGITS = 30
_NEAR = 10**-20

#: Digits to which two numbers are worked out before they are called equal.
_MOST_DIGITS = 1000

#: The points that expressions are worked out at.
_POINTS = ("", "negative", "third")

#: Asked once before the first question, so that none pays for imports and parser tables.
_PRACTICE = (
    (r"\frac{\sqrt{2}}{2} + x ^{2} - \pi", r"\sqrt[3]{5} \cdot I"),
    (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}"),
    (r"2 x + 2", r"2 ( x + 1 )"),
    (r"y = 2 x", r"2 y = 4 x"),
    (r"\sin x \cos x", r"\frac{\sin ( 2 x )}{2}"),
)


@lru_cache(maxsize=1024)
def parsed(latex: str) -> Any:
    """The expression a text states; None if it cannot be had."""
    from latex2sympy2_extended import latex2sympy

    try:
        return latex2sympy(latex, is_real=True, convert_degrees=False, normalization_config=None)
    # The parser raises whatever its grammar trips over.
    except Exception as error:
        _pass_on_shortage(error)
        return None


@lru_cache(maxsize=4096)
def value(latex: str, point: str) -> Any:
    """The value of a text's expression at a point, to 30 digits; None if it has none there.

    Every variable is given a value that depends on its name and the point alone, so that two
    expressions that differ there are different and need no algebra.
    """
    from sympy import N

    expression = parsed(latex)
    try:
        number = N(_at(expression, point), _DIGITS)
        if number.is_number and number.is_finite:
            return _without_noise(number)
        if point == _POINTS[0]:
            # What cannot be worked out at all should use up the limit here, where it is blamed on
            # one text.
            expression.doit()
    except Exception as error:
        _pass_on_shortage(error)
        return None
    return None


def _pass_on_shortage(error: BaseException | None) -> None:
    """End on what the machine lacks, which says nothing about a text.

    Without memory a late import or a C function may raise something else than MemoryError, or
    something else while that one is handled.

    Raises:
        MemoryError: The machine is the reason.
    """
    while error is not None:
        if isinstance(error, MemoryError | OSError | ImportError | SystemError):
            raise MemoryError(str(error)) from error
        error = error.__cause__ or error.__context__


def _at(expression: Any, point: str) -> Any:
    """An expression with numbers for its variables."""
    return expression.subs(
        {symbol: _coordinate(symbol.name, point) for symbol in expression.free_symbols}
    )


def _coordinate(name: str, point: str) -> Any:
    """An odd number from 1 to 3, or its negative, the same for a name in every process."""
    from sympy import Rational

    size = 1 + Rational(zlib.crc32((point + name).encode()), 2**31)
    return -size if point == "negative" else size


def equal(left: str, right: str) -> bool:
    """Whether two LaTeX texts state equal expressions."""
    from math_verify import verify
    from sympy import Eq

    first, second = parsed(left), parsed(right)
    if first is None or second is None:
        return False
    if isinstance(first, Eq) and isinstance(second, Eq):
        return _same_equation(first, second)
    decided = _by_values(left, right)
    if decided is not None:
        return decided
    return bool(
        verify(first, second, float_rounding=15, numeric_precision=50, timeout_seconds=None)
    )


def _by_values(left: str, right: str) -> bool | None:
    """What values at a few points say about two expressions; None if too few can be had.

    Where one of them is real and the other is not, as x ^ (2 y) may be for a negative x, they are
    not compared: the question decides which numbers its letters stand for.
    """
    near = 0
    for point in _POINTS:
        here, there = value(left, point), value(right, point)
        if here is None or there is None or _is_real(here) != _is_real(there):
            continue
        if abs(here - there) > _NEAR * max(abs(here), abs(there)):
            return False
        near += 1
    if not near:
        return None
    first, second = parsed(left), parsed(right)
    if not first.free_symbols and not second.free_symbols:
        return _vanishes(first - second, _MOST_DIGITS)
    if near == 1:
        return None
    return _vanishes(_at(first, _POINTS[0]) - _at(second, _POINTS[0]), 4 * _DIGITS)


def _is_real(number: Any) -> bool:
    return not number.as_real_imag()[1]


def _vanishes(constant: Any, digits: int) -> bool:
    """Whether a number is zero, by its exact value or to so many digits."""
    if constant.is_Rational:
        return bool(constant == 0)
    return bool(_without_noise(constant.evalf(5, maxn=digits)) == 0)


def _without_noise(number: Any) -> Any:
    """A number with zero for a part of which sympy could not find out one digit."""
    from sympy import I

    real, imaginary = (
        0 if getattr(part, "_prec", 2) == 1 else part for part in number.as_real_imag()
    )
    return real + I * imaginary


def _same_equation(left: Any, right: Any) -> bool:
    """Whether one equation is a multiple of the other, or has the same solutions.

    math-verify takes two equations without solutions for equal, so it is asked only about others.
    """
    from math_verify import verify
    from sympy import simplify, solve

    if left.free_symbols != right.free_symbols:
        return False
    # One equation is not worked out further if it is no multiple of the other at three points.
    if len(left.free_symbols) > 1 and _ratio_differs(left.lhs - left.rhs, right.lhs - right.rhs):
        return False
    ratio = simplify((left.lhs - left.rhs) / (right.lhs - right.rhs))
    if ratio.is_number and ratio.is_finite and not ratio.is_zero:
        return True
    return bool(solve(left)) and bool(verify(left, right, timeout_seconds=None))


def _ratio_differs(left: Any, right: Any) -> bool:
    """Whether the ratio of two expressions in the same variables is known to change with these.

    Denominators do not count, so that x y = 1 is y = 1/x.
    """
    from sympy import N, fraction, together

    left, right = fraction(together(left))[0], fraction(together(right))[0]
    ratios = []
    for point in _POINTS:
        ratio = N(_at(left, point) / _at(right, point), _DIGITS)
        if not (ratio.is_number and ratio.is_finite):
            return False
        ratios.append(ratio)
    return any(abs(ratio - ratios[0]) > _NEAR * (1 + abs(ratios[0])) for ratio in ratios)


def answer(question: Sequence[str], write: TextIO, limit: float) -> None:
    """Answer one question, and die if that takes more than `limit` seconds of processor time."""
    signal.setitimer(signal.ITIMER_PROF, limit)
    for latex in question:
        if parsed(latex) is not None:
            value(latex, _POINTS[0])
        write.write('"read"\n')
        write.flush()
    result: dict[str, Any] = (
        {"equal": equal(*question)} if len(question) == 2 else {"value": _as_floats(question[0])}
    )
    signal.setitimer(signal.ITIMER_PROF, 0)
    write.write(json.dumps(result) + "\n")
    write.flush()


def _as_floats(latex: str) -> tuple[float, float] | None:
    """Real and imaginary part of a text's value; None without one that floats can hold."""
    number = None if parsed(latex) is None else value(latex, _POINTS[0])
    if number is None:
        return None
    try:
        result = complex(number)
    except (TypeError, OverflowError):
        return None
    fits = cmath.isfinite(result) and (abs(result) > 1e-300 or number == 0)
    return (result.real, result.imag) if fits else None


def main(limit: float, memory: int) -> None:
    """Practice, say so, then answer questions until there are no more.

    Args:
        limit: Seconds of processor time per question.
        memory: Bytes of address space.
    """
    # Whatever a library prints must not end up among the answers.
    with os.fdopen(os.dup(1), "w", encoding="ascii") as write:
        os.dup2(2, 1)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        logging.disable(logging.CRITICAL)
        try:
            for practice in _PRACTICE:
                equal(*practice)
        except ImportError as error:
            write.write(json.dumps({"failed": str(error)}) + "\n")
            return
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        write.write('"ready"\n')
        write.flush()
        for line in sys.stdin:
            answer(json.loads(line), write, limit)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
