import hashlib
import random
import uuid

import pytest

from iha_eval.ruler.draw import Stream


def test_the_stream_is_shake_256_of_its_name() -> None:
    expected = hashlib.shake_256(b"a/1").digest(8)
    assert Stream("a", 1).integers(2**63, 1) == [int.from_bytes(expected, "little") % 2**63]


def test_values_that_must_never_change() -> None:
    """Written down once; another Python or NumPy that disagrees would draw other documents."""
    stream = Stream("ruler_mk", "multikey_1", 4096, 0)
    assert stream.integers(1000, 4) == [661, 956, 777, 217]
    assert stream.uuids(1) == ["02dc6331-61c8-4f09-86a3-987fb6bb8f2c"]


def test_names_tell_streams_apart() -> None:
    draws = [Stream(*name).integer(2**62) for name in (("a", 1), ("a", 2), ("b", 1))]
    assert len(set(draws)) == 3


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    random.seed(1)
    state = random.getstate()
    first = Stream("x").sample(100, 10)
    assert random.getstate() == state
    random.seed(2)
    assert Stream("x").sample(100, 10) == first


def test_a_longer_draw_begins_with_a_shorter_one() -> None:
    assert Stream("x").integers(10**6, 5000)[:10] == Stream("x").integers(10**6, 10)


def test_drawing_bit_by_bit_is_drawing_at_once() -> None:
    stream = Stream("x")
    assert [stream.integer(10**6) for _ in range(600)] == Stream("x").integers(10**6, 600)


def test_integers_cover_their_range_evenly() -> None:
    draws = Stream("x").integers(10, 10_000)
    assert all(850 < draws.count(n) < 1150 for n in range(10))


def test_samples_have_no_repeats() -> None:
    assert sorted(Stream("x").sample(40, 40)) == list(range(40))
    assert len(set(Stream("y").sample(40, 4))) == 4


def test_distinct_leaves_repeats_out_and_keeps_the_order() -> None:
    draws = Stream("x").integers(50, 200)
    distinct = Stream("x").distinct(50, 200)
    assert len(distinct) == len(set(draws)) < 200
    assert distinct == sorted(set(draws), key=draws.index)


def test_uuids_are_of_version_4() -> None:
    drawn = Stream("x").uuids(20)
    assert len(set(drawn)) == 20
    data = Stream("x").take(16 * 20)
    assert drawn == [
        str(uuid.UUID(bytes=data[start : start + 16], version=4)) for start in range(0, 320, 16)
    ]


@pytest.mark.parametrize("population", [1, 63, 129, 1000, 8166])
def test_a_sample_is_the_begin_of_a_sorted_population(population: int) -> None:
    keys = Stream("a").words64(population).tolist()
    order = sorted(range(population), key=keys.__getitem__)
    for count in {0, 1, population // 7, population - 1, population}:
        assert Stream("a").sample(population, count) == order[:count]
