from iha_eval.models.requests import derive_seed, pack, up_to_stop


def test_seeds_differ_in_every_part_and_never_change() -> None:
    seeds = {
        derive_seed(*parts)
        for parts in [
            (0, "a", 0, 0),
            (1, "a", 0, 0),
            (0, "b", 0, 0),
            (0, "a", 1, 0),
            (0, "a", 0, 1),
        ]
    }
    assert len(seeds) == 5
    assert all(0 <= seed < 2**62 for seed in seeds)
    # Written down: a change would make old runs unrepeatable.
    assert derive_seed(0, "gsm8k", 3, 1) == 1723891534291808337


def test_seeds_of_repeats_follow_each_other() -> None:
    first = derive_seed(7, "gsm8k", 3, 0)
    assert [derive_seed(7, "gsm8k", 3, repeat) - first for repeat in range(3)] == [0, 1, 2]


def test_text_is_cut_at_the_first_stop_whatever_their_order() -> None:
    assert up_to_stop("one two three", ["three", " two"]) == "one"
    assert up_to_stop("one", ["x"]) == "one"


def test_packed_ids_take_four_bytes() -> None:
    assert pack([1, 200_000]).itemsize == 4
    assert list(pack([1, 200_000])) == [1, 200_000]
