import pytest

from iha_eval.statistics import (
    Difference,
    Estimate,
    Pairs,
    paired_difference,
    paired_p,
    smallest_difference,
    unpaired_difference,
    unpaired_p,
    verdict,
)


def judge(a: list[float | None], b: list[float | None], **options: object) -> tuple[str, str]:
    difference = paired_difference(a, b, resamples=999)
    found = verdict(
        difference,
        paired_p(a, b).value,
        smallest_difference(difference),
        names=("IHA", "global attention"),
        **options,
    )
    return found.word, found.sentence


def table(both: int, only_a: int, only_b: int, neither: int) -> tuple[list, list]:
    a = [1.0] * (both + only_a) + [0.0] * (only_b + neither)
    b = [1.0] * both + [0.0] * only_a + [1.0] * only_b + [0.0] * neither
    return a, b


def test_better_with_all_its_numbers() -> None:
    word, sentence = judge(*table(300, 60, 20, 120))
    assert word == "better"
    assert sentence.startswith(
        "IHA is better than global attention: 72.0 against 64.0, +8.0 points (95% interval +"
    )
    assert sentence.endswith("), corrected p < 0.0001, 500 questions.")


def test_worse() -> None:
    word, sentence = judge(*table(300, 20, 45, 135))
    assert word == "worse"
    assert "64.0 against 69.0, -5.0 points (95% interval -" in sentence
    assert "corrected p = 0.0026, 500 questions." in sentence


def test_no_significant_difference_where_five_points_could_have_been_shown() -> None:
    word, sentence = judge(*table(300, 22, 20, 158))
    assert word == "no significant difference"
    assert sentence.startswith("No significant difference between IHA and global attention: ")
    assert sentence.endswith(
        "corrected p = 0.88, 500 questions; "
        "these questions could have shown a difference of 3.7 points (at 80% power)."
    )


def test_no_significant_difference_where_the_interval_says_so() -> None:
    # Few could have shown 5 points at 80% power, yet this interval stays below.
    a, b = table(80, 2, 2, 66)
    difference = paired_difference(a, b)
    smallest = smallest_difference(difference)
    assert smallest is not None
    assert smallest > 5
    word, sentence = judge(a, b)
    assert word == "no significant difference"
    assert sentence.endswith("150 questions; the interval stays within 5 points.")


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-4.9, 4.9, "no significant difference"),
        (-5.1, 4.0, "not enough data"),
        (-4.0, 5.1, "not enough data"),
    ],
)
def test_both_ends_of_the_interval_count(low: float, high: float, word: str) -> None:
    numbers = Estimate(0.5, 0.5, 0.0, 0.0, low, high, "")
    difference = Difference(90, 90, 0, numbers, "ok", Pairs(3, 3, 1.0))
    assert verdict(difference, 1.0, 7.0).word == word


def test_not_enough_data() -> None:
    word, sentence = judge(*table(10, 4, 3, 23))
    assert word == "not enough data"
    assert sentence.startswith("Not enough data to tell IHA from global attention: 35.0 against ")
    assert "40 questions; these questions could have shown a difference of 19.0 points" in sentence


def test_the_margin_decides_what_is_enough() -> None:
    data = table(300, 22, 20, 158)
    assert judge(*data, margin=2.0)[0] == "not enough data"
    assert judge(*data, margin=3.9)[0] == "no significant difference"


def test_the_level_decides_what_is_significant() -> None:
    data = table(300, 20, 45, 135)
    assert judge(*data, alpha=0.001)[0] != "worse"


def test_correction_can_take_significance_away() -> None:
    a, b = table(300, 35, 20, 145)
    difference = paired_difference(a, b)
    assert verdict(difference, 0.04, 4.0).word == "better"
    assert verdict(difference, 0.08, 4.0).word == "no significant difference"


@pytest.mark.parametrize(
    ("scores", "end"),
    [
        ([1.0], "1 question; so few questions cannot show a difference of any size."),
        ([1.0, 0.0], "2 questions; so few questions cannot show a difference of any size."),
    ],
)
def test_a_handful_of_questions(scores: list[float | None], end: str) -> None:
    word, sentence = judge(scores, scores)
    assert word == "not enough data"
    assert sentence.endswith(end)
    assert "+0.0 points" in sentence


def test_no_questions() -> None:
    assert judge([None], [1.0]) == (
        "not enough data",
        "Not enough data to tell IHA from global attention: no scores to compare.",
    )


def test_an_untested_difference_is_not_judged() -> None:
    difference = paired_difference([1, 0], [0, 0])
    assert verdict(difference, None, None).word == "not enough data"


def test_left_out_questions_show() -> None:
    _, sentence = judge([1.0] * 20 + [None] * 3, [1.0] * 23)
    assert ", 20 questions (3 left out)" in sentence


def test_all_concordant_questions_name_what_they_could_have_shown() -> None:
    word, sentence = judge([1.0] * 500, [1.0] * 500)
    assert word == "no significant difference"
    assert "corrected p = 1.00" in sentence
    assert "could have shown a difference of 1.6 points" in sentence


def test_a_negative_zero_is_zero() -> None:
    word, sentence = judge(*table(1300, 20, 21, 800))
    assert word == "no significant difference"
    assert "61.7 against 61.7, +0.0 points" in sentence


def test_unpaired_comparisons_say_so() -> None:
    a, b = [1.0] * 300 + [0.0] * 100, [1.0] * 200 + [0.0] * 150
    difference = unpaired_difference(a, b)
    found = verdict(difference, unpaired_p(a, b).value, smallest_difference(difference))
    assert found.word == "better"
    assert found.sentence.startswith("The model is better than the baseline: 75.0 against 57.1")
    assert found.sentence.endswith(", unpaired, 400 and 350 questions.")
