from wonderwords import RandomWord

from iha_eval.ruler.words import KeyWords, key_words


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
