import math
import warnings
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from iha_eval.statistics import unpaired_difference, unpaired_p
from iha_eval.statistics.scores import ALPHA


def right(count: int, n: int) -> list[float]:
    return [1.0] * count + [0.0] * (n - count)


# Newcombe, "Interval estimation for the difference between independent proportions", 1998, table
# II, method 10.
@pytest.mark.parametrize(
    ("a", "n_a", "b", "n_b", "low", "high"),
    [
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (5, 56, 0, 29, -0.0381, 0.1926),
        (0, 10, 0, 10, -0.2775, 0.2775),
        (10, 10, 0, 10, 0.6075, 1.0),
    ],
)
def test_published_intervals(a: int, n_a: int, b: int, n_b: int, low: float, high: float) -> None:
    found = unpaired_difference(right(a, n_a), right(b, n_b))
    assert found.estimate is not None
    assert (found.estimate.low, found.estimate.high) == pytest.approx(
        (100 * low, 100 * high), abs=5e-3
    )
    assert found.estimate.method == "Newcombe's hybrid score interval"
    assert (found.n_a, found.n_b, found.paired, found.pairs) == (n_a, n_b, False, None)


def test_interval_agrees_with_statsmodels() -> None:
    found = unpaired_difference(right(301, 500), right(250, 480)).estimate
    expected = confint_proportions_2indep(301, 500, 250, 480, method="newcomb")
    assert found is not None
    assert (found.low / 100, found.high / 100) == pytest.approx(expected)


def test_fractions_get_welchs_interval() -> None:
    generator = np.random.default_rng(2)
    a, b = generator.beta(3, 2, 200), generator.beta(2, 2, 150)
    found = unpaired_difference(a, b)
    assert found.estimate is not None
    assert found.estimate.method.startswith("Welch's t after adding")
    # As scipy has it, of the scores and a right and a wrong answer.
    welch = stats.ttest_ind([*a, 0, 1], [*b, 0, 1], equal_var=False)
    ends = welch.confidence_interval()
    assert found.estimate.low == pytest.approx(100 * ends.low)
    assert found.estimate.high == pytest.approx(100 * ends.high)
    assert found.estimate.p == pytest.approx(welch.pvalue)


@pytest.mark.parametrize(("a", "b"), [(56, 48), (30, 33), (20, 79), (40, 40)])
def test_newcombes_p_is_the_level_at_which_the_interval_ends_at_zero(a: int, b: int) -> None:
    found = unpaired_difference(right(a, 70), right(b, 80)).estimate
    assert found is not None
    for factor, has_zero in ((0.99, True), (1.01, False)):
        level = min(found.p * factor, 1.0)
        low, high = confint_proportions_2indep(a, 70, b, 80, method="newcomb", alpha=level)
        assert (low <= 0 <= high) == (has_zero or level == 1.0)


def test_the_smallest_p_that_fishers_test_can_give() -> None:
    found = unpaired_p(right(3, 4), right(1, 4))
    tables = [stats.fisher_exact([[k, 4 - k], [4 - k, k]]).pvalue for k in range(5)]
    assert found.least <= min(tables) == pytest.approx(2 * found.least)


