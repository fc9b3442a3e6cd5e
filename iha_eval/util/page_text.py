"""Text of unknown origin, made fit for the page and its figures.

For: everything on the page that a model, a data set or a user's file wrote.
Not for: escaping HTML, which the template engine does, everywhere; nor for which characters are
unfit (text.py).
"""

from typing import Any

from iha_eval.util.text import clean, shorten

#: Characters kept of any one text; reports cut theirs shorter before.
KEPT = 6000


def visible(value: Any, kept: int = KEPT) -> str:
    """The text with controls shown and a bounded length; it encodes to UTF-8.

    Args:
        value: The text, or anything whose `str` is meant; None is an empty text.
        kept: Of a longer text the middle is left out, and a line says so.
    """
    return "" if value is None else clean(shorten(str(value), kept))


def one_line(value: Any, kept: int = 80) -> str:
    """The text on one line, cut at its end: a label in a figure."""
    text = " ".join(clean(str(value)[: 4 * kept]).split())
    return text if len(text) <= kept else text[: kept - 1] + "…"
