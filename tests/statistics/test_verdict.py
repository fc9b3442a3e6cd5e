import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iha_eval.statistics import (
    Difference,
    Estimate,
    Pairs,
    compare_paired,
    compare_unpaired,
    holm,
    paired_difference,
    smallest_difference,
    verdict,
)


def judge(a: list[float | None], b: list[float | None], **options: object) -> tuple[str, str]:
    difference, p = compare_paired(a, b)
    smallest = smallest_difference(difference)
    found = verdict(difference, p.value, smallest, names=("IHA", "global attention"), **options)
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
    assert "corrected p = 0.0019, 500 questions." in sentence


def test_no_significant_difference_where_the_interval_lies_within_the_margin() -> None:
    word, sentence = judge(*table(300, 22, 20, 158))
    assert word == "no significant difference"
    assert sentence.startswith("No significant difference between IHA and global attention: ")
    assert sentence.endswith("500 questions; the interval stays within 5 points.")


def test_an_interval_that_leaves_zero_out_is_no_equivalence() -> None:
    """+3.1 points with an interval from +0.4 to +6.6 was once "no significant difference"."""
    a, b = table(300, 40, 22, 138)
    difference, p = compare_paired(a, b)
    assert difference.estimate is not None
    assert 0 < difference.estimate.low < difference.estimate.high < 7
    assert p.value is not None
    found = verdict(difference, 12 * p.value, 6.0, comparisons=12, margin=10.0)
    assert (found.word, found.clear_alone) == ("not enough data", True)
    assert "; clear alone, not among 12 comparisons; about " in found.sentence
    assert found.enough is not None
    assert found.enough > 500


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-4.9, 4.9, "no significant difference"),
        (-5.1, 4.0, "not enough data"),
        (-4.0, 5.1, "not enough data"),
        (-4.0, 5.0, "not enough data"),
    ],
)
def test_both_ends_of_the_interval_count(low: float, high: float, word: str) -> None:
    numbers = Estimate(0.5, 0.5, 0.0, 0.0, low, high, "")
    difference = Difference(90, 90, 0, numbers, "ok", Pairs(3, 3, 1.0))
    # That these questions could have shown little is no reason to say "none".
    assert verdict(difference, 1.0, 2.0).word == word


def test_not_enough_data_says_how_many_questions_would_do() -> None:
    word, sentence = judge(*table(10, 4, 3, 23))
    assert word == "not enough data"
    assert sentence.startswith("Not enough data to tell IHA from global attention: 35.0 against ")
    assert "40 questions; these questions could have shown a difference of 16.8 points" in sentence
    told = re.search(r"; about ([\d,]+) would tell 5 points from none\.$", sentence)
    assert told
    enough = int(told[1].replace(",", ""))
    assert judge(*table(*(round(count * enough / 40) for count in (10, 4, 3, 23))))[0] != word


def test_the_margin_decides_what_is_enough() -> None:
    data = table(300, 22, 20, 158)
    assert judge(*data, margin=2.0)[0] == "not enough data"
    assert judge(*data, margin=3.9)[0] == "no significant difference"


def test_the_level_decides_what_is_significant() -> None:
    data = table(300, 20, 45, 135)
    assert judge(*data, alpha=0.001)[0] != "worse"


def test_correction_can_take_significance_away() -> None:
    difference, p = compare_paired(*table(300, 35, 20, 145))
    assert p.value is not None
    assert p.value < 0.05
    assert verdict(difference, 0.045, 4.0).word == "better"
    found = verdict(difference, 0.08, 4.0, comparisons=2)
    assert (found.word, found.clear_alone) == ("not enough data", True)


@pytest.mark.parametrize(
    ("scores", "end"),
    [
        ([1.0], "1 question; so few questions cannot show a difference of any size; about "),
        ([1.0, 0.0], "2 questions; so few questions cannot show a difference of any size; about "),
    ],
)
def test_a_handful_of_questions(scores: list[float | None], end: str) -> None:
    word, sentence = judge(scores, scores)
    assert word == "not enough data"
    assert end in sentence
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


