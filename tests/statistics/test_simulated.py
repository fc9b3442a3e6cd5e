"""Size, power and coverage, as docs/compare.md promises them; the long forms print its tables.

Where every outcome can be listed nothing is drawn; what is drawn has a seed.
"""

import numpy as np
import pytest
from scipy import stats

from iha_eval.statistics import (
    ALPHA,
    compare_paired,
    compare_unpaired,
    holm,
    mcnemar_power,
    paired_difference,
    seed_difference,
    smallest_difference,
    verdict,
)
from iha_eval.statistics.paired import mid_p, tango

N = 100


def exact_p(higher: int, lower: int) -> float:
    return float(stats.binomtest(higher, higher + lower).pvalue) if higher + lower else 1.0


def rejections(test: object, share: float, lean: float) -> float:
    """Chance that a test of `N` questions rejects, from all its outcomes."""
    up = (1 + lean / share) / 2
    return sum(
        float(stats.binom.pmf(count, N, share))
        * sum(
            float(stats.binom.pmf(higher, count, up))
            for higher in range(count + 1)
            if test(higher, count - higher) <= ALPHA  # type: ignore[operator]
        )
        for count in range(1, 75)
    )


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.3, 0.5])
def test_the_size_of_the_mid_p_test_is_close_to_and_not_above_five_percent(share: float) -> None:
    size, exact = rejections(mid_p, share, 0.0), rejections(exact_p, share, 0.0)
    print(f"\nsize at n = {N}, {share:.0%} discordant: mid-p {size:.3f}, exact {exact:.3f}")
    assert exact < size <= ALPHA + 0.001


@pytest.mark.parametrize(("share", "lean"), [(0.1, 0.07), (0.2, 0.11), (0.3, 0.13)])
def test_the_mid_p_test_has_more_power(share: float, lean: float) -> None:
    power, exact = rejections(mid_p, share, lean), rejections(exact_p, share, lean)
    print(f"\npower at n = {N}, {share:.0%} discordant, {100 * lean:.0f} points: ", end="")
    print(f"mid-p {power:.2f}, exact {exact:.2f}")
    assert power > exact + 0.04
    assert power == pytest.approx(mcnemar_power(N, share, lean), abs=1e-6)


def covered(interval: object, n: int, share: float, lean: float, trials: int) -> float:
    """How often an interval of `higher`, `lower` and `n` holds the truth."""
    generator = np.random.default_rng(5)
    chances = ((share + lean) / 2, (share - lean) / 2, 1 - share)
    tables = np.unique(generator.multinomial(n, chances, trials), axis=0, return_counts=True)
    held = 0
    for (higher, lower, _), times in zip(*tables, strict=True):
        low, high = interval(int(higher), int(lower), n)  # type: ignore[operator]
        held += int(times) * (low - 1e-9 <= lean <= high + 1e-9)
    return held / trials


def of_tango(higher: int, lower: int, n: int) -> tuple[float, float]:
    found = tango(higher, lower, n)
    return found.low, found.high


def of_bca(higher: int, lower: int, n: int) -> tuple[float, float]:
    values = np.repeat((1.0, -1.0, 0.0), (higher, lower, n - higher - lower))
    if higher + lower == 0:
        return 0.0, 0.0
    rng = np.random.default_rng(1)
    result = stats.bootstrap((values,), np.mean, n_resamples=999, rng=rng, vectorized=True)
    return tuple(result.confidence_interval)


def of_t(higher: int, lower: int, n: int) -> tuple[float, float]:
    values = np.repeat((1.0, -1.0, 0.0), (higher, lower, n - higher - lower))
    reach = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)
    return values.mean() - reach, values.mean() + reach


SHARES = [(n, share, lean) for n in (50, 100, 500) for share, lean in ((0.05, 0.04), (0.2, 0.05))]


@pytest.mark.parametrize(("n", "share", "lean"), SHARES)
def test_tangos_interval_covers_the_truth(n: int, share: float, lean: float) -> None:
    assert 0.92 <= covered(of_tango, n, share, lean, 2000) <= 0.99


@pytest.mark.long
@pytest.mark.parametrize(("n", "share", "lean"), SHARES)
def test_tangos_interval_beside_the_others(n: int, share: float, lean: float) -> None:
    held = {
        name: covered(interval, n, share, lean, 2000)
        for name, interval in (("Tango", of_tango), ("BCa", of_bca), ("t", of_t))
    }
    print(f"\ncoverage at n = {n}, {share:.0%} discordant, {100 * lean:g} points: {held}")
    away = {name: abs(share - 0.95) for name, share in held.items()}
    assert away["Tango"] <= min(away["BCa"], away["t"]) + 0.02


