import pytest

from iha_eval.answers.numerals import has_value, numbers


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("5 and that", ["5"]),
        ("1 1/2 cups", ["1 1/2"]),
        ("3:30 PM", [None]),
        ("1 million", ["1 million"]),
        ("1e3", ["1e3"]),
        ("2^4, 2^{-1}", ["2^4", "2^{-1}"]),
        ("20 + 5", ["20 + 5"]),
        ("12,5", [None]),
        ("5 to 7", [None]),
        ("5-7", [None]),
        ("5\u20137", [None]),
        ("70 000 or more", ["70 000"]),
        ("is - 5", ["-5"]),
        ("apples - 5", ["5"]),
        ("3 x 4", ["3 * 4"]),
        ("not 5 but 6", ["6"]),
        ("1/0", [None]),
        ("$-5.50", ["$-5.50"]),
        (r"\frac{1}{2}", [r"\frac{1}{2}"]),
        ("x2", []),
        ("9" * 1001, [None]),
    ],
)
def test_numbers_are_read_as_a_whole(text: str, found: list[str | None]) -> None:
    assert numbers(text) == found


def test_values() -> None:
    assert has_value("2+3")
    assert not has_value("x")
    assert not has_value("")
