"""Settings as lm-eval reads them."""

from typing import Any

import pytest

from iha_eval.compare.inputs.generation import generation, settled


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
    assert generation(given) == read


def test_the_default_length_is_the_callers() -> None:
    assert generation({}, 512)["max_gen_toks"] == 512
