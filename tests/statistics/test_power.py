"""Smallest differences and numbers of questions, by formula, by hand and by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from iha_eval.statistics import (
    ALPHA,
    Difference,
    Pairs,
    mcnemar_power,
    paired_difference,
    paired_p,
    required_questions,
    smallest_difference,
    unpaired_difference,
    unpaired_p,
)
from iha_eval.statistics.paired import mid_p
from iha_eval.statistics.power import enough_questions


def with_pairs(n: int, discordant: int, size: float = 1.0) -> Difference:
    a = [size] * (discordant // 2) + [0.0] * (n - discordant // 2)
    b = [0.0] * (discordant // 2) + [size] * (discordant - discordant // 2)
    return paired_difference(a, b + [0.0] * (n - discordant))


def test_power_by_hand() -> None:
    # Five questions, all discordant, rejected only if all lean one way.
    assert mcnemar_power(5, 1.0, 0.0) == pytest.approx(2 / 32)
    assert mcnemar_power(5, 1.0, 0.5) == pytest.approx(0.75**5 + 0.25**5)
    assert mcnemar_power(4, 1.0, 1.0) == 0.0
    assert mcnemar_power(5, 0.0, 1.0) == pytest.approx(1.0)


def test_a_p_value_of_just_the_level_rejects() -> None:
    # Four questions all one way: half of 2/16.
    assert mcnemar_power(4, 1.0, 1.0, alpha=1 / 16) == pytest.approx(1.0)


@pytest.mark.parametrize("count", [1, 5, 20, 63, 129])
def test_what_is_rejected_is_what_the_test_rejects(count: int) -> None:
    rejected = [mid_p(count - few, few) <= ALPHA for few in range(count // 2 + 1)]
    # All questions are discordant, and as many lean either way.
    chances = stats.binom.pmf(np.arange(len(rejected)), count, 0.5)
    assert mcnemar_power(count, 1.0, 0.0) == pytest.approx(2 * float(chances @ rejected))


def test_power_without_discordant_questions() -> None:
    assert mcnemar_power(100, 0.0, 0.0) == 0.0


def test_discordance_is_raised_to_what_the_difference_takes() -> None:
    # Then all discordant questions lean one way, and five of them are enough.
    assert mcnemar_power(200, 0.01, 0.05) == pytest.approx(stats.binom.sf(4, 200, 0.05), rel=1e-6)


@pytest.mark.parametrize(("n", "discordant"), [(500, 50), (500, 150), (1319, 200), (4500, 900)])
def test_smallest_difference_is_near_the_textbook_one(n: int, discordant: int) -> None:
    # Connor, "Sample size for testing differences in proportions for the paired-sample design",
    # 1987, solved for the difference; the mid-p test needs about as much.
    share = discordant / n
    high, low = stats.norm.ppf(0.975), stats.norm.ppf(0.8)
    textbook = (high + low) * math.sqrt(share / n)
    for _ in range(50):
        textbook = (high * math.sqrt(share) + low * math.sqrt(share - textbook**2)) / math.sqrt(n)
    found = smallest_difference(with_pairs(n, discordant))
    assert found is not None
    assert -0.02 <= found / 100 / textbook - 1 < 0.05


def test_all_concordant_questions_take_about_seven_over_n() -> None:
    found = smallest_difference(with_pairs(500, 0))
    assert found is not None
    assert stats.binom.sf(4, 500, found / 100) == pytest.approx(0.8, abs=1e-3)
    assert found == pytest.approx(100 * 6.7 / 500, rel=0.01)


def test_fractions_scale_with_what_questions_differ_by() -> None:
    whole, quarter = (smallest_difference(with_pairs(400, 80, size)) for size in (1.0, 0.25))
    assert whole is not None
    assert quarter == pytest.approx(whole / 4)


def test_fewer_than_ten_discordant_questions_say_nothing_about_their_size() -> None:
    whole, small = (smallest_difference(with_pairs(400, 9, size)) for size in (1.0, 0.25))
    assert whole == small


@pytest.mark.parametrize("n", [0, 1, 4])
def test_too_few_questions_show_nothing(n: int) -> None:
    assert smallest_difference(with_pairs(n, 0)) is None


def test_five_questions_show_a_difference_just_short_of_everything() -> None:
    found = smallest_difference(with_pairs(5, 0))
    assert found == pytest.approx(100 * 0.8 ** (1 / 5), rel=1e-4)


def test_stricter_levels_and_powers_show_less() -> None:
    seen = with_pairs(500, 60)
    usual = smallest_difference(seen)
    assert usual is not None
    for stricter in ({"alpha": 0.01}, {"power": 0.95}):
        other = smallest_difference(seen, **stricter)
        assert other is not None
        assert other > usual


@pytest.mark.parametrize(
    ("n", "discordant"), [(500, 0.12), (120, 0.3), (500, 0.01)], ids=["cell", "few", "scarce"]
)
def test_differences_of_the_promised_size_are_found(n: int, discordant: float) -> None:
    smallest = smallest_difference(with_pairs(n, round(n * discordant)))
    assert smallest is not None
    lean = smallest / 100
    share = max(round(n * discordant) / n, lean)
    generator = np.random.default_rng(12)
    chances = ((share + lean) / 2, (share - lean) / 2, 1 - share)
    trials, found = 4000, 0
    drawn = np.unique(generator.multinomial(n, chances, trials), axis=0, return_counts=True)
    for (higher, lower, same), times in zip(*drawn, strict=True):
        a = np.repeat((1.0, 0.0, 1.0), (higher, lower, same))
        b = np.repeat((0.0, 1.0, 1.0), (higher, lower, same))
        p = paired_p(a, b).value
        assert p is not None
        found += int(times) * (p <= ALPHA)
    assert 0.78 <= found / trials <= 0.82


def test_fractional_differences_of_the_promised_size_are_found() -> None:
    n, trials = 200, 500
    generator = np.random.default_rng(6)
    # Differences of one to four eighths, either way, on half of the questions.
    sizes = generator.integers(1, 5, (trials, n)) / 8 * (generator.random((trials, n)) < 0.5)
    typical = paired_difference(sizes[0], np.zeros(n))
    smallest = smallest_difference(typical)
    assert smallest is not None
    up = (1 + smallest / 100 / sizes.mean()) / 2
    signs = np.where(generator.random((trials, n)) < up, 1, -1)
    a, b = 0.5 + signs * sizes, np.full((trials, n), 0.5)
    p_values = [paired_p(*run, resamples=399).value for run in zip(a, b, strict=True)]
    found = sum(p is not None and p <= ALPHA for p in p_values)
    assert found >= 0.75 * trials


def test_unpaired_differences_of_the_promised_size_are_found() -> None:
    n_a, n_b, share = 400, 300, 0.5
    seen = unpaired_difference([1, 0] * (n_a // 2), [1, 0] * (n_b // 2))
    smallest = smallest_difference(seen)
    assert smallest is not None
    generator = np.random.default_rng(3)
    lean = smallest / 200
    found = 0
    for a, b in zip(
        generator.binomial(n_a, share + lean, 400),
        generator.binomial(n_b, share - lean, 400),
        strict=True,
    ):
        p = unpaired_p([1] * a + [0] * (n_a - a), [1] * b + [0] * (n_b - b)).value
        assert p is not None
        found += p <= ALPHA
    assert found >= 300


@pytest.mark.parametrize(("a", "b"), [([1], [0]), ([], [1])], ids=["one each", "one side empty"])
def test_too_few_unpaired_questions_show_nothing(a: list[float], b: list[float]) -> None:
    assert smallest_difference(unpaired_difference(a, b)) is None


@pytest.mark.parametrize(("points", "share"), [(5, 0.15), (-5, 0.15), (2, 0.0), (0.8, 0.3)])
def test_required_questions_and_smallest_difference_agree(points: float, share: float) -> None:
    n = required_questions(points, share)
    assert n is not None
    lean = abs(points) / 100
    assert mcnemar_power(n, share, lean) >= 0.8 > mcnemar_power(n - 1, share, lean)
    pairs = Pairs(round(n * share), 0, 1.0)
    seen = Difference(n, n, 0, with_pairs(10, 0).estimate, "ok", pairs)
    assert smallest_difference(seen) == pytest.approx(abs(points), rel=0.02)


def test_required_questions_shrink_with_the_size_of_what_differs() -> None:
    assert required_questions(3, 0.3, size=0.25) == required_questions(12, 0.3)


def test_more_questions_than_anyone_has() -> None:
    assert required_questions(0.01, 0.5) is None


@pytest.mark.parametrize(("points", "size"), [(0, 1.0), (101, 1.0), (30, 0.25)])
def test_differences_that_cannot_be(points: float, size: float) -> None:
    with pytest.raises(ValueError, match=f"{points} points is not between 0 and {100 * size}"):
        required_questions(points, 0.5, size=size)


def test_pairs_carry_over() -> None:
    assert with_pairs(500, 60).pairs == Pairs(higher=30, lower=30, size=1.0)


@pytest.mark.parametrize("margin", [2.0, 5.0])
def test_as_many_questions_as_would_do_have_an_interval_as_long_as_the_margin(
    margin: float,
) -> None:
    enough = enough_questions(with_pairs(200, 40), margin)
    again = with_pairs(enough, enough // 5).estimate
    assert again is not None
    assert 0.9 * margin < again.high - again.low <= margin


def test_as_many_questions_as_would_do_show_the_difference_among_many() -> None:
    a = [1.0] * 30 + [0.0] * 15 + [0.5] * 155
    seen = paired_difference(a, [1 - score for score in a])
    assert seen.estimate is not None
    assert seen.estimate.low > 0
    enough = enough_questions(seen, 5.0, alpha=0.05 / 12)
    power = mcnemar_power(enough, 45 / 200, 15 / 200, alpha=0.05 / 12)
    assert 0.75 < power < 0.87
