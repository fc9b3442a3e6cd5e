"""Paired differences and p-values against other programs, published figures and by hand."""

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from iha_eval.statistics import Pairs, paired_difference, paired_p
from iha_eval.statistics.paired import EXACT_FLIPS, padded_t, tango

# Complete response before and after consolidation therapy (Cavo et al. 2012), the worked example
# of Fagerland, Lydersen and Laake, "Statistical Analysis of Contingency Tables", chapter 8.
CAVO = (59, 6, 16, 80)


def scores_of(both: int, only_a: int, only_b: int, neither: int) -> tuple[list[float], list[float]]:
    a = [1.0] * (both + only_a) + [0.0] * (only_b + neither)
    b = [1.0] * both + [0.0] * only_a + [1.0] * only_b + [0.0] * neither
    return a, b


binary_pairs = st.lists(st.tuples(st.sampled_from((0.0, 1.0)), st.sampled_from((0.0, 1.0))))
fraction_pairs = st.lists(
    st.tuples(
        st.integers(0, 16).map(lambda n: n / 16),
        st.one_of(st.integers(0, 3).map(lambda n: n / 3), st.floats(0, 1)),
    ),
    max_size=60,
)
some_pairs = st.one_of(binary_pairs, fraction_pairs)


class TestDifference:
    def test_published_table(self) -> None:
        found = paired_difference(*scores_of(*CAVO))
        assert (found.n_a, found.n_b, found.left_out, found.status) == (161, 161, 0, "ok")
        assert found.pairs == Pairs(higher=6, lower=16, size=1.0)
        assert found.paired
        assert found.estimate is not None
        assert found.estimate.mean_a == 65 / 161
        assert found.estimate.mean_b == 75 / 161
        assert found.estimate.points == pytest.approx(-1000 / 161)
        assert found.estimate.relative == pytest.approx(-10 / 75)
        assert found.estimate.method == "Tango's score interval"
        # The same book has -0.1240 to -0.0054.
        assert found.estimate.low == pytest.approx(-12.40, abs=5e-3)
        assert found.estimate.high == pytest.approx(-0.54, abs=5e-3)

    def test_relative_interval_is_the_shares_of_the_baseline_that_a_t_test_allows(self) -> None:
        generator = np.random.default_rng(5)
        b = generator.beta(3, 3, 200)
        a = np.clip(1.2 * b + generator.normal(0, 0.1, 200), 0, 1)
        found = paired_difference(a, b).estimate
        assert found is not None
        assert found.relative_low is not None
        assert found.relative_high is not None
        for end in (found.relative_low, found.relative_high):
            # Two questions are added, which moves the p-value a little.
            assert stats.ttest_rel(a, (1 + end) * b).pvalue == pytest.approx(0.05, abs=0.02)
        assert found.relative_low < 0.2 < found.relative_high

    @pytest.mark.parametrize(("higher", "lower", "n"), [(9, 3, 20), (40, 25, 129), (2, 0, 63)])
    def test_tangos_interval_is_the_differences_that_its_score_test_allows(
        self, higher: int, lower: int, n: int
    ) -> None:
        def score(difference: float) -> float:
            """The score at the likeliest share of `lower`, found by looking at all of them."""
            shares = np.linspace(max(0, -difference), (1 - difference) / 2, 400_001)[1:-1]
            likelihood = stats.multinomial.logpmf(
                [higher, lower, n - higher - lower],
                n,
                np.stack((shares + difference, shares, 1 - 2 * shares - difference), axis=-1),
            )
            best = shares[np.nanargmax(likelihood)]
            variance = (2 * best + difference - difference**2) / n
            return float(((higher - lower) / n - difference) / np.sqrt(variance))

        found = tango(higher, lower, n)
        assert score(found.low) == pytest.approx(1.96, abs=2e-3)
        assert score(found.high) == pytest.approx(-1.96, abs=2e-3)

    def test_at_zero_tangos_test_is_mcnemars(self) -> None:
        expected = mcnemar([[0, 30], [15, 0]], exact=False, correction=False).pvalue
        assert tango(30, 15, 100).p == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("a", "b", "status", "points"),
        [
            pytest.param([], [], "empty", None, id="no questions"),
            pytest.param([1], [0], "single", 100, id="one question"),
            pytest.param([1, 0, 1], [1, 0, 1], "constant", 0, id="all alike"),
            pytest.param([1, 1, 1], [0, 0, 0], "constant", 100, id="always better"),
            pytest.param([0.5, 0.75], [0.25, 0.5], "constant", 25, id="by as much each time"),
            pytest.param([1] * 50 + [0] * 9, [1] * 59, "few", -900 / 59, id="nine apart"),
            pytest.param([1] * 50 + [0] * 10, [1] * 60, "ok", -1000 / 60, id="ten apart"),
        ],
    )
    def test_degenerate_data_have_a_name_and_no_warning(
        self, a: list[float], b: list[float], status: str, points: float | None
    ) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = paired_difference(a, b)
        assert found.status == status
        if points is None:
            assert found.estimate is None
        else:
            assert found.estimate is not None
            assert found.estimate.points == pytest.approx(points)
            assert found.estimate.low < found.estimate.high

    def test_scores_that_are_missing_are_left_out_and_counted(self) -> None:
        found = paired_difference([1, None, 1, math.nan, 0], [0, 1, None, math.nan, 0])
        assert (found.n_a, found.left_out) == (2, 3)
        assert found.estimate is not None
        assert found.estimate.points == 50

    def test_only_missing_scores(self) -> None:
        found = paired_difference([None, 1], [1, math.nan])
        assert (found.status, found.left_out, found.estimate) == ("empty", 2, None)

    def test_no_share_of_a_baseline_of_zero(self) -> None:
        found = paired_difference([1, 0], [0, 0]).estimate
        assert found is not None
        assert found.relative is None

    @pytest.mark.parametrize("score", [-0.1, 1.5, math.inf])
    def test_scores_out_of_range(self, score: float) -> None:
        with pytest.raises(ValueError, match=rf"between 0 and 1, and one is {score}"):
            paired_difference([0, score], [0, 1])

    def test_unequal_numbers(self) -> None:
        with pytest.raises(ValueError, match="equally many, not 2 and 1"):
            paired_difference([0, 1], [1])

    def test_size_is_the_root_mean_square_of_what_differs(self) -> None:
        found = paired_difference([0.5, 1, 0, 1], [0.5, 0.25, 0.25, 1])
        assert found.pairs == Pairs(higher=1, lower=1, size=math.sqrt((0.75**2 + 0.25**2) / 2))
        assert found.pairs.discordant == 2

    def test_a_seed_gives_the_same_numbers_everywhere(self) -> None:
        a = [i % 9 / 8 for i in range(120)]
        b = [(i * i + i // 5) % 9 / 9 for i in range(120)]
        assert paired_p(a, b, seed=1).value == 972 / 20_000

    def test_order_of_questions_does_not_matter(self) -> None:
        generator = np.random.default_rng(5)
        a, b = generator.random(300), generator.random(300)
        order = generator.permutation(300)
        assert paired_difference(a, b) == paired_difference(a[order], b[order])
        assert paired_p(a, b) == paired_p(a[order], b[order])

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(some_pairs)
    @example([(0.0, 1.0)] * 12 + [(1.0, 0.0)] * 12)
    @example([(0.5, 1 / 3)] * 12 + [(1 / 3, 0.5)] * 12)
    def test_exchanging_the_models_changes_signs_and_nothing_else(
        self, pairs: list[tuple[float, float]]
    ) -> None:
        a, b = [x for x, _ in pairs], [y for _, y in pairs]
        one, other = (paired_difference(*both).estimate for both in ((a, b), (b, a)))
        if one is None or other is None:
            assert not pairs
            return
        assert one.points == -other.points
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-9)
        assert -100 <= one.low <= one.points <= one.high <= 100
        p, mirrored = paired_p(a, b, resamples=99), paired_p(b, a, resamples=99)
        assert p == mirrored
        assert p.value is not None
        assert 0 < p.value <= 1


class TestPaddedT:
    def test_published_example(self) -> None:
        # The same table and book: -0.1195 to -0.0032 with the adjustment of Bonett and Price, who
        # take z = 1.96 where t with 162 degrees of freedom is 1.975.
        a, b = scores_of(*CAVO)
        found = padded_t(np.subtract(a, b), 1.0)
        reach = (found.high - found.low) / 2
        middle = (found.high + found.low) / 2
        scale = 1.959964 / stats.t.ppf(0.975, 162) * math.sqrt(162 / 163)
        ends = (middle - scale * reach, middle + scale * reach)
        assert ends == pytest.approx((-0.1195, -0.0032), abs=5e-5)

    def test_reach_without_any_difference_is_that_of_the_rule_of_three(self) -> None:
        found = padded_t(np.zeros(1000), 1.0)
        assert found.high == -found.low == pytest.approx(3 / 1000, rel=0.1)

    def test_many_fractions_have_the_t_interval(self) -> None:
        differences = np.random.default_rng(3).normal(0.1, 0.2, 1000).clip(-1, 1)
        found = padded_t(differences, float(np.abs(differences).max()))
        expected = stats.ttest_1samp(differences, 0.0).confidence_interval()
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-3)


