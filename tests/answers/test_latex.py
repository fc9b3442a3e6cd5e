import pytest

from iha_eval.answers.latex import DEEPEST, for_parser, tokens, tree, written


def rewritten(text: str) -> str:
    return written(tree(tokens(text)))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (r"\dfrac12", r"\frac{1}{2}"),
        (r"\frac123", r"\frac{1}{2}3"),
        (r"\frac{1}2", r"\frac{1}{2}"),
        (r"\frac x2", r"\frac{x}{2}"),
        (r"\sqrt3", r"\sqrt{3}"),
        (r"\sqrt12", r"\sqrt{12}"),
        (r"\sqrt[3]2", r"\sqrt[3]{2}"),
        ("x^10", "x^{10}"),
        ("x^-1", "x^{-1}"),
        ("x^(1/2)y", "x^{1/2}y"),
        ("x^((n+1)/2)y", "x^{(n+1)/2}y"),
        ("x^(2", "x^{2}"),
        ("x_{1}", "x_{1}"),
        ("{x}", "x"),
        ("{x+1}y", "{x+1}y"),
        (r"\alpha x", r"\alpha x"),
        (r"\alpha+x", r"\alpha+x"),
        (r"2\times3", r"2\cdot3"),
        (r"x\leq2", r"x\le2"),
        ("1.50x", "1.5x"),
        (".5x", "0.5x"),
        ("2.0x", "2x"),
        (r"1\frac45", r"\frac{9}{5}"),
        (r"1\frac54", r"1\frac{5}{4}"),
        (r"1\frac{x}{4}", r"1\frac{x}{4}"),
        (r"\binom n2", r"\binom{n}{2}"),
        (r"\text{ (C) }", "C"),
        (r"\text{ yes }", r"\text{yes}"),
        (r"\mathbb R", r"\mathbb{R}"),
        (r"\frac{1}{", r"\frac{1}{}"),
        (r"\frac", r"\frac{}{}"),
        ("x^", "x^{}"),
        (r"\sqrt[3", r"\sqrt[3]{}"),
        ("}x", "}x"),
        ("", ""),
    ],
)
def test_canonical_latex(text: str, canonical: str) -> None:
    assert rewritten(text) == canonical


def test_canonical_latex_is_stable() -> None:
    once = rewritten(r"\dfrac1{\sqrt2}x^2_1+\tfrac{a}{b}\cdot\binom{n}{2}")
    assert rewritten(once) == once


def test_nesting_beyond_the_limit_stays_as_written() -> None:
    text = r"\frac{1}{" * (DEEPEST + 5) + "2" + "}" * (DEEPEST + 5)
    assert rewritten(text).count(r"\frac") == DEEPEST + 5


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("2x", "2 x"),
        ("2(3)", r"2 \cdot  ( 3 )"),
        ("2A+a", "2 a_{9065} + a"),
        ("de", "d_{9100} e"),
        ("i^2", "(I) ^{2}"),
        ("2i", "2 I"),
        ("1.5x", r"\frac{15}{10} x"),
        (r"3\frac{x}{2}", r"3 \cdot  \frac{x}{2}"),
        ("x_{A}", "x _{A}"),
        ("{x+1}y", "(x + 1) y"),
    ],
)
def test_what_the_parser_is_asked(text: str, asked: str) -> None:
    assert for_parser(tree(tokens(text))) == asked
