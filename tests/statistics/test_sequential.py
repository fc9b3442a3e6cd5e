"""Watching nights: the plain statistic, the bars of docs/nightly.md in a fast form, odd nights.

`python -m tests.statistics.test_sequential N` prints the figures of docs/nightly.md, on N seeds.
"""

import math
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iha_eval.statistics.difference import two_sided
from iha_eval.statistics.paired import padded_t, tango
from iha_eval.statistics.sequential import (
    LEAST_THRESHOLD,
    Watch,
    _Sums,
    clear_since,
    drop_z,
    look_confidence,
    threshold,
    watch,
)

# One metric against earlier nights and against a baseline, at the default budget.
ALARM = threshold(0.5 / 2)


def plain_z(window: list[list[float]], before: list[list[float]], exact: bool) -> float:
    """The statistic as its docstring says it, question by question."""
    total = squares = noise = 0.0
    for question in range(len(window[0])):
        late = [row[question] for row in window if not math.isnan(row[question])]
        early = [row[question] for row in before if not math.isnan(row[question])]
        if not late or not early:
            continue
        difference = sum(late) / len(late) - sum(early) / len(early)
        total += difference
        squares += difference**2
        both = late if exact else late + early
        center = sum(both) / len(both)
        variance = sum((score - center) ** 2 for score in both) / max(1, len(both) - 1)
        noise += variance * (1 / len(late) + (0 if exact else 1 / len(early)))
    spread = max(squares, noise)
    return -total / math.sqrt(spread) if spread > 1e-12 else 0.0


@pytest.mark.parametrize("questions", [1, 63, 129, 1000])
@pytest.mark.parametrize("exact", [False, True])
def test_the_statistic_is_the_plain_one(questions: int, exact: bool) -> None:
    generator = np.random.default_rng(questions)
    for late, early in ((1, 1), (1, 5), (4, 3)):
        rows = generator.random((late + early, questions)).round(1)
        rows[generator.random(rows.shape) < 0.1] = np.nan
        window, before = rows[:late], rows[late:]
        z, _ = drop_z(_Sums.of(window), _Sums.of(before), exact=exact)
        assert z == pytest.approx(plain_z(window.tolist(), before.tolist(), exact), abs=1e-9)


def test_two_nights_are_mcnemar() -> None:
    # 9 questions lost, 2 won.
    z, drop = drop_z(_Sums.of(np.eye(1, 20)[0] * 0), _Sums.of(np.zeros(20)))
    assert (z, drop) == (0.0, 0.0)
    before = np.array([1.0] * 9 + [0.0] * 2 + [1.0] * 9)
    after = np.array([0.0] * 9 + [1.0] * 2 + [1.0] * 9)
    z, drop = drop_z(_Sums.of(after), _Sums.of(before))
    assert (z, drop) == (pytest.approx((9 - 2) / math.sqrt(9 + 2)), pytest.approx(7 / 20))


def test_a_smaller_budget_asks_for_more() -> None:
    budgets = (10.0, 0.5, 0.25, 0.05, 0.01, 1e-6)
    found = [threshold(budget) for budget in budgets]
    assert found == sorted(found)
    assert found[0] == LEAST_THRESHOLD
    assert found[-1] < 7


# --- Simulated nights: fixed questions, of whose verdicts about 8% differ between two nights.


def chances(generator: np.random.Generator, n: int) -> np.ndarray:
    """How likely each question is answered right: three in four, most always alike."""
    chance = np.zeros(n)
    unsure = round(0.24 * n)
    chance[:unsure] = generator.uniform(0, 1, unsure)
    chance[unsure : unsure + round(0.75 * n - unsure / 2)] = 1.0
    generator.shuffle(chance)
    return chance


def red(found: Watch, nights: int) -> np.ndarray:
    """Whether a drop stands, night by night."""
    stands = np.zeros(nights, bool)
    for drop in found.drops:
        stands[drop.alarm : nights if drop.ended is None else drop.ended] = True
    return stands


def losing(seed: int, n: int, good: int, lost: list[int]) -> tuple[Watch, np.ndarray]:
    """Good nights, then nights on which so many questions that were right are wrong for good."""
    generator = np.random.default_rng(seed)
    chance = chances(generator, n)
    order = generator.permutation(np.flatnonzero(chance > 0.5))
    rows = [chance] * good
    for count in lost:
        worse = chance.copy()
        worse[order[:count]] = 0.0
        rows = [*rows, worse]
    found = watch(generator.random((len(rows), n)) < np.array(rows), ALARM)
    return found, red(found, len(rows))[good:]


def unchanged(seed: int, n: int) -> tuple[int, int]:
    """Alarms and red nights of 60 on which nothing changes."""
    found, stands = losing(seed, n, 1, [0] * 59)
    return len(found.drops), int(stands.sum())


def five_more(seed: int) -> bool:
    return bool(losing(seed, 200, 10, [5, 10, 15, 20])[1].any())


def two_more(seed: int) -> bool:
    return bool(losing(seed, 200, 10, list(range(2, 18, 2)))[1].any())


