"""What can be set, what follows, and what is refused in one sentence."""

from typing import Any

import pytest

from iha_eval.errors import UserError
from iha_eval.generation_kwargs import is_greedy
from iha_eval.reasoning.settings import (
    NEW_TOKENS,
    MathSettings,
    check_sampling,
    read_settings,
    read_votes,
    set_budget,
)


@pytest.mark.parametrize(
    ("k", "votes"),
    [
        pytest.param(1, (1,), id="one"),
        pytest.param(2, (1, 2), id="two"),
        pytest.param(5, (1, 2, 4, 5), id="the paper's five"),
        pytest.param(16, (1, 2, 4, 8, 16), id="the paper's sixteen"),
        pytest.param(20, (1, 2, 4, 8, 16, 20), id="no power of two"),
    ],
)
def test_votes_default_to_powers_of_two_and_k(k: int, votes: tuple[int, ...]) -> None:
    assert read_votes(None, k, "t") == votes
    assert read_settings("t", {"k": k}, 16, voting=True) == MathSettings(k, votes, "own")


def test_k_is_that_of_the_task_unless_metadata_has_one() -> None:
    assert read_settings("t", {}, 3, voting=True).k == 3
    assert read_settings("t", {"k": 7}, 3, voting=True).k == 7


def test_votes_are_sorted_and_counted_once() -> None:
    assert read_votes([5, 1, 5], 5, "t") == (1, 5)
    assert read_votes(3, 5, "t") == (3,)


def test_a_greedy_task_draws_one_answer_whatever_metadata_says() -> None:
    metadata = {"k": 0, "votes": [99], "fewshot": "train"}
    assert read_settings("t", metadata, 1, voting=False) == MathSettings(1, (1,), "train")


@pytest.mark.parametrize("k", [0, -1, 1.5, 4.0, "4", True, None, [4]])
def test_k_is_a_whole_number_above_0(k: Any) -> None:
    with pytest.raises(UserError, match=r'metadata "k" has .* for t: use whole numbers above 0'):
        read_settings("t", {"k": k}, 16, voting=True)


@pytest.mark.parametrize(
    ("votes", "said"),
    [
        pytest.param([1, 32], "votes over 32 answers .* t, which draws k=16", id="more than drawn"),
        pytest.param([0], r'"votes" has 0 for t', id="none"),
        pytest.param(["4"], r"\"votes\" has '4' for t", id="text"),
        pytest.param([], r'"votes" is empty for t', id="empty"),
        pytest.param({"4": 1}, r'"votes" has \{', id="object"),
    ],
)
def test_votes_that_cannot_be_taken_are_refused(votes: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_settings("t", {"votes": votes}, 16, voting=True)


@pytest.mark.parametrize("fewshot", ["test", "", None, 5])
def test_examples_come_from_us_or_from_the_training_set(fewshot: Any) -> None:
    with pytest.raises(UserError, match=r'metadata "fewshot" is .* for t: use "own"'):
        read_settings("t", {"fewshot": fewshot}, 16, voting=True)


@pytest.mark.parametrize(
    ("kwargs", "greedy"),
    [
        ({}, True),
        ({"temperature": 0.6}, False),
        ({"temperature": 0}, True),
        ({"temperature": "0.0"}, True),
        ({"temperature": "warm"}, False),
        ({"do_sample": True}, False),
        ({"do_sample": True, "temperature": 0.0}, True),
        ({"do_sample": False, "temperature": 0.6}, True),
        ({"do_sample": None, "temperature": None}, True),
    ],
    ids=str,
)
def test_greedy_by_lm_evals_conventions(kwargs: dict[str, Any], greedy: bool) -> None:
    assert is_greedy(kwargs) is greedy
    if greedy:
        with pytest.raises(UserError, match=r"t draws k=2 answers .* all be the same with do_sa"):
            check_sampling(kwargs, 2, "t")
    else:
        check_sampling(kwargs, 2, "t")
    check_sampling(kwargs, 1, "t")


@pytest.mark.parametrize("name", ["n", "num_return_sequences", "best_of"])
def test_an_engines_own_count_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"{name}=4 in generation_kwargs of t .*metadata"):
        check_sampling({"temperature": 0.6, name: 4}, 16, "t")
    check_sampling({"temperature": 0.6, name: None}, 16, "t")


def test_the_budget_has_a_default_and_any_of_its_names() -> None:
    unset: dict[str, Any] = {"max_gen_toks": None}
    set_budget(unset, "t")
    assert unset == {"max_gen_toks": NEW_TOKENS}
    named = {"max_new_tokens": 300}
    set_budget(named, "t")
    assert named == {"max_new_tokens": 300}
    with pytest.raises(UserError, match="max_gen_toks=0 in generation_kwargs of task t"):
        set_budget({"max_gen_toks": 0}, "t")
