import re
from collections.abc import Iterator

import pytest
from wonderwords import RandomWord

from iha_eval.ruler import niah
from iha_eval.ruler.draw import KeyWords, Stream, draw, key_words
from iha_eval.ruler.niah import VARIANTS, draw_needles

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
    monkeypatch.setattr(niah, "draw", lambda *args: [next(drawn)])
    needles = draw_needles(Stream("x"), VARIANTS["multikey_1"])
    assert needles == [("k1", "v1"), ("k4", "v4"), ("k5", "v5"), ("k6", "v6")]


def test_lists_are_those_of_the_package() -> None:
    words = key_words()
    assert set(words.adjectives) == set(RandomWord().filter(include_categories=["adjective"]))
    assert set(words.nouns) == set(RandomWord().filter(include_categories=["noun"]))
    assert list(words.nouns) == sorted(set(words.nouns))


def test_the_pinned_lists_have_not_changed() -> None:
    assert key_words().sha256 == (
        "92531ea73be83582a17521e1c73a03c1c398ef712f89079cd1db615fdc77527b"
    )


def test_the_hash_tells_an_adjective_from_a_noun() -> None:
    assert KeyWords(("a", "b"), ("c",)).sha256 != KeyWords(("a",), ("b", "c")).sha256
