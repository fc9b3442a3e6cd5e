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


def test_values_are_taken_at_one_point_for_every_text() -> None:
    (_, one), (_, other) = sympy_process.parsed("2 x"), sympy_process.parsed("x + x")
    assert abs(one - other) < 1e-25
    assert sympy_process.parsed("y")[1] != sympy_process.parsed("x")[1]


def test_every_step_is_reported() -> None:
    written = io.StringIO()
    sympy_process.answer(("x + 1", "1 + x"), written, limit=100.0)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert lines == ["read", "read", {"equal": True}]


@pytest.mark.parametrize("name", ["parse", "value"])
def test_lack_of_memory_is_not_an_answer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the process instead, and the comparison counts as undecided."""

    def full(*_: object, **__: object) -> None:
        raise MemoryError

    if name == "parse":
        monkeypatch.setattr("latex2sympy2_extended.latex2sympy", full)
    else:
        monkeypatch.setattr(sympy_process, "_value", full)
    with pytest.raises(MemoryError):
        sympy_process.parsed(f"x + 10 {name[0]}")


def test_what_cannot_be_valued_is_still_an_expression() -> None:
    expression, value = sympy_process.parsed("y = x + 77")
    assert expression is not None
    assert value is None


def test_a_value_beyond_all_floats_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def overflow(*_: object) -> None:
        raise OverflowError

    monkeypatch.setattr("sympy.N", overflow)
    expression, value = sympy_process.parsed("x + 123456")
    assert expression is not None
    assert value is None
