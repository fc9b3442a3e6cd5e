"""What is promised of the paired statistics in the long run, tried on simulated runs."""

import itertools

import numpy as np
import pytest
from scipy import stats

from iha_eval.statistics import holm, paired_difference, paired_p
from iha_eval.statistics.paired import tango
from iha_eval.statistics.scores import ALPHA

GRADES = 8


def sampled(
    generator: np.random.Generator, shape: tuple[int, ...], grades: int
) -> tuple[np.ndarray, np.ndarray]:
    """Two runs of one model: equal chances on every question, answers drawn anew in each run."""
    chances = generator.beta(0.6, 0.5, shape)
    one, other = (generator.binomial(grades, chances) / grades for _ in range(2))
    return one, other


def at_most_nominal(alarms: int, trials: int) -> bool:
    """Whether so many alarms are plausible (1 in 1000) where each has a chance of 5% at most."""
    return alarms <= stats.binom.ppf(0.999, trials, ALPHA)


@pytest.mark.parametrize(
    ("questions", "grades"),
    [(60, 1), (500, 1), (12, GRADES), (100, GRADES)],
    ids=["0/1, small", "0/1, one cell", "fractions, counted", "fractions, drawn"],
)
def test_a_model_against_itself_seldom_raises_an_alarm(questions: int, grades: int) -> None:
    generator = np.random.default_rng(2024)
    runs = sampled(generator, (1000, questions), grades)
    p_values = [paired_p(a, b, resamples=399).value for a, b in zip(*runs, strict=True)]
    alarms = sum(p is not None and p <= ALPHA for p in p_values)
    assert at_most_nominal(alarms, 1000)
    # A test that never says anything would pass the line above.
    assert alarms >= 10


def test_families_of_cells_seldom_raise_an_alarm_after_holm() -> None:
    generator = np.random.default_rng(77)
    families, cells = 150, 9
    a, b = sampled(generator, (families, cells, 500), 1)
    p_values = [[paired_p(a[f, c], b[f, c]).value for c in range(cells)] for f in range(families)]
    raw = sum(min(p for p in family if p is not None) <= ALPHA for family in p_values)
    corrected = sum(min(p for p in holm(family) if p is not None) <= ALPHA for family in p_values)
    assert at_most_nominal(corrected, families)
    # Without the correction, nine cells raise far more.
    assert not at_most_nominal(raw, families)


@pytest.mark.parametrize("fractions", [False, True], ids=["0/1", "fractions"])
def test_the_interval_covers_the_truth(fractions: bool) -> None:
    generator = np.random.default_rng(31)
    trials, questions = 400, 150
    # Right for both, for a only, for b only, for neither; a is 10 points ahead.
    kinds = generator.choice(4, (trials, questions), p=(0.5, 0.2, 0.1, 0.2))
    a, b = np.isin(kinds, (0, 1)) * 1.0, np.isin(kinds, (0, 2)) * 1.0
    truth = 10.0
    if fractions:
        # Shrinks every question's difference by a factor with a mean of 1/2.
        factor = generator.integers(0, 5, a.shape) / 4
        a, b, truth = a * factor, b * factor, 5.0
    covered = 0
    for run in zip(a, b, strict=True):
        found = paired_difference(*run).estimate
        assert found is not None
        covered += found.low <= truth <= found.high
    assert 0.925 <= covered / trials <= 0.975


@pytest.mark.parametrize("discordant", [0.002, 0.01, 0.02], ids=lambda share: f"{share:.1%}")
def test_the_interval_of_few_discordant_questions_covers_the_truth(discordant: float) -> None:
    # Every table that has a chance worth counting: nothing is drawn.
    n, truth, covered = 500, 0.6 * discordant, 0.0
    for higher, lower in itertools.product(range(25), range(15)):
        interval = tango(higher, lower, n)
        if interval.low <= truth <= interval.high:
            counts = [higher, lower, n - higher - lower]
            shares = [0.8 * discordant, 0.2 * discordant, 1 - discordant]
            covered += float(stats.multinomial.pmf(counts, n, shares))
    assert covered >= 0.93
