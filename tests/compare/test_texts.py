import json
import math

import pytest

from iha_eval.compare.texts import clean, clean_all, shorten


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tab\tand\nline", "tab\tand\nline"),
        ("a\r\nb\rc", "a\nb\u240dc"),
        ("\x00\x1b[31m\x7f", "\u2400\u241b[31m\u2421"),
        ("\x85\x9b", "\ufffd\ufffd"),
        ("\u202eevil\u2066", "<U+202E>evil<U+2066>"),
        ("\u2028\ufeff", "<U+2028><U+FEFF>"),
        ("\ud800 \udfff \uffff", "\ufffd \ufffd \ufffd"),
        ("<script>&amp; 漢字 👍🏽", "<script>&amp; 漢字 👍🏽"),
    ],
)
def test_unfit_characters_are_shown_as_what_they_are(text: str, shown: str) -> None:
    assert clean(text) == shown
    assert clean(text).encode()


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
