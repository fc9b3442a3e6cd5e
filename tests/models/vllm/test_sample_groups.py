from collections.abc import Iterable
from dataclasses import replace

import pytest

from iha_eval.generation_kwargs import Sampling
from iha_eval.models.requests import GenerateRequest, derive_seed, pack
from iha_eval.models.vllm.sample_groups import grouped, split_over_engines


def request(index: int, doc_id: int = 0, repeat: int = 0, **changes: object) -> GenerateRequest:
    sampling = Sampling(8, temperature=0.6, seed=derive_seed(0, "t", doc_id, repeat))
    made = GenerateRequest(index, "t", doc_id, repeat, pack([1, 2, doc_id]), sampling)
    return replace(made, **changes)  # type: ignore[arg-type]


def indices(requests: list[GenerateRequest]) -> list[list[int]]:
    return [[member.index for member in group.members] for group in grouped(requests)]


def test_repeats_of_a_question_are_one_group() -> None:
    requests = [request(doc * 3 + repeat, doc, repeat) for doc in range(2) for repeat in range(3)]
    assert indices(requests) == [[0, 1, 2], [3, 4, 5]]


def test_repeats_may_stand_apart() -> None:
    assert indices([request(0, 0, 0), request(1, 1, 0), request(2, 0, 1)]) == [[0, 2], [1]]


@pytest.mark.parametrize(
    ("left", "groups"),
    [
        ((0, 1, 3, 4), [[0, 1], [3, 4]]),
        ((4,), [[4]]),
        ((1, 3), [[1], [3]]),
        ((), []),
    ],
    ids=str,
)
def test_where_some_are_finished_the_rest_keep_their_seeds(
    left: tuple[int, ...], groups: list[list[int]]
) -> None:
    requests = [request(repeat, repeat=repeat) for repeat in left]
    assert indices(requests) == groups
    for group in grouped(requests):
        assert group.first.sampling.seed == derive_seed(0, "t", 0, group.first.index)


def test_greedy_answers_stay_alone() -> None:
    greedy = Sampling(8)
    assert indices([request(n, sampling=greedy) for n in range(2)]) == [[0], [1]]


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "other"},
        {"prompt": pack([9])},
        {"sampling": Sampling(9, temperature=0.6, seed=derive_seed(0, "t", 0, 1))},
    ],
    ids=["task", "prompt", "sampling"],
)
def test_what_differs_in_more_than_the_seed_is_asked_apart(changes: dict[str, object]) -> None:
    assert indices([request(0), request(1, repeat=1, **changes)]) == [[0], [1]]


def test_reach_is_the_prompt_and_the_budget() -> None:
    assert grouped([request(0)])[0].reach == 3 + 8


@pytest.mark.parametrize(
    ("repeats", "engines", "want"),
    [
        (range(8), 1, [8]),
        (range(8), 4, [2, 2, 2, 2]),
        (range(7), 3, [3, 2, 2]),
        ([0, 1, 2, 5, 6, 7], 2, [3, 3]),
        ([0, 1, 5, 6, 7, 8], 2, [2, 1, 3]),
    ],
    ids=["one engine", "four", "uneven", "gap where it is cut", "gap elsewhere"],
)
def test_the_last_question_is_cut_and_every_answer_keeps_its_seed(
    repeats: Iterable[int], engines: int, want: list[int]
) -> None:
    requests = [request(repeat, repeat=repeat) for repeat in repeats]
    found = list(split_over_engines(grouped(requests), engines))
    assert [len(group.members) for group in found] == want
    assert [member for group in found for member in group.members] == requests
    # What vLLM counts from the first seed of each.
    for group in found:
        for place, member in enumerate(group.members):
            assert member.sampling.seed == (group.first.sampling.seed or 0) + place


def test_questions_with_one_prompt_stay_questions() -> None:
    """Two tasks may ask the same: their seeds do not follow each other."""
    requests = [request(n, task=task, repeat=n) for task in ("t", "u") for n in range(2)]
    found = [
        [member.task for member in group.members]
        for group in split_over_engines(grouped(requests), 1)
    ]
    assert found == [["t", "t"], ["u", "u"]]