def means_of_four(
    generator: np.random.Generator, trials: int, n: int, shift: float
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of four answers that are right, of two models; and questions that suit one more."""
    skill = generator.normal(-0.5, 1.2, (trials, n))
    sides = []
    for lean in (shift / 2, -shift / 2):
        logits = skill + lean + generator.normal(0, 0.4, (trials, n))
        sides.append(generator.binomial(4, 1 / (1 + np.exp(-logits))) / 4)
    return sides[0], sides[1]


@pytest.mark.parametrize("n", [20, 100, 500])
def test_the_interval_of_fractions_covers_the_truth(n: int) -> None:
    generator = np.random.default_rng(11)
    a, b = means_of_four(generator, 1, 400_000, 0.5)
    truth = 100 * float((a - b).mean())
    held = 0
    for run in zip(*means_of_four(generator, 300, n, 0.5), strict=True):
        found = paired_difference(*run).estimate
        assert found is not None
        held += found.low <= truth <= found.high
    assert 0.91 <= held / 300 <= 1.0


def test_relative_intervals_cover_the_truth() -> None:
    generator = np.random.default_rng(12)
    a, b = means_of_four(generator, 1, 400_000, 0.5)
    truth = float(a.mean() / b.mean() - 1)
    held = 0
    for run in zip(*means_of_four(generator, 300, 150, 0.5), strict=True):
        found = paired_difference(*run).estimate
        assert found is not None
        assert found.relative_low is not None
        assert found.relative_high is not None
        held += found.relative_low <= truth <= found.relative_high
    assert 0.915 <= held / 300 <= 0.985


@pytest.mark.parametrize("compare", [compare_paired, compare_unpaired])
def test_the_interval_of_unpaired_and_paired_fractions_agree_with_their_tests(
    compare: object,
) -> None:
    """With nothing changed, at most 5% of the comparisons are clear."""
    generator = np.random.default_rng(8)
    runs = means_of_four(generator, 60, 60, 0.0)
    clear = 0
    for run in zip(*runs, strict=True):
        p = compare(*run)[1].value  # type: ignore[operator]
        clear += p is not None and p <= ALPHA
    assert clear <= stats.binom.ppf(0.999, 60, ALPHA)


def family(generator: np.random.Generator, shifts: list[float], n: int) -> list[str]:
    """The words of one comparison with a row for each shift, of which some are nearly decided."""
    compared = []
    for shift in shifts:
        skill = generator.normal(generator.choice((-5.0, 0.0, 5.0)), 1.2, n)
        a, b = (
            (generator.random(n) < 1 / (1 + np.exp(-skill - lean))).astype(float)
            for lean in (shift / 2, -shift / 2)
        )
        compared.append(compare_paired(a, b))
    corrected = holm([p.value for _, p in compared], [p.least for _, p in compared])
    return [
        verdict(difference, p, smallest_difference(difference), comparisons=len(shifts)).word
        for (difference, _), p in zip(compared, corrected, strict=True)
    ]


def test_a_model_against_itself_is_seldom_better_or_worse_in_any_row() -> None:
    generator = np.random.default_rng(21)
    trials = 60
    wrong = sum(
        any(word in ("better", "worse") for word in family(generator, [0.0] * 9, 200))
        for _ in range(trials)
    )
    assert wrong <= stats.binom.ppf(0.999, trials, ALPHA)


def test_a_difference_of_the_margin_is_seldom_called_none() -> None:
    """The claim of equivalence is wrong in 2.5% of the cases at most."""
    generator = np.random.default_rng(22)
    trials, wrong = 400, 0
    for higher, lower, same in generator.multinomial(1000, (0.15, 0.10, 0.75), trials):
        a = np.repeat((1.0, 0.0, 1.0), (higher, lower, same))
        b = np.repeat((0.0, 1.0, 1.0), (higher, lower, same))
        difference, p = compare_paired(a, b)
        wrong += verdict(difference, p.value, None).word == "no significant difference"
    assert wrong <= stats.binom.ppf(0.999, trials, 0.025)


def test_equal_models_are_called_equal_with_enough_questions() -> None:
    generator = np.random.default_rng(23)
    words = []
    for higher, lower, same in generator.multinomial(1000, (0.1, 0.1, 0.8), 100):
        a = np.repeat((1.0, 0.0, 1.0), (higher, lower, same))
        b = np.repeat((0.0, 1.0, 1.0), (higher, lower, same))
        difference, p = compare_paired(a, b)
        words.append(verdict(difference, p.value, None).word)
    assert words.count("no significant difference") >= 75


def test_rows_that_cannot_show_a_difference_cost_the_others_nothing() -> None:
    """Nine rows, of which six are answered alike: Tarone's correction counts three."""
    generator = np.random.default_rng(24)
    passed = {"holm": 0, "tarone": 0}
    for _ in range(100):
        p_values, least = [], []
        for share, lean in [(0.2, 0.09)] * 3 + [(0.004, 0.0)] * 6:
            chances = ((share + lean) / 2, (share - lean) / 2, 1 - share)
            higher, lower, _same = generator.multinomial(200, chances)
            p_values.append(mid_p(int(higher), int(lower)))
            least.append(mid_p(int(higher + lower), 0))
        for name, corrected in (("holm", holm(p_values)), ("tarone", holm(p_values, least))):
            passed[name] += sum(p is not None and p <= ALPHA for p in corrected[:3])
    print(f"\nof 300 true differences, shown after {passed}")
    assert passed["tarone"] >= passed["holm"] + 20


def trained(
    generator: np.random.Generator, seeds: tuple[int, int], n: int, between: float, shift: float
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Scores of so many training runs of two methods, which vary by `between` in logits."""
    skill = generator.normal(0, 1.2, n)
    sides = []
    for count, lean in zip(seeds, (shift, 0.0), strict=True):
        suits = skill + lean + generator.normal(0, 0.3, n)
        luck = generator.normal(0, between, (count, 1))
        right = generator.random((count, n)) < 1 / (1 + np.exp(-suits - luck))
        sides.append(list(right.astype(float)))
    return sides[0], sides[1]


def claims(seeds: tuple[int, int], n: int, between: float, shift: float, trials: int) -> float:
    generator = np.random.default_rng(31)
    found = (seed_difference(*trained(generator, seeds, n, between, shift)) for _ in range(trials))
    return sum(one is not None and one.p <= ALPHA for one in found) / trials


SEEDS = [((3, 1), 0.5), ((2, 2), 0.5), ((3, 3), 0.0), ((3, 3), 0.15), ((3, 3), 0.5), ((5, 5), 0.3)]


@pytest.mark.parametrize(("seeds", "between"), SEEDS)
def test_equal_methods_seldom_beat_each_other(seeds: tuple[int, int], between: float) -> None:
    assert claims(seeds, 200, between, 0.0, 120) <= stats.binom.ppf(0.999, 120, ALPHA) / 120


@pytest.mark.long
@pytest.mark.parametrize(("seeds", "between"), [*SEEDS, ((3, 1), 0.15)])
def test_size_and_power_by_training_runs(seeds: tuple[int, int], between: float) -> None:
    size = claims(seeds, 500, between, 0.0, 1000)
    power = claims(seeds, 500, between, 0.6, 200)
    pairs = np.random.default_rng(32)
    single = [trained(pairs, (1, 1), 500, between, 0.0) for _ in range(200)]
    alone = sum((compare_paired(a[0], b[0])[1].value or 1.0) <= ALPHA for a, b in single) / 200
    print(f"\n{seeds} runs that vary by {between}: size {size:.3f}, power {power:.2f}; ", end="")
    print(f"one run each, taken for the method: size {alone:.3f}")
    assert size <= 0.065


def test_one_training_run_each_cannot_tell_methods_apart() -> None:
    """Two checkpoints of equal methods differ; a test of the checkpoints is right to say so."""
    generator = np.random.default_rng(33)
    runs = [trained(generator, (1, 1), 500, 0.5, 0.0) for _ in range(60)]
    clear = sum((compare_paired(a[0], b[0])[1].value or 1.0) <= ALPHA for a, b in runs)
    assert clear >= 20
    with pytest.raises(ValueError, match="one training run each"):
        seed_difference(*runs[0])


def test_as_many_training_runs_as_would_do_show_the_difference() -> None:
    generator = np.random.default_rng(34)
    found = seed_difference(*trained(generator, (20, 20), 800, 0.3, 0.45))
    assert found is not None
    count = found.enough_seeds
    assert count is not None
    assert 0.6 <= claims((count, count), 800, 0.3, 0.45, 50) <= 0.98


def test_seed_and_question_variance_are_told_apart() -> None:
    generator = np.random.default_rng(35)
    many = seed_difference(*trained(generator, (8, 8), 2000, 0.6, 0.0))
    few = seed_difference(*trained(generator, (8, 8), 2000, 0.0, 0.0))
    assert many is not None
    assert few is not None
    assert many.seed_error > 3 * few.seed_error
    assert many.question_error == pytest.approx(few.question_error, rel=0.25)
    assert many.enough_seeds != few.enough_seeds


def test_scores_that_a_run_lacks_are_left_out_of_all() -> None:
    runs = [[1.0, 0.0, None, 1.0], [1.0, 0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0, 1.0]]
    found = seed_difference(*runs)
    assert found is not None
    assert (found.n, found.left_out, found.seeds_a, found.seeds_b) == (3, 1, 2, 1)
    assert seed_difference([[1.0], [0.0]], [[1.0]]) is None


def test_the_interval_by_training_runs_is_welchs_where_questions_do_not_matter() -> None:
    """All questions alike: only the runs' means count, and their t test is in every textbook."""
    levels = [0.5, 0.625, 0.75], [0.25, 0.375]
    a, b = ([[level] * 50 for level in side] for side in levels)
    found = seed_difference(a, b)
    assert found is not None
    expected = stats.ttest_ind(*levels, equal_var=False)
    assert found.question_error == 0.0
    ends = expected.confidence_interval()
    assert (found.low, found.high) == pytest.approx((100 * ends.low, 100 * ends.high))
    assert found.p == pytest.approx(expected.pvalue)
