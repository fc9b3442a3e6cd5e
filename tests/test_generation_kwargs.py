"""Generation kwargs: read strictly for our own classes, and as lm-eval takes them for others."""

from typing import Any

import pytest

from iha_eval.errors import UserError
from iha_eval.generation_kwargs import Sampling, as_drawn, as_written, read_sampling, settled


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("0.6", 0.6),
        (" 12 ", 12),
        ("-3", -3),
        ("12345678901234567890", 12345678901234567890),
        ("4e2", 400),
        (8.0, 8),
        ("True", True),
        ("false", False),
        ("none", None),
        ("nan", "nan"),
        ("inf", "inf"),
        ("</think>", "</think>"),
        (["1"], ["1"]),
        (None, None),
        (True, True),
    ],
    ids=repr,
)
def test_values_are_what_lm_eval_takes_them_for(value: Any, read: Any) -> None:
    found = settled(value)
    assert (found, type(found)) == (read, type(read))


def test_a_number_that_is_not_one_stays() -> None:
    assert settled(float("inf")) == float("inf")


GREEDY = {"do_sample": False, "temperature": 0}


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({}, {"max_gen_toks": 256, **GREEDY}),
        ({"temperature": 0.6, "do_sample": False}, {"max_gen_toks": 256, **GREEDY}),
        ({"temperature": "0.6"}, {"max_gen_toks": 256, "temperature": 0.6, "do_sample": True}),
        ({"do_sample": True}, {"max_gen_toks": 256, "do_sample": True}),
        ({"max_tokens": 9, "max_new_tokens": 8}, {"max_gen_toks": 8, **GREEDY}),
        (
            {"until": "\n", "top_p": 0.9},
            {"max_gen_toks": 256, "until": ["\n"], "top_p": 0.9, **GREEDY},
        ),
    ],
    ids=["nothing", "greedy", "warm", "sampled", "names", "other"],
)
def test_what_is_not_given_has_a_default(given: dict[str, Any], read: dict[str, Any]) -> None:
    assert as_written(given) == read


def test_the_default_length_is_the_callers() -> None:
    assert as_written({}, 512)["max_gen_toks"] == 512


WARM = {"do_sample": True, "temperature": 0.6}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({**WARM, "top_p": 1.0}, WARM),
        ({**WARM, "min_p": 0.0}, WARM),
        ({**WARM, "top_k": 0}, WARM),
        ({**WARM, "top_k": -1}, WARM),
        ({"top_p": 1.0}, {}),
        ({"min_p": 0.0}, {}),
        ({"top_k": 0}, {}),
        ({"top_p": 0.5, "top_k": 3, "temperature": 0}, {"do_sample": False}),
        ({"temperature": 1.0}, {"do_sample": True}),
        ({**WARM, "num_beams": 1, "repetition_penalty": 1.0}, WARM),
        ({"until": ["", "a", "a"], "max_new_tokens": 9}, {"until": "a", "max_gen_toks": 9}),
        ({**WARM, "temperature": "0.6"}, WARM),
    ],
    ids=str,
)
def test_what_our_classes_draw_alike_reads_alike(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert as_drawn(one) == as_drawn(other)


@pytest.mark.parametrize(
    "change",
    [
        *({"top_p": 0.9}, {"top_k": 5}, {"min_p": 0.1}, {"temperature": 0.7}, {"seed": 1}),
        *({"max_tokens": 8}, {"until": ["b"]}, {"do_sample": False}),
    ],
    ids=str,
)
def test_what_our_classes_draw_otherwise_reads_otherwise(change: dict[str, Any]) -> None:
    assert as_drawn({**WARM, **change}) != as_drawn(WARM)


def test_what_our_classes_would_refuse_reads_as_it_was_written() -> None:
    assert as_drawn({"beam": 2, "until": "a"}) == as_written({"beam": 2, "until": "a"})


def read(**kwargs: object) -> Sampling:
    return read_sampling(kwargs, "generation_kwargs of task quiz", seed=5)


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