def test_all_concordant_questions() -> None:
    word, sentence = judge([1.0] * 500, [1.0] * 500)
    assert word == "no significant difference"
    assert "corrected p = 1.00" in sentence
    assert "+0.0 points (95% interval -0.8 to +0.8)" in sentence


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.0496, "0.0496"), (0.04999, "0.04999"), (0.0504, "0.0504"), (0.05, "0.05"), (0.2, "0.20")],
)
def test_p_is_not_rounded_to_the_level(p: float, shown: str) -> None:
    difference = compare_paired(*table(300, 35, 20, 145))[0]
    assert f"corrected p = {shown}," in verdict(difference, p, 4.0).sentence


def test_an_end_of_the_interval_is_not_rounded_to_zero() -> None:
    numbers = Estimate(0.5, 0.4, 10.0, 0.25, 0.03, 20.0, "", 0.049)
    difference = Difference(90, 90, 0, numbers, "ok", Pairs(20, 11, 1.0))
    assert "(95% interval +0.03 to +20.0)" in verdict(difference, 0.049, 7.0).sentence


def test_a_difference_of_less_than_a_tenth_keeps_its_sign() -> None:
    word, sentence = judge(*table(1300, 20, 21, 800))
    assert word == "no significant difference"
    assert "61.7 against 61.7, -0.05 points" in sentence


def test_unpaired_comparisons_say_so() -> None:
    a, b = [1.0] * 300 + [0.0] * 100, [1.0] * 200 + [0.0] * 150
    difference, p = compare_unpaired(a, b)
    found = verdict(difference, p.value, smallest_difference(difference))
    assert found.word == "better"
    assert found.sentence.startswith("The model is better than the baseline: 75.0 against 57.1")
    assert found.sentence.endswith(", unpaired, 400 and 350 questions.")


scores = st.one_of(st.sampled_from((0.0, 1.0)), st.integers(0, 4).map(lambda n: n / 4))
binary = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 600)).map(
    lambda counts: table(counts[2] // 2, counts[0], counts[1], counts[2] - counts[2] // 2)
)
fractions = st.lists(st.tuples(scores, scores), min_size=1, max_size=60).map(
    lambda pairs: tuple(map(list, zip(*pairs, strict=True)))
)
rows = st.lists(st.tuples(st.one_of(binary, fractions), st.booleans()), min_size=1, max_size=9)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(rows, st.sampled_from((1.0, 5.0, 20.0)))
def test_words_intervals_and_p_values_never_contradict_each_other(
    family: list[tuple[tuple[list, list], bool]], margin: float
) -> None:
    compared = [(compare_paired if paired else compare_unpaired)(*runs) for runs, paired in family]
    corrected = holm([p.value for _, p in compared], [p.least for _, p in compared])
    for (difference, raw), p in zip(compared, corrected, strict=True):
        found = verdict(difference, p, None, margin=margin, comparisons=len(family))
        numbers = difference.estimate
        if numbers is None:
            assert (found.word, p) == ("not enough data", None)
            continue
        assert raw.value is not None
        assert p is not None
        low, high = numbers.low, numbers.high
        assert low <= numbers.points <= high
        # The interval leaves 0 out where the row's own p is at most 0.05.
        assert (low > 0 or high < 0) if raw.value <= 0.05 else (low <= 0 <= high)
        assert (found.word == "better") == (p <= 0.05 and low >= 0 and numbers.points > 0)
        assert (found.word == "worse") == (p <= 0.05 and high <= 0 and numbers.points < 0)
        equivalent = low <= 0 <= high and max(-low, high) < margin
        assert (found.word == "no significant difference") == equivalent
        assert found.clear_alone == (raw.value <= 0.05 < p)
        assert ("clear alone" in found.sentence) == found.clear_alone
        if numbers.relative_low is not None:
            assert numbers.relative is not None
            assert numbers.relative_low <= numbers.relative <= numbers.relative_high
            assert (numbers.relative_low <= 0 <= numbers.relative_high) == (low <= 0 <= high)
        assert (found.enough is not None) == (found.word == "not enough data")
        if found.enough is not None:
            assert found.enough > max(difference.n_a, difference.n_b)
        told = re.search(r"corrected p (= ([\d.e-]+)|< 0\.0001)", found.sentence)
        assert told
        assert np.sign(float(told[2] or 0.0) - 0.05) == np.sign(p - 0.05)
