"""What stays together on one of several engines, and what is cut so that none is idle."""

import heapq
from collections.abc import Iterator
from itertools import groupby

import pytest

from iha_eval.models.vllm.sample_groups import shares_for_engines

# Token ids of the prompt, and tokens of the answers.
Item = tuple[list[int], int]


def made(items: list[Item], engines: int) -> list[list[Item]]:
    return list(
        shares_for_engines(
            items, lambda: engines, prompt=lambda one: one[0], answers=lambda one: one[1]
        )
    )


def questions(count: int, samples: int, prompt: int = 10, answer: int = 100) -> list[Item]:
    return [([doc] * prompt, answer) for doc in range(count) for _ in range(samples)]


def sizes(found: list[list[Item]]) -> list[int]:
    return [len(portion) for portion in found]


@pytest.mark.parametrize("engines", [1, 2, 3, 8])
@pytest.mark.parametrize(
    "items",
    [
        [],
        questions(1, 1),
        questions(1, 64),
        questions(7, 5) + questions(1, 2) + questions(3, 13),
        [([1] * (40 - n), 1 + n % 7) for n in range(40)],
    ],
    ids=["none", "one", "one question", "repeated prompts", "unequal"],
)
def test_every_item_is_dealt_once_and_in_order(items: list[Item], engines: int) -> None:
    found = made(items, engines)
    assert all(found)
    assert [item for portion in found for item in portion] == items
    assert all(len({tuple(ids) for ids, _ in portion}) == 1 for portion in found)


@pytest.mark.parametrize(
    ("items", "engines", "want"),
    [
        (questions(1, 64), 1, [64]),
        (questions(1, 64), 4, [16] * 4),
        (questions(1, 64), 3, [22, 21, 21]),
        (questions(1, 3), 8, [1] * 3),
        (questions(2, 8), 4, [4, 4, 2, 2, 2, 2]),
        (questions(5, 8), 4, [8, 8, 4, 4, 4, 4, 2, 2, 2, 2]),
        (questions(9, 8), 2, [8] * 8 + [4, 4]),
    ],
    ids=["one engine", "even", "uneven", "few samples", "2 over 4", "5 over 4", "9 over 2"],
)
def test_runs_are_cut_only_where_engines_would_wait(
    items: list[Item], engines: int, want: list[int]
) -> None:
    assert sizes(made(items, engines)) == want


@pytest.mark.parametrize(
    ("prompt", "answer", "want"),
    [(1000, 10, [16]), (320, 40, [8, 8]), (160, 40, [4] * 4), (0, 40, [4] * 4)],
    ids=["long prompt", "half as long", "short prompt", "no prompt"],
)
def test_a_prompt_is_not_read_again_for_less_than_it_costs(
    prompt: int, answer: int, want: list[int]
) -> None:
    assert sizes(made(questions(1, 16, prompt, answer), 4)) == want


def busiest(found: list[list[Item]], engines: int) -> float:
    """The most that an engine has to do, in engines' equal parts, where the least busy is next."""
    loads = [0] * engines
    for portion in found:
        work = sum(answer for _, answer in portion)
        heapq.heapreplace(loads, loads[0] + work)
    return max(loads) * engines / sum(loads)


@pytest.mark.parametrize("engines", [2, 3, 4, 7, 8])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 17])
def test_no_engine_has_much_more_than_its_part(count: int, engines: int) -> None:
    """At most 1.4 times; with whole questions it is up to all engines' work for one."""
    items = questions(count, 64)
    assert busiest(made(items, engines), engines) <= 1.4
    whole = [list(run) for _, run in groupby(items)]
    if 1.4 * count < engines:
        assert busiest(whole, engines) > 1.4


def test_no_more_is_taken_ahead_than_it_takes_to_know() -> None:
    taken = 0

    def items() -> Iterator[Item]:
        nonlocal taken
        for item in questions(100, 4):
            taken += 1
            yield item

    found = shares_for_engines(
        items(), lambda: 3, prompt=lambda one: one[0], answers=lambda one: one[1]
    )
    assert len(next(found)) == 4
    # Three questions, and the first item of the next, by which the third is known to end.
    assert taken == 13