class TestPValue:
    @pytest.mark.parametrize(
        ("counts", "p"),
        [
            pytest.param(CAVO, 0.034690, id="Cavo 2012, published"),
            # Airway hyper-responsiveness (Bentur et al. 2009), the other example of that chapter.
            pytest.param((1, 1, 7, 12), 0.0390625, id="Bentur 2009, published"),
            pytest.param((5, 0, 0, 5), 1.0, id="all concordant"),
            pytest.param((0, 4, 4, 0), 1.0, id="as many either way"),
            pytest.param((0, 5, 0, 0), 0.03125, id="five, all one way"),
        ],
    )
    def test_mcnemar(self, counts: tuple[int, int, int, int], p: float) -> None:
        found = paired_p(*scores_of(*counts))
        assert found.value == pytest.approx(p, abs=5e-7)
        assert found.method == "mid-p McNemar"

    @pytest.mark.parametrize(
        ("only_a", "only_b"), [(0, 1), (3, 8), (40, 60), (200, 150), (1000, 1000)]
    )
    def test_mcnemar_agrees_with_statsmodels(self, only_a: int, only_b: int) -> None:
        exact = mcnemar([[17, only_a], [only_b, 23]], exact=True).pvalue
        unequal = only_a + only_b
        expected = exact - stats.binom.pmf(only_a, unequal, 0.5) if only_a != only_b else 1.0
        found = paired_p(*scores_of(17, only_a, only_b, 23))
        assert found.value == pytest.approx(expected, rel=1e-9)
        assert found.least == pytest.approx(0.5**unequal)

    def test_nothing_to_test(self) -> None:
        found = paired_p([None], [1.0])
        assert (found.value, found.method) == (None, "no test: no question has both scores")

    def test_few_sign_flips_are_counted_as_scipy_counts_them(self) -> None:
        generator = np.random.default_rng(8)
        a = generator.integers(0, 5, 11) / 4
        b = generator.integers(0, 4, 11) / 3
        found = paired_p(a, b)
        expected = stats.permutation_test(
            (a, b),
            lambda x, y, axis: np.abs(np.mean(x - y, axis=axis)),
            permutation_type="samples",
            vectorized=True,
            n_resamples=np.inf,
            alternative="greater",
        ).pvalue
        assert found.value == pytest.approx(expected)
        assert found.method == "sign flips, all counted"

    def test_equal_fractions_are_told_to_be_equal(self) -> None:
        # Thirds are no binary fractions: 1 - 2/3 and 1/3 - 0 differ in the last digit. Of the
        # eight patterns of signs, only the two with equal signs are as extreme.
        assert paired_p([1, 1 / 3, 2 / 3], [2 / 3, 0, 1 / 3]).value == 0.25
        signed = paired_p([1, 1 / 3, 0], [2 / 3, 0, 1 / 3])
        assert signed.value == 1.0

    def test_fractions_without_any_difference(self) -> None:
        assert paired_p([0.5, 0.25], [0.5, 0.25]).value == 1.0

    def test_many_sign_flips_are_drawn(self) -> None:
        generator = np.random.default_rng(9)
        # Halves either way: the p-value is McNemar's, so that the drawn one has an exact oracle.
        signs = generator.permutation([1.0] * 38 + [-1.0] * 22)
        a, b = 0.5 + signs / 4, 0.5 - signs / 4
        found = paired_p(a, b, seed=4)
        exact = stats.binomtest(22, 60).pvalue
        assert found.value == pytest.approx(exact, abs=5 * math.sqrt(exact / 20_000))
        assert found.method == "sign flips, 19,999 drawn"
        assert found == paired_p(a, b, seed=4)
        assert found.value != paired_p(a, b, seed=5).value

    def test_drawn_and_counted_meet(self) -> None:
        sizes = [(i % 4 + 1) / 4 for i in range(EXACT_FLIPS)]
        a = [size if i % 3 else 0.0 for i, size in enumerate(sizes)]
        b = [0.0 if i % 3 else size for i, size in enumerate(sizes)]
        counted = paired_p(a, b)
        # One more difference, too small to matter, and signs are drawn.
        drawn = paired_p([*a, 0.0], [*b, 1e-4])
        assert (counted.method, drawn.method) == (
            "sign flips, all counted",
            "sign flips, 19,999 drawn",
        )
        assert drawn.value == pytest.approx(counted.value, abs=0.02)

    def test_drawn_p_is_never_zero(self) -> None:
        assert paired_p([0.5] * 100, [0.0] * 100, resamples=999).value == 1 / 1000

    def test_drawing_in_batches_changes_nothing_but_the_draws(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        a = list(itertools.islice(itertools.cycle((0.5, 0.75, 0.25, 1.0)), 90))
        b = list(itertools.islice(itertools.cycle((0.5, 0.25, 0.5, 0.75, 0.75)), 90))
        whole = paired_p(a, b, resamples=1_000).value
        monkeypatch.setattr("iha_eval.statistics.paired.BATCH_NUMBERS", 64 * 70)
        parts = paired_p(a, b, resamples=1_000).value
        assert whole == pytest.approx(parts, abs=0.08)
        assert parts is not None
        # Every draw is counted once: p is a whole number of the 1001.
        assert parts * 1_001 == pytest.approx(round(parts * 1_001))