def five_points(seed: int) -> tuple[bool, bool]:
    """Whether 12 of 225 lost are found within 7 nights, and the night is named within one."""
    found, stands = losing(seed, 225, 15, [12] * 15)
    named = found.standing is not None and abs(found.standing.since - 15) <= 1
    return bool(stands[:7].any()), named


def drift(seed: int) -> bool:
    """A point a week on 500 questions, found within six weeks."""
    return bool(losing(seed, 500, 14, [int(5 * day / 7) for day in range(1, 43)])[1].any())


def gap(seed: int, points: int) -> int:
    """Alarms in 60 nights of an unchanged gap to a baseline, on 500 questions."""
    generator = np.random.default_rng(seed)
    ours = chances(generator, 500)
    theirs = ours.copy()
    up = np.flatnonzero(ours < 0.5)[: 25 + 5 * points]
    down = np.flatnonzero(ours > 0.5)[:25]
    theirs[up], theirs[down] = 1 - 0.2 * ours[up], 0.2 * ours[down]
    shape = (60, 500)
    nights = (generator.random(shape) < ours) * 1.0 - (generator.random(shape) < theirs)
    return len(watch(nights, ALARM, reference=np.zeros(500), exact=True).drops)


def share(outcome: Callable[[int], bool], seeds: int) -> float:
    return sum(outcome(seed) for seed in range(seeds)) / seeds


SEEDS = 40


@pytest.mark.parametrize("n", [50, 200, 1000])
def test_nothing_changed_is_within_the_budget(n: int) -> None:
    alarms = [unchanged(seed, n)[0] for seed in range(SEEDS)]
    # The budget of this one watch is 0.25 in 30 nights.
    assert sum(alarms) / (2 * SEEDS) <= 0.25


def test_slow_losses_are_red_in_time() -> None:
    assert share(five_more, SEEDS) >= 0.9
    assert share(two_more, SEEDS) >= 0.9


def test_a_drop_is_found_and_its_night_is_named() -> None:
    outcomes = [five_points(seed) for seed in range(SEEDS)]
    assert sum(found for found, _ in outcomes) >= 0.95 * SEEDS
    assert sum(named for _, named in outcomes) >= 0.9 * SEEDS


def test_a_drift_of_a_point_a_week_is_red_within_six_weeks() -> None:
    assert share(drift, 20) >= 0.9


@pytest.mark.parametrize("points", [2, 3, 5])
def test_an_unchanged_gap_is_news_once(points: int) -> None:
    assert max(gap(seed, points) for seed in range(20)) <= 1


@pytest.mark.parametrize(("seed", "points"), [(363, 2), (167, 3)])
def test_a_lucky_week_does_not_end_an_unchanged_gap(seed: int, points: int) -> None:
    # With the likelihood ratio at 1,000, the gap counted as mended here and was news once more.
    assert gap(seed, points) == 1


def test_a_drop_stands_until_it_is_mended() -> None:
    generator = np.random.default_rng(1)
    chance = chances(generator, 200)
    worse = chance.copy()
    worse[np.flatnonzero(chance > 0.9)[:30]] = 0.0
    rows = [chance] * 10 + [worse] * 40 + [chance] * 10
    nights = (generator.random((60, 200)) < np.array(rows)).astype(float)
    found = watch(nights, ALARM)
    [drop] = found.drops
    assert abs(drop.since - 10) <= 1
    assert drop.mended
    assert drop.ended is not None
    assert 50 <= drop.ended <= 52


def test_flips_for_good_in_both_directions_are_no_drop() -> None:
    """New software changes one answer in ten, and the nights are exact copies."""
    alarms = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        before = (generator.random(200) < 0.5).astype(float)
        after = np.where(generator.random(200) < 0.1, 1 - before, before)
        alarms += bool(watch([before] * 20 + [after] * 20, ALARM).drops)
    # Each series has one change: the chance that it is a clear drop is that of McNemar's test.
    assert alarms / 200 <= 0.02


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 12),
    st.sampled_from([1, 2, 7, 63]),
    st.sampled_from([0.0, 0.1, 0.9, 1.0]),
)
def test_odd_nights_are_no_trouble(seed: int, nights: int, n: int, missing: float) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 3, (nights, n)) / 2
    scores[generator.random(scores.shape) < missing] = np.nan
    for reference, exact in ((None, False), (scores[0], False), (np.zeros(n), True)):
        found = watch(scores, 1.0, reference=reference, exact=exact)
        for drop in found.drops:
            assert 0 <= drop.since <= drop.alarm < nights
            assert drop.ended is None or drop.alarm < drop.ended < nights


def test_no_nights_no_drops() -> None:
    assert watch(np.zeros((0, 5)), 2.7) == Watch((), 0.0, 0.0, 0)


