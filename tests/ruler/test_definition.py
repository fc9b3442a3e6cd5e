import pytest

from iha_eval.errors import UserError
from iha_eval.ruler.definition import (
    ALL_LENGTHS,
    DOCUMENTS,
    LENGTHS,
    length_label,
    parse_count,
    parse_lengths,
    task_name,
)
from iha_eval.ruler.niah import DEPTHS, VARIANTS


def test_figures_are_rulers() -> None:
    assert (DOCUMENTS, LENGTHS) == (500, (4096, 8192, 16384))
    assert tuple(1024 * n for n in (4, 8, 16, 32, 64, 128)) == ALL_LENGTHS
    assert len(DEPTHS) == len(set(DEPTHS)) == 40
    assert (DEPTHS[0], DEPTHS[1], DEPTHS[2], DEPTHS[38], DEPTHS[39]) == (0, 3, 5, 97, 100)


@pytest.mark.parametrize(
    ("name", "haystack", "keys", "key_kind", "value_kind"),
    [
        ("multikey_1", "essay", 4, "word", "number"),
        ("multikey_2", "needles", 1, "word", "number"),
        ("multikey_3", "needles", 1, "uuid", "uuid"),
    ],
)
def test_variants_are_rulers(
    name: str, haystack: str, keys: int, key_kind: str, value_kind: str
) -> None:
    variant = VARIANTS[name]
    assert (variant.haystack, variant.keys) == (haystack, keys)
    assert (variant.key_kind, variant.value_kind) == (key_kind, value_kind)


def test_sentences_are_rulers() -> None:
    variant = VARIANTS["multikey_1"]
    assert variant.needle("red-fox", "7654321") == (
        "One of the special magic numbers for red-fox is: 7654321."
    )
    assert variant.question("HAY", "red-fox") == (
        "A special magic number is hidden within the following text. Make sure to memorize it. "
        "I will quiz you about the number afterwards.\nHAY\nWhat is the special magic number for "
        "red-fox mentioned in the provided text?"
    )
    assert variant.answer_prefix("red-fox") == (
        "The special magic number for red-fox mentioned in the provided text is"
    )


def test_sentences_speak_of_uuids_where_values_are_uuids() -> None:
    variant = VARIANTS["multikey_3"]
    assert variant.needle("K", "V") == "One of the special magic uuids for K is: V."
    assert "A special magic uuid is hidden" in variant.question("", "K")


@pytest.mark.parametrize(
    ("length", "label"), [(4096, "4k"), (131072, "128k"), (1000, "1000"), (1536, "1536")]
)
def test_labels(length: int, label: str) -> None:
    assert length_label(length) == label
    assert task_name("multikey_2", length) == f"ruler_mk_multikey_2_{label}"


def test_number_of_documents_from_metadata() -> None:
    assert parse_count(2000) == 2000
    for value in (0, -1, 2.0, True, "many", None):
        with pytest.raises(UserError, match="metadata 'documents' must be a number of documents"):
            parse_count(value)


def test_lengths_from_metadata() -> None:
    assert parse_lengths(1024) == [1024]
    assert parse_lengths([2048, 1024, 2048]) == [2048, 1024]


@pytest.mark.parametrize("value", [None, [], 0, -1, "1k", [1024, "x"], True, 1.5])
def test_wrong_lengths_are_named(value: object) -> None:
    with pytest.raises(UserError, match="metadata 'lengths' must be") as error:
        parse_lengths(value)
    assert repr(value) in str(error.value)
