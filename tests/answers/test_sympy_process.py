import io
import json

import pytest

from iha_eval.answers import sympy_process


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (r"\sqrt{8}", r"2 \sqrt{2}", True),
        ("x ( x + 1 )", "x ^{2} + x", True),
        ("(I) ^{2}", "- 1", True),
        ("x y", "y x", True),
        ("x + 1", "y + 1", False),
        (r"\sqrt{2}", r"\frac{14142135623730951}{10000000000000000}", False),
        (r"\frac{1}{", "1", False),
        ("y = 2 x", "2 y = 4 x", True),
        ("y = 2 x", "y = 3 x", False),
        ("x + 1 = 0", "y + 1 = 0", False),
        ("x ^{2} + 1 = 0", "x ^{2} + 2 = 0", False),
        ("x y = 1", r"y = \frac{1}{x}", True),
        ("x ^{2} + y ^{2} = 1", "x ^{2} + y = 1", False),
        ("x + y = 2", "( x + y ) ^{2} = x ^{2} + 2 x y + y ^{2}", False),
        (r"\frac{y}{x} = 2", "y = 2 x", True),
        (r"x \ne 2", r"x \ne 2", True),
        ("\\infty", "5", False),
    ],
)
def test_equal_expressions(one: str, other: str, same: bool) -> None:
    assert sympy_process.equal(one, other) is same
    assert sympy_process.equal(other, one) is same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        # As close as powers and factorials come.
        (r"\frac{1}{300!}", r"\frac{1}{301!}", False),
        (r"1 - ( \frac{5}{6} ) ^{4000}", r"1 - ( \frac{5}{6} ) ^{4001}", False),
        (r"10 ^{30} \pi", r"10 ^{30} \pi + 1", False),
        (r"\frac{x}{10 ^{20}}", r"\frac{x}{10 ^{21}}", False),
        (r"\sqrt{2} \cdot 10 ^{- 30}", "0", False),
        (r"\sqrt{5 + 2 \sqrt{6}}", r"\sqrt{2} + \sqrt{3}", True),
        (r"\sin ( x ) ^{2} + \cos ( x ) ^{2} - 1", "0", True),
        # What holds for positive numbers only, and what holds for none.
        (r"\sqrt{x ^{2}}", "x", False),
        ("( x ^{2} ) ^{y}", "x ^{2 y}", True),
        (r"\ln ( x )", r"\frac{\ln ( x )}{\ln ( 10 )}", False),
        (r"\binom{n}{2}", r"\frac{n ( n - 1 )}{2}", True),
    ],
)
def test_close_expressions(one: str, other: str, same: bool) -> None:
    assert sympy_process.equal(one, other) is same
    assert sympy_process.equal(other, one) is same


def test_values_are_taken_at_the_same_points_for_every_text() -> None:
    for point in ("", "negative", "third"):
        one, other = (sympy_process.value(text, point) for text in ("2 x", "x + x"))
        assert abs(one - other) < 1e-25
        assert sympy_process.value("y", point) != sympy_process.value("x", point)


def test_one_text_is_answered_with_its_value() -> None:
    written = io.StringIO()
    sympy_process.answer((r"3 + 4 \cdot I",), written, limit=100.0)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert lines == ["read", {"value": [3.0, 4.0]}]


@pytest.mark.parametrize("text", ["y = x", r"\frac{1}{", r"\frac{1}{300!}", r"\infty", "10 ^{400}"])
def test_what_no_float_holds_has_no_value(text: str) -> None:
    written = io.StringIO()
    sympy_process.answer((text,), written, limit=100.0)
    assert json.loads(written.getvalue().splitlines()[-1]) == {"value": None}


def test_every_step_is_reported() -> None:
    written = io.StringIO()
    sympy_process.answer(("x + 1", "1 + x"), written, limit=100.0)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert lines == ["read", "read", {"equal": True}]


@pytest.mark.parametrize("name", ["parse", "value"])
@pytest.mark.parametrize("shows", [MemoryError, OSError, ImportError, "while it was handled"])
def test_lack_of_memory_is_not_an_answer(
    name: str, shows: type[Exception] | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends the process instead, and the comparison counts as undecided."""

    def full(*_: object, **__: object) -> None:
        if not isinstance(shows, str):
            raise shows
        try:
            raise MemoryError
        except MemoryError:
            raise ValueError("no such text") from None

    target = "latex2sympy2_extended.latex2sympy" if name == "parse" else "sympy.N"
    monkeypatch.setattr(target, full)
    with pytest.raises(MemoryError):
        # Another text each time, since values are kept.
        sympy_process.value(f"x + 10 {name[0]} + {len(str(shows))}", "")


def test_what_cannot_be_valued_is_still_an_expression() -> None:
    assert sympy_process.parsed("y = x + 77") is not None
    assert sympy_process.value("y = x + 77", "") is None


def test_a_value_beyond_all_floats_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def overflow(*_: object) -> None:
        raise OverflowError

    monkeypatch.setattr("sympy.N", overflow)
    assert sympy_process.value("x + 123456", "") is None
