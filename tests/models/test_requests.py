import pytest

from iha_eval.errors import UserError
from iha_eval.models.requests import Sampling, cut, derive_seed, pack, read_sampling


def read(**kwargs: object) -> Sampling:
    return read_sampling(kwargs, task="quiz", default_budget=256, seed=5)


def test_nothing_given_is_greedy_with_the_default_budget() -> None:
    assert read() == Sampling(max_tokens=256)


@pytest.mark.parametrize(
    "name", ["max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"]
)
def test_every_name_of_the_budget_counts(name: str) -> None:
    assert read(**{name: 7}).max_tokens == 7


@pytest.mark.parametrize("name", ["max_gen_toks", "max_new_tokens", "max_tokens"])
def test_the_budget_goes_by_several_names(name: str) -> None:
    assert read(**{name: 7}).max_tokens == 7
    assert read(**{name: 7}, max_completion_tokens=7).max_tokens == 7


@pytest.mark.parametrize(
    ("until", "expected"),
    [(None, ()), ("", ()), ("\n", ("\n",)), (["a", ""], ("a",)), ([], ())],
)
def test_stops_are_a_string_or_a_list_and_empty_ones_stop_nothing(
    until: object, expected: tuple[str, ...]
) -> None:
    assert read(until=until).stop == expected


@pytest.mark.parametrize(
    ("kwargs", "temperature"),
    [
        ({"do_sample": False, "temperature": 0.7}, 0.0),
        ({"temperature": 0}, 0.0),
        ({"do_sample": True, "temperature": 0.0}, 0.0),
        ({"temperature": 0.7}, 0.7),
        ({"do_sample": True}, 1.0),
        ({"do_sample": True, "temperature": 0.6}, 0.6),
    ],
)
def test_when_an_answer_is_sampled(kwargs: dict[str, object], temperature: float) -> None:
    sampling = read(**kwargs)
    assert sampling.temperature == temperature
    assert sampling.seed == (None if temperature == 0 else 5)


def test_a_seed_of_the_task_replaces_the_runs() -> None:
    assert read(temperature=1, seed=2**61 + 1).seed == 2**61 + 1


def test_vllms_minus_one_for_all_tokens_is_understood() -> None:
    assert read(temperature=1, top_k=-1).top_k == 0


def test_asking_for_what_happens_anyway_is_no_mistake() -> None:
    assert read(num_beams=1, repetition_penalty=1.0) == Sampling(max_tokens=256)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"beam": 2}, "beam=2 in generation_kwargs of task quiz is not supported: known are max_"),
        ({"num_beams": 4}, "num_beams=4 in .* is not supported other than 1"),
        ({"max_gen_toks": 0}, "max_gen_toks=0 in .* is not a whole number above 0"),
        ({"max_gen_toks": "8"}, "max_gen_toks='8'"),
        (
            {"max_gen_toks": 128, "max_new_tokens": 256},
            "max_gen_toks=128 and max_new_tokens=256 in .* contradict .*: set max_gen_toks alone",
        ),
        ({"until": [1]}, r"until=\[1\] in .* is not a string or a list of strings"),
        ({"do_sample": "yes"}, "do_sample='yes' in .* is neither true nor false"),
        ({"temperature": -1}, "temperature=-1 in .* is not a number at least 0"),
        ({"temperature": "hot"}, "temperature='hot'"),
        ({"temperature": 1, "top_p": 0}, "top_p=0 in .* is not a number above 0 and at most 1"),
        ({"temperature": 1, "top_p": float("nan")}, "top_p=nan"),
        ({"temperature": 1, "min_p": 2}, "min_p=2 in .* at least 0 and at most 1"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(
    kwargs: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read(**kwargs)


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
    assert cut("one two three", ["three", " two"]) == "one"
    assert cut("one", ["x"]) == "one"


def test_packed_ids_take_four_bytes() -> None:
    assert pack([1, 200_000]).itemsize == 4
    assert list(pack([1, 200_000])) == [1, 200_000]
