import json
import math
import sys
import unicodedata

import made_up_reports
import pytest

from iha_eval.util.text import clean, clean_all, one_line, shorten, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tab\tand\nline", "tab\tand\nline"),
        ("a\r\nb\rc", "a\nb\u240dc"),
        ("\x00\x1b[31m\x7f", "\u2400\u241b[31m\u2421"),
        ("\x85\x9b", "\ufffd\ufffd"),
        ("\u202eevil\u2066", "<U+202E>evil<U+2066>"),
        ("\u2028\ufeff", "<U+2028><U+FEFF>"),
        ("1\u200b0\u200c\u200d\u2060\u2064", "1<U+200B>0<U+200C><U+200D><U+2060><U+2064>"),
        ("\u00ad\u034f\u180e\u3164\ufe00", "<U+00AD><U+034F><U+180E><U+3164><U+FE00>"),
        ("\U000e0001\U000e0041\U000e007f", "<U+E0001><U+E0041><U+E007F>"),
        ("\U000e0100\ufffb\ufffd", "<U+E0100><U+FFFB>\ufffd"),
        ("a\u00a0b \u2764\ufe0f", "a\u00a0b \u2764\ufe0f"),
        ("\ud800 \udfff \uffff", "\ufffd \ufffd \ufffd"),
        ("<script>&amp; 漢字 👍🏽", "<script>&amp; 漢字 👍🏽"),
    ],
)
def test_unfit_characters_are_shown_as_what_they_are(text: str, shown: str) -> None:
    assert clean(text) == shown
    assert clean(text).encode()


def test_nothing_that_unicode_calls_a_format_gets_through() -> None:
    every = (chr(code) for code in range(sys.maxunicode + 1))
    hidden = [one for one in every if unicodedata.category(one) in ("Cf", "Cc", "Cs", "Zl", "Zp")]
    left = {one for one in hidden if clean(one) == one}
    # Signs that stand before Arabic, Syriac and Kaithi numbers and are seen.
    signs = {*"\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2"}
    assert left - signs - {chr(code) for code in range(0x110BD, 0x13460)} == {"\t", "\n"}


def test_all_of_json_is_cleaned() -> None:
    given = {
        "a\x00": ["\ud800", (1, True, None)],
        "b": math.nan,
        "c": -math.inf,
        "d": 0.5,
        "e": {1},
    }
    made = clean_all(given)
    assert made == {
        "a\u2400": ["\ufffd", [1, True, None]],
        "b": None,
        "c": None,
        "d": 0.5,
        "e": "{1}",
    }
    assert json.dumps(made, allow_nan=False, ensure_ascii=False).encode()


def test_short_texts_stay() -> None:
    assert shorten("x" * 100, 100, around="x") == "x" * 100


@pytest.mark.parametrize("around", [None, "missing"])
def test_long_texts_keep_head_and_tail(around: str | None) -> None:
    cut = shorten("head" + "x" * 10_000 + "tail", 100, around)
    assert cut.startswith("head")
    assert cut.endswith("tail")
    assert "[... 9,908 characters left out ...]" in cut
    assert len(cut) < 150


@pytest.mark.parametrize("place", [30, 300, 5000, 9000, 9930, 9999])
def test_long_texts_keep_what_matters(place: int) -> None:
    text = "x" * place + "needle" + "y" * (10_000 - place)
    cut = shorten(text, 200, around="needle")
    assert "needle" in cut
    assert len(cut) < 300
    kept = "".join(part for part in cut.split("\n") if not part.startswith("[..."))
    assert len(kept) == 200
    gaps = [int(part.split()[1].replace(",", "")) for part in cut.split("\n") if part[:4] == "[..."]
    assert sum(gaps) + len(kept) == len(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (7, "7"), ("a\tb\nc", "a\tb\nc"), ("a\r\nb\x00", "a\nb\u2400")],
    ids=["none", "number", "kept", "control"],
)
def test_visible(value: object, text: str) -> None:
    assert visible(value) == text


def test_visible_cuts_the_middle() -> None:
    text = visible("a" * 50 + "b" * 50, 20)
    assert text.startswith("aaa")
    assert text.endswith("bbb")
    assert "80 characters left out" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("  two\n lines ", "two lines"),
        ("abcdefghijk", "abcdefghi…"),
        (3, "3"),
        ("\ud800\u202e", "\ufffd<U+202E>"),
    ],
    ids=["space", "cut", "number", "unfit"],
)
def test_one_line(value: object, text: str) -> None:
    assert one_line(value, 10) == text


def test_endless_label_costs_little() -> None:
    assert len(one_line(made_up_reports.ENDLESS * 100)) == 80
