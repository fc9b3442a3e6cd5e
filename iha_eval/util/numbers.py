"""How numbers are written on the page and in its figures.

For: the template's filters; a number that does not exist is an en dash.
Not for: computing anything but a change of unit.
"""

import sys
from collections.abc import Mapping
from typing import Any, TypeGuard

#: Stands for a number that does not exist.
MISSING = "\N{EN DASH}"

_MINUS = "\N{MINUS SIGN}"
_SPACE = "\N{NO-BREAK SPACE}"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def there(value: Any) -> TypeGuard[float]:
    """Whether the value is a number, and a finite one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # An integer may be too large for a float.
    return -sys.float_info.max <= value <= sys.float_info.max


def percent(score: Any, digits: int = 1) -> str:
    """A score from 0 to 1 as a percentage, without its sign: 0.543 is `54.3`."""
    return f"{100 * score:.{digits}f}" if there(score) else MISSING


def points(value: Any, digits: int = 1) -> str:
    """A difference in points, signed, with a true minus; 0 has no sign."""
    return _signed(value, digits) if there(value) else MISSING


def relative(share: Any) -> str:
    """A relative difference: 0.27 is `+27%`."""
    return f"{_signed(100 * share, 0)}%" if there(share) else MISSING


def interval(low: Any, high: Any) -> str:
    """Both ends of an interval in points, signed."""
    if not (there(low) and there(high)):
        return MISSING
    return f"{points(low, _digits(low))} to {points(high, _digits(high))}"


def levels(low: Any, high: Any) -> str:
    """Both ends of an interval of scores, as percentages, a dash between."""
    return f"{percent(low)}\N{EN DASH}{percent(high)}" if there(low) and there(high) else MISSING


def p_value(value: Any) -> str:
    """A p-value with two figures: `0.032`, `< 0.0001`."""
    if not there(value):
        return MISSING
    return f"<{_SPACE}0.0001" if value < 0.0001 else p_digits(value)


def p_digits(value: float) -> str:
    """A p-value with two figures, or as many as tell it from 0.05: `0.032`, `0.0496`."""
    text = f"{value:.2g}" if value < 0.1 else f"{value:.2f}"
    figures = 3
    while float(text) == 0.05 != value:
        text, figures = f"{value:.{figures}g}", figures + 1
    return text


def p_relation(value: float) -> str:
    """What stands behind `p` in a sentence: `= 0.032`, `< 0.0001`."""
    return "< 0.0001" if value < 0.0001 else f"= {p_digits(value)}"


def plain_p(value: float | None) -> str:
    """A p-value in ASCII: `0.032`, `< 0.0001`; `-` if there is none."""
    return "-" if value is None else p_relation(value).removeprefix("= ")


def plain_difference(row: Mapping[str, Any]) -> str:
    """A row's `points` with the interval from `low` to `high`, in ASCII; `-` if there is none."""
    if row["points"] is None:
        return "-"
    points, low, high = (plain_points(row[name]) for name in ("points", "low", "high"))
    return f"{points} ({low} to {high})"


def plain_points(value: float) -> str:
    """A difference in points, signed, in ASCII, with as many digits as tell it from 0."""
    return f"{round(value, _digits(value)) + 0.0:+.{_digits(value)}f}"


def _digits(value: float) -> int:
    """One digit, or up to three where fewer would turn a number into 0."""
    return next((digits for digits in (1, 2, 3) if round(value, digits)), 1)


def count(value: Any) -> str:
    """A whole number with thousands separators."""
    return f"{round(value):,}" if there(value) else MISSING


def decimal(value: Any, digits: int = 1) -> str:
    """A number with thousands separators and a fixed number of digits."""
    return f"{value:,.{digits}f}" if there(value) else MISSING


def rate(value: Any) -> str:
    """A rate with about three figures."""
    return decimal(value, 0 if there(value) and abs(value) >= 100 else 1)


def size(value: Any) -> str:
    """A number of bytes in binary units: `16.0 GiB`."""
    if not there(value):
        return MISSING
    scaled, unit = float(value), 0
    while abs(scaled) >= 1024 and unit + 1 < len(_UNITS):
        scaled, unit = scaled / 1024, unit + 1
    return f"{scaled:,.{1 if unit else 0}f}{_SPACE}{_UNITS[unit]}"


def duration(seconds: Any) -> str:
    """A time in its two largest units: `2 h 3 min`, `48 min 34 s`, `12.3 s`."""
    if not there(seconds):
        return MISSING
    if seconds < 60:
        return f"{seconds:.1f}{_SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours:,}{_SPACE}h {left}{_SPACE}min"
    return f"{minutes}{_SPACE}min {rest}{_SPACE}s"


def tokens(length: Any) -> str:
    """A length in tokens: 4096 is `4k`, 1000 stays `1000`."""
    if not there(length):
        return MISSING
    return f"{length // 1024:.0f}k" if length >= 1024 and length % 1024 == 0 else f"{length:g}"


def _signed(value: float, digits: int) -> str:
    # Adding 0.0 turns -0.0 into 0.0.
    text = f"{round(value, digits) + 0.0:+,.{digits}f}"
    return text.removeprefix("+") if not text.strip("+0.") else text.replace("-", _MINUS)
