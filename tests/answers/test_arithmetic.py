from fractions import Fraction

import pytest

from iha_eval.answers.arithmetic import MOST_BITS, value_of
from iha_eval.answers.clean import clean
from iha_eval.answers.latex import tokens, tree


def value(text: str) -> Fraction | None:
    return value_of(tree(tokens(clean(text))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", 5),
        ("-5", -5),
        ("--5", 5),
        ("+5", 5),
        (".25", Fraction(1, 4)),
        ("1/2/2", Fraction(1, 4)),
        ("1 - 2 - 3", -4),
        ("2+3*4", 14),
        ("(2+3)*4", 20),
        ("2(3+4)", 14),
        ("6/-3", -2),
        ("2*-3", -6),
        ("-2^2", -4),
        ("(-2)^2", 4),
        ("2^{-3}", Fraction(1, 8)),
        ("2^{3!}", 64),
        (r"\frac{1}{2}\frac{1}{3}", Fraction(1, 6)),
        (r"\frac{\frac12}{3}", Fraction(1, 6)),
        (r"\sqrt{\frac{4}{9}}", Fraction(2, 3)),
        (r"3\sqrt{4}", 6),
        (r"2\frac{1}{3}", Fraction(7, 3)),
        (r"-2\frac{1}{3}", Fraction(-7, 3)),
        (r"0.1\overline{6}", Fraction(1, 6)),
        (r"0.0\overline{3}", Fraction(1, 30)),
        (r"12.\overline{09}", Fraction(133, 11)),
        (r"\binom{6}{2}", 15),
        ("0!", 1),
        ("{2+3}", 5),
    ],
)
def test_plain_arithmetic_has_its_exact_value(text: str, expected: Fraction | int) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "2x",
        r"\pi",
        r"\sqrt{2}",
        r"\sqrt{-4}",
        r"\sqrt[3]{8}",
        "2^{1/2}",
        "1/0",
        "0^{-1}",
        r"\frac{1}{0}",
        "(-1)!",
        "(1/2)!",
        "201!",
        r"\binom{2}{3}",
        r"\binom{1/2}{1}",
        "1/2(3)",
        "2 3",
        "(2",
        "2)",
        "2+",
        r"1.\overline{x}",
        r"x_{2}",
        f"2^{{{MOST_BITS}}}",
        "2^{10^{100}}",
        r"\frac{1}{3}\overline{3}",
        "((2^{4000})^2)(2^{4000})",
    ],
)
def test_anything_else_has_none(text: str) -> None:
    assert value(text) is None
