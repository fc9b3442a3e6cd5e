"""Numbers on a command line: what is taken, and the sentence that refuses the rest."""

import argparse
from collections.abc import Callable

import pytest

from iha_eval.cli import _argument_types as types


@pytest.mark.parametrize(
    ("kind", "text", "wanted"),
    [
        (types.natural, "0", 0),
        (types.natural, "12", 12),
        (types.positive, "1", 1),
        (types.positive_real, "2e-4", 2e-4),
        (types.positive_real, "7", 7.0),
        (types.fraction, "0.5", 0.5),
    ],
)
def test_taken(kind: Callable[[str], float], text: str, wanted: float) -> None:
    found = kind(text)
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize(
    ("kind", "texts", "message"),
    [
        (types.natural, ["-1", "1.5", "", "x", "²", "٣", "1_0"], "a whole number from 0 up"),
        (types.positive, ["0", "-1", "1.0", "", "x", "²"], "a whole number from 1 up"),
        (types.positive_real, ["0", "-1", "inf", "nan", "", "x"], "a number above 0"),
        (types.fraction, ["0", "1", "-0.5", "nan", "x"], "a number between 0 and 1"),
    ],
    ids=["natural", "positive", "positive_real", "fraction"],
)
def test_refused(kind: Callable[[str], float], texts: list[str], message: str) -> None:
    for text in texts:
        with pytest.raises(argparse.ArgumentTypeError) as caught:
            kind(text)
        assert str(caught.value) == f"{text!r} is not {message}"
