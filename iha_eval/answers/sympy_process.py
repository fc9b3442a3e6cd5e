"""The process that asks math-verify, so that the process that runs the evaluation need not.

For: `python -m iha_eval.answers.sympy_process LIMIT BYTES`, which `sympy_pool.py` starts and may
kill any time. Questions come as JSON lines on its standard input: two LaTeX texts. For each it
writes one line for every text that it has read, then the verdict.
Not for: anything else; nothing here is meant to be imported by the evaluation.

A comparison that takes more than LIMIT seconds of processor time ends the process: the kernel sends
it SIGPROF, which no amount of work inside a C function holds up. Processor time rather than time on
the wall, so that a busy machine does not change a verdict.
"""

import json
import logging
import os
import resource
import signal
import sys
import zlib
from functools import lru_cache
from typing import Any, TextIO

#: Digits to which two values must differ to be called different without algebra.
_DIGITS = 30
_NEAR = 10**-20

#: Asked once before the first question, so that none pays for imports and parser tables.
_PRACTICE = (
    (r"\frac{\sqrt{2}}{2} + x ^{2} - \pi", r"\sqrt[3]{5} \cdot I"),
    (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}"),
    (r"2 x + 2", r"2 ( x + 1 )"),
    (r"y = 2 x", r"2 y = 4 x"),
    (r"\sin x \cos x", r"\frac{\sin ( 2 x )}{2}"),
)


@lru_cache(maxsize=1024)
def parsed(latex: str) -> tuple[Any, Any]:
    """The expression a text states, and its value at a fixed point to 30 digits.

    Every variable is given a value that depends on its name alone, so that two expressions that
    differ there are different and need no algebra. Either is None if it cannot be had.
    """
    from latex2sympy2_extended import latex2sympy

    try:
        expression = latex2sympy(
            latex, is_real=True, convert_degrees=False, normalization_config=None
        )
    except MemoryError:
        raise
    # The parser raises whatever its grammar trips over.
    except Exception:
        return None, None
    try:
        return expression, _value(expression)
    except MemoryError:
        raise
    except Exception:
        return expression, None


def _value(expression: Any) -> Any:
    from sympy import N

    point = {symbol: _coordinate(symbol.name) for symbol in expression.free_symbols}
    try:
        value = N(expression.subs(point), _DIGITS)
    except OverflowError:
        value = None
    if value is not None and value.is_number and value.is_finite:
        return value
    # What cannot be worked out at all should use up the limit here, where it is blamed on one text.
    expression.doit()
    return None


def _coordinate(name: str) -> Any:
    """An odd number between 1 and 3, the same for the same name in every process."""
    from sympy import Rational

    return 1 + Rational(zlib.crc32(name.encode()), 2**31)


def equal(one: str, other: str) -> bool:
    """Whether two LaTeX texts state equal expressions."""
    from math_verify import verify
    from sympy import Eq

    (first, here), (second, there) = parsed(one), parsed(other)
    if first is None or second is None:
        return False
    if here is not None and there is not None:
        apart = abs(here - there)
        if apart.is_number and apart > _NEAR * (1 + abs(here)):
            return False
    if isinstance(first, Eq) and isinstance(second, Eq):
        return _same_equation(first, second)
    return bool(
        verify(first, second, float_rounding=15, numeric_precision=50, timeout_seconds=None)
    )


def _same_equation(one: Any, other: Any) -> bool:
    """Whether one equation is a multiple of the other, or has the same solutions.

    math-verify takes two equations without solutions for equal, so it is asked only about others.
    """
    from math_verify import verify
    from sympy import simplify, solve

    if one.free_symbols != other.free_symbols:
        return False
    # One equation is not worked out further if it is no multiple of the other at three points.
    if len(one.free_symbols) > 1 and _ratio_differs(one.lhs - one.rhs, other.lhs - other.rhs):
        return False
    ratio = simplify((one.lhs - one.rhs) / (other.lhs - other.rhs))
    if ratio.is_number and ratio.is_finite and not ratio.is_zero:
        return True
    return bool(solve(one)) and bool(verify(one, other, timeout_seconds=None))


def _ratio_differs(one: Any, other: Any) -> bool:
    """Whether the ratio of two expressions in the same variables is known to change with these.

    Denominators do not count, so that x y = 1 is y = 1/x.
    """
    from sympy import N, fraction, together

    one, other = fraction(together(one))[0], fraction(together(other))[0]
    ratios = []
    for salt in ("", "a", "b"):
        point = {symbol: _coordinate(salt + symbol.name) for symbol in one.free_symbols}
        ratio = N(one.subs(point) / other.subs(point), _DIGITS)
        if not (ratio.is_number and ratio.is_finite):
            return False
        ratios.append(ratio)
    return any(abs(ratio - ratios[0]) > _NEAR * (1 + abs(ratios[0])) for ratio in ratios)


def answer(question: tuple[str, str], write: TextIO, limit: float) -> None:
    """Answer one question, and die if that takes more than `limit` seconds of processor time."""
    signal.setitimer(signal.ITIMER_PROF, limit)
    for latex in question:
        parsed(latex)
        write.write('"read"\n')
        write.flush()
    verdict = equal(*question)
    signal.setitimer(signal.ITIMER_PROF, 0)
    write.write(json.dumps({"equal": verdict}) + "\n")
    write.flush()


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