@pytest.mark.parametrize(
    ("a", "b", "status"),
    [
        pytest.param([], [1.0], "empty", id="no scores of a"),
        pytest.param([1.0], [None], "empty", id="no scores of b"),
        pytest.param([0.5], [1.0, 0.0], "single", id="one score"),
        pytest.param([1.0, 1.0], [0.25, 0.25], "constant", id="no variation"),
        pytest.param([0.1] * 50 + [0.2] * 9, [0.1, 0.2] * 30, "few", id="nine apart"),
        pytest.param([0.1] * 50 + [0.2] * 10, [0.1, 0.2] * 30, "ok", id="ten apart"),
    ],
)
def test_degenerate_data_have_a_name_and_no_warning(
    a: list[float], b: list[float], status: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, p = unpaired_difference(a, b), unpaired_p(a, b)
    assert found.status == status
    assert (found.estimate is None) == (status == "empty") == (p.value is None)
    if found.estimate is not None:
        assert found.estimate.low < found.estimate.points < found.estimate.high


def test_missing_scores_are_counted_on_both_sides() -> None:
    found = unpaired_difference([1, None, math.nan], [0, 1, None])
    assert (found.n_a, found.n_b, found.left_out) == (1, 2, 3)


def test_fisher() -> None:
    # Fisher's own tea: three of four cups told right on either side, p = 34/70.
    found = unpaired_p(right(3, 4), right(1, 4))
    assert found.value == pytest.approx(34 / 70)
    assert found.method == "Fisher's exact test"


def test_few_permutations_are_all_counted() -> None:
    # The largest three of six on one side: 2 of the 20 ways to part them.
    found = unpaired_p([0.7, 0.8, 0.9], [0.1, 0.2, 0.3])
    assert found.value == pytest.approx(0.1)
    assert found.method == "permutation test"


@pytest.mark.parametrize(
    ("a", "b", "p"),
    [
        pytest.param([0.5], [0.7], 1.0, id="one each"),
        # Of the means of the others, 0.9 lies farthest: one of ten.
        pytest.param([0.9], [0.1] * 4 + [0.2] * 5, 0.1, id="the farthest"),
        pytest.param([1 / 3, 0.5, 0.5], [2 / 3], 0.5, id="as far as another"),
        pytest.param([2 / 3, 1.0], [1 / 3], 2 / 3, id="as far as another, in thirds"),
    ],
)
def test_a_single_score(a: list[float], b: list[float], p: float) -> None:
    assert unpaired_p(a, b) == unpaired_p(b, a)
    assert unpaired_p(a, b).value == p


@pytest.mark.parametrize("denominator", [3, 7, 16])
def test_equal_fractions_are_told_to_be_equal(denominator: int) -> None:
    generator = np.random.default_rng(denominator)
    whole = [int(n) for n in generator.integers(0, denominator + 1, 9)]
    # On whole numbers and with every partition: nothing is rounded.
    distances = [abs(9 * sum(part) - 4 * sum(whole)) for part in combinations(whole, 4)]
    exact = sum(distance >= distances[0] for distance in distances) / len(distances)
    fractions = [n / denominator for n in whole]
    assert unpaired_p(fractions[:4], fractions[4:]).value == pytest.approx(exact)


def test_equal_models_have_a_symmetric_interval() -> None:
    scores = [i % 8 / 7 for i in range(60)]
    found = unpaired_difference(scores, scores).estimate
    assert found is not None
    assert found.points == 0
    assert found.high == -found.low > 5


def test_a_seed_gives_the_same_numbers_everywhere() -> None:
    a = [i % 9 / 8 for i in range(120)]
    b = [(i * i + i // 5) % 9 / 9 for i in range(70)]
    assert unpaired_p(a, b, seed=1).value == 758 / 10_000


def test_no_side_without_scores() -> None:
    found = unpaired_p([], [0.5])
    assert (found.value, found.method) == (None, "no test: one side has no scores")


def test_drawn_permutations_agree_with_the_t_test() -> None:
    generator = np.random.default_rng(21)
    a, b = generator.beta(2.4, 2, 120), generator.beta(2, 2, 100)
    found = unpaired_p(a, b)
    assert found.value == pytest.approx(stats.ttest_ind(a, b).pvalue, abs=0.015)
    assert found == unpaired_p(a, b) == unpaired_p(a[::-1], b[::-1])


def test_a_model_against_itself_seldom_raises_an_alarm() -> None:
    generator = np.random.default_rng(4)
    trials = 1000
    runs = generator.binomial((200, 260), 0.6, (trials, 2))
    p_values = [unpaired_p(right(a, 200), right(b, 260)).value for a, b in runs]
    alarms = sum(p is not None and p <= ALPHA for p in p_values)
    assert 10 <= alarms <= stats.binom.ppf(0.999, trials, ALPHA)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(0, 6).map(lambda n: n / 6), min_size=1, max_size=40),
    st.lists(st.floats(0, 1), min_size=1, max_size=40),
)
def test_exchanging_the_models_changes_signs_and_nothing_else(
    a: list[float], b: list[float]
) -> None:
    one = unpaired_difference(a, b).estimate
    other = unpaired_difference(b, a).estimate
    assert one is not None
    assert other is not None
    assert one.points == -other.points
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-9)
    assert -100 <= one.low <= one.points <= one.high <= 100
    p = unpaired_p(a, b, resamples=99)
    assert p == unpaired_p(b, a, resamples=99)
    assert p.value is not None
    assert 0 < p.value <= 1