def looks(seed: int, count: int, n: int, kept: float, gap: float = 0.0) -> list[tuple[int, int]]:
    """Questions that only one of two models answers right, at each of so many steps of training.

    Scores rise along training; a question keeps its luck from one step to the next with a
    probability, so that looks are alike or independent. From the middle on one model is ahead.
    """
    generator = np.random.default_rng(seed)
    hardness = generator.random(n)
    luck = generator.random((2, n))
    found = []
    for look in range(count):
        again = generator.random((2, n)) >= kept
        luck = np.where(again, generator.random((2, n)), luck)
        level = np.array([[gap * (look >= count / 2)], [0.0]]) + 0.6 * (look + 1) / count
        right = luck < np.clip(level + 0.4 * (hardness - 0.5), 0, 1)
        found.append((int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())))
    return found


def ever_clear(pairs: list[tuple[int, int]], n: int, *, corrected: bool) -> bool:
    for look, (higher, lower) in enumerate(pairs, start=1):
        confidence = look_confidence(look) if corrected else 0.95
        interval = tango(higher, lower, n, confidence=confidence)
        if interval.low > 0 or interval.high < 0:
            return True
    return False


@pytest.mark.parametrize("kept", [0.0, 0.9])
def test_looking_often_at_equal_models_is_rarely_clear(kept: float) -> None:
    """At most 5%, three standard errors of 300 runs above it; uncorrected looks are far from it."""
    runs = [looks(seed, 20, 100, kept) for seed in range(300)]
    assert sum(ever_clear(pairs, 100, corrected=True) for pairs in runs) / 300 <= 0.05
    assert sum(ever_clear(pairs, 100, corrected=False) for pairs in runs) / 300 > 0.12


def test_a_difference_is_found_where_it_begins() -> None:
    """25 points from look 11 on, of 200 questions."""
    starts = []
    for seed in range(40):
        ends = []
        for look, (higher, lower) in enumerate(looks(seed, 20, 200, 0.9, 0.25), start=1):
            interval = tango(higher, lower, 200, confidence=look_confidence(look))
            ends.append((interval.low, interval.high))
        starts.append(clear_since(ends))
    assert sum(start is not None and 10 <= start <= 12 for start in starts) >= 36


def test_the_errors_of_all_looks_add_up_to_the_budget() -> None:
    spent = [1 - look_confidence(look) for look in range(1, 20_001)]
    assert 0.0499 < sum(spent) < 0.05
    assert spent == sorted(spent, reverse=True)
    assert 1 - look_confidence(3, curves=4) == pytest.approx((1 - look_confidence(3)) / 4)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_intervals_of_another_level(confidence: float) -> None:
    """An interval ends at 0 where its p is one less its level, and holds those of less."""
    plain, other = padded_t(np.ones(9) / 2, 1.0), padded_t(np.ones(9) / 2, 1.0, None, confidence)
    assert (other.high - other.low > plain.high - plain.low) == (confidence > 0.95)
    for higher in range(1, 40):
        interval = tango(higher, 3, 60, confidence=confidence)
        p = two_sided((higher - 3) / math.sqrt(higher + 3))
        assert (interval.low > 0 or interval.high < 0) == (p < 1 - confidence)
        mirrored = tango(3, higher, 60, confidence=confidence)
        assert (mirrored.low, mirrored.high) == (-interval.high, -interval.low)


@pytest.mark.parametrize(
    ("ends", "since"),
    [
        ([], None),
        ([(-1, 1)], None),
        ([(1, 2)], 0),
        ([(1, 2), (-1, 1), (1, 2), (2, 3)], 2),
        ([(1, 2), (-2, -1)], 1),
        ([(1, 2), (-2, 1)], None),
    ],
)
def test_clear_since(ends: list[tuple[float, float]], since: int | None) -> None:
    assert clear_since(ends) == since


def main(seeds: int) -> None:
    """Print the figures of docs/nightly.md."""
    for n in (50, 200, 1000):
        outcomes = [unchanged(seed, n) for seed in range(seeds)]
        alarms, stands = (sum(column) / (2 * seeds) for column in zip(*outcomes, strict=True))
        print(f"unchanged, {n}: {alarms:.2f} alarms and {stands:.2f} red nights in 30")
    print(f"5 more of 200 each night, by night 4: {share(five_more, seeds):.3f}")
    print(f"2 more of 200 each night, by night 8: {share(two_more, seeds):.3f}")
    outcomes = [five_points(seed) for seed in range(seeds)]
    found, named = (sum(column) / seeds for column in zip(*outcomes, strict=True))
    print(f"12 of 225 lost: within 7 nights {found:.3f}, the night named within one {named:.3f}")
    print(f"a point a week of 500, within six weeks: {share(drift, seeds):.3f}")
    for points in (2, 3, 5):
        most = max(gap(seed, points) for seed in range(seeds))
        print(f"an unchanged gap of {points} points, 60 nights: at most {most} alarms")
    for kept in (0.0, 0.9):
        runs = [looks(seed, 30, 200, kept) for seed in range(seeds)]
        shares = [
            sum(ever_clear(pairs, 200, corrected=corrected) for pairs in runs) / seeds
            for corrected in (True, False)
        ]
        print(f"30 looks at equal models, {kept} kept: ever clear {shares[0]:.3f}, {shares[1]:.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
