import re
from collections.abc import Iterator

import pytest

from iha_eval.ruler import draw as module
from iha_eval.ruler.definition import VARIANTS
from iha_eval.ruler.draw import draw, draw_needles
from iha_eval.ruler.stream import Stream
from iha_eval.ruler.words import key_words

UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def test_numbers_have_seven_digits_and_spread() -> None:
    numbers = draw(Stream("x"), "number", 2000)
    assert all(re.fullmatch(r"[1-9][0-9]{6}", number) for number in numbers)
    assert {number[0] for number in numbers} == set("123456789")


def test_words_are_an_adjective_and_a_noun() -> None:
    words = key_words()
    nouns = set(words.nouns)
    for key in draw(Stream("x"), "word", 300):
        assert any(
            key.startswith(f"{adjective}-") and key[len(adjective) + 1 :] in nouns
            for adjective in words.adjectives
        )


def test_uuids() -> None:
    assert all(re.fullmatch(UUID4, drawn) for drawn in draw(Stream("x"), "uuid", 50))


@pytest.mark.parametrize(
    ("name", "keys"), [("multikey_1", 4), ("multikey_2", 1), ("multikey_3", 1)]
)
def test_a_documents_needles(name: str, keys: int) -> None:
    needles = draw_needles(Stream("x"), VARIANTS[name])
    assert len(needles) == len(dict(needles)) == keys


def test_no_key_or_value_comes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: Iterator[str] = iter(
        ["k1", "v1", "k1", "v2", "k3", "v1", "k4", "v4", "k5", "v5", "k6", "v6"]
    )
    monkeypatch.setattr(module, "draw", lambda *args: [next(drawn)])
    needles = draw_needles(Stream("x"), VARIANTS["multikey_1"])
    assert needles == [("k1", "v1"), ("k4", "v4"), ("k5", "v5"), ("k6", "v6")]
