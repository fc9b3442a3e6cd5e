"""Types of numbers on a command line, for argparse: what cannot be meant is refused in a sentence.

For: `type=` of an argument. Not for: limits that depend on anything but the number.
"""

import argparse
import math


def natural(text: str) -> int:
    """A whole number from 0 up.

    Raises:
        ArgumentTypeError: It is none.
    """
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 up")
    return int(text)


def positive(text: str) -> int:
    """A whole number from 1 up.

    Raises:
        ArgumentTypeError: It is none.
    """
    if not (text.isascii() and text.isdecimal()) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def positive_real(text: str) -> float:
    """A finite number above 0.

    Raises:
        ArgumentTypeError: It is none.
    """
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def fraction(text: str) -> float:
    """A number between 0 and 1, neither of them.

    Raises:
        ArgumentTypeError: It is none.
    """
    number = _number(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return number


def _number(text: str) -> float:
    """NaN for what is no number, which no bound lets through."""
    try:
        return float(text)
    except ValueError:
        return math.nan
