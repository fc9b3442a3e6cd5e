import pytest

from iha_eval.ruler.scoring import (
    exact_set,
    first_answer,
    process_results,
    score,
    string_match,
    whole_words,
)

UUID = "0a1b2c3d-0a1b-4c2d-8e3f-0a1b2c3d4e5f"
OTHER = "9a1b2c3d-0a1b-4c2d-8e3f-0a1b2c3d4e5f"


@pytest.mark.parametrize(
    ("output", "references", "score"),
    [
        (" 1234567.", ["1234567"], 1.0),
        ("1234566", ["1234567"], 0.0),
        ("", ["1234567"], 0.0),
        ("listed: 7654321, 1234567", ["1234567"], 1.0),
        ("inside 91234567", ["1234567"], 1.0),
        (UUID.upper(), [UUID], 1.0),
        ("only 1111111", ["1111111", "2222222"], 0.5),
    ],
)
def test_string_match_is_the_share_of_references_found(
    output: str, references: list[str], score: float
) -> None:
    assert string_match(output, references) == score


@pytest.mark.parametrize(
    ("output", "score"),
    [
        (" 1234567.", 1.0),
        ("1234567 7654321", 1.0),
        ("7654321 1234567", 0.0),
        ("in 1999 it was 1234567", 1.0),
        ("12345678 then 1234567", 1.0),
        ("x1234567y", 1.0),
        ("91234567", 0.0),
        ("", 0.0),
        ("no number", 0.0),
    ],
)
def test_first_answer_of_numbers(output: str, score: float) -> None:
    assert first_answer(output, ["1234567"], "number") == score


@pytest.mark.parametrize(
    ("output", "score"),
    [
        (f" {UUID}.", 1.0),
        (UUID.upper(), 1.0),
        (f"{OTHER} {UUID}", 0.0),
        (f"1234567 {UUID}", 1.0),
        (f"f{UUID}", 0.0),
        (UUID[:-1], 0.0),
        (UUID.replace("-", ""), 0.0),
    ],
)
def test_first_answer_of_uuids(output: str, score: float) -> None:
    assert first_answer(output, [UUID], "uuid") == score


def test_an_output_that_lists_values_gains_in_one_metric_only() -> None:
    doc = {"outputs": ["1234567"], "kind": "number"}
    assert process_results(doc, ["7654321, 1234567"]) == {"string_match": 1.0, "first_answer": 0.0}


@pytest.mark.parametrize(
    ("output", "score"),
    [
        ("go", 1.0),
        ("['abandon', 'go']", 1.0),
        ("1. \u2018go\u2019", 1.0),
        ("-go", 1.0),
        ("**go** and _go_", 1.0),
        ("go - 30 times; go-", 1.0),
        ("cargo, going", 0.0),
        ("go-between, to-go", 0.0),
        ("go's, go\u2019s, o'go", 0.0),
    ],
)
def test_quotes_and_list_marks_are_no_part_of_a_whole_word(output: str, score: float) -> None:
    assert whole_words(output, ["go"]) == score


@pytest.mark.parametrize(
    ("output", "score"),
    [
        ("5", 1.0),
        ("5.", 1.0),
        ("5, 6", 1.0),
        ("yes,5", 1.0),
        ("5,000", 0.0),
        ("5.5", 0.0),
        ("3.5 and 1,005", 0.0),
        ("2,5", 0.0),
    ],
)
def test_a_number_inside_a_longer_one_is_no_whole_word(output: str, score: float) -> None:
    assert whole_words(output, ["5"]) == score


def test_numbers_of_a_list_may_touch_their_words() -> None:
    assert whole_words("1.go 2.abandon", ["go", "abandon"]) == 1.0


@pytest.mark.parametrize(
    ("kind", "right", "output", "score"),
    [
        ("coded words", "abcdef ghijkl", "Abcdef and ghijkl appear.", 1.0),
        ("coded words", "abcdef ghijkl", "abcdef, ghijkl, zzzzzz", 0.0),
        ("coded words", "abcdef ghijkl", "abcdef, ghijkl, Zzzzzz", 0.0),
        ("coded words", "abcdef ghijkl", "ABCDEF GHIJKL ZZZZZZ", 0.0),
        ("coded words", "abcdef ghijkl", "I ignore the dots: abcdef, ghijkl", 1.0),
        ("coded words", "abcdef ghijkl", "abcdef", 0.0),
        ("coded words", "abcdef ghijkl", "abcdefx ghijkl", 0.0),
        ("variables", "ABCDE FGHIJ", "abcde, Fghij", 1.0),
        ("variables", "ABCDE FGHIJ", "These: ABCDE, FGHIJ", 1.0),
        ("variables", "ABCDE FGHIJ", "ABCDE, FGHIJ, ZZZZZ", 0.0),
        ("variables", "ABCDE FGHIJ", "abcde, fghij, yyyyy", 0.0),
        ("variables", "ABCDE FGHIJ", "ABCDE, FGHIJ, Yyyyy", 0.0),
        ("variables", "ABCDE FGHIJ", "there are: ABCDE, FGHIJ", 1.0),
        ("numbers", "1234567 7654321", "7654321 1234567.", 1.0),
        ("numbers", "1234567 7654321", "7654321 1234567 1111111", 0.0),
        ("numbers", "1234567 7654321", "7654321 12345678", 0.0),
    ],
)
def test_exact_sets(kind: str, right: str, output: str, score: float) -> None:
    text = f"An example. VAR YYYYY = 1\nQuestion: which?\n{right} zzzzzz ..."
    asked = f"{text}\nQuestion: Please ignore the dots."
    document = {"kind": kind, "outputs": right.split(), "input": asked}
    assert exact_set(output, document) == score


def test_every_kind_has_both_scores() -> None:
    document = {"kind": "number", "outputs": ["1234567"], "input": ""}
    assert score(document, ["7654321 1234567"]) == {"string_match": 1.0, "strict_match": 0.0}
