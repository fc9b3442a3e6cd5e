"""How numbers are written."""

import math

import pytest

from iha_eval.util import numbers as numbers


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (numbers.percent(0.5432), "54.3"),
        (numbers.percent(1, 0), "100"),
        (numbers.points(4.25), "+4.2"),
        (numbers.points(-0.31), "\N{MINUS SIGN}0.3"),
        (numbers.points(-0.04), "0.0"),
        (numbers.points(0), "0.0"),
        (numbers.relative(0.274), "+27%"),
        (numbers.relative(-1.0), "\N{MINUS SIGN}100%"),
        (numbers.interval(-1.0, 2.5), "\N{MINUS SIGN}1.0 to +2.5"),
        (numbers.levels(0.5, 0.625), "50.0\N{EN DASH}62.5"),
        (numbers.p_value(0.0321), "0.032"),
        (numbers.p_value(0.00001), "<\N{NO-BREAK SPACE}0.0001"),
        (numbers.p_value(1.0), "1.00"),
        (numbers.count(1319), "1,319"),
        (numbers.count(23040.0), "23,040"),
        (numbers.decimal(1234.56), "1,234.6"),
        (numbers.rate(41250.5), "41,250"),
        (numbers.rate(20.56), "20.6"),
        (numbers.size(512), "512\N{NO-BREAK SPACE}B"),
        (numbers.size(17_179_869_184), "16.0\N{NO-BREAK SPACE}GiB"),
        (numbers.size(2**70), "1,048,576.0\N{NO-BREAK SPACE}PiB"),
        (numbers.duration(12.34), "12.3\N{NO-BREAK SPACE}s"),
        (numbers.duration(2914.2), "48\N{NO-BREAK SPACE}min 34\N{NO-BREAK SPACE}s"),
        (numbers.duration(7380), "2\N{NO-BREAK SPACE}h 3\N{NO-BREAK SPACE}min"),
        (numbers.tokens(16384), "16k"),
        (numbers.tokens(1000), "1000"),
    ],
)
def test_written(written: str, text: str) -> None:
    assert written == text


@pytest.mark.parametrize("missing", [None, math.nan, math.inf, "7", True], ids=repr)
@pytest.mark.parametrize(
    "write",
    [
        numbers.percent,
        numbers.points,
        numbers.relative,
        numbers.p_value,
        numbers.count,
        numbers.decimal,
        numbers.rate,
        numbers.size,
        numbers.duration,
        numbers.tokens,
        lambda value: numbers.interval(1.0, value),
        lambda value: numbers.levels(value, 1.0),
    ],
)
def test_missing_numbers_are_dashes(write, missing) -> None:
    assert write(missing) == "\N{EN DASH}"
