"""Which engine gets which prompt; no engine runs."""

import random
from collections import Counter

import pytest

from iha_eval.generation_kwargs import Sampling
from iha_eval.models.vllm.dealing import DEATHS, Dealer, EnginePrompt, PoisonPromptError


def prompt(name: int, length: int = 1, tokens: int = 8, answers: int = 1) -> EnginePrompt:
    return EnginePrompt([name] * length, Sampling(max_tokens=tokens), answers, f"document {name}")


def dealer(
    prompts: list[EnginePrompt], engines: int, most: int = 100, cache: int = 0
) -> Dealer[str]:
    dealt: Dealer[str] = Dealer(prompts, lambda: engines)
    for number in range(engines):
        dealt.join(f"engine {number}", most, cache)
    return dealt


def finish_all(dealt: Dealer[str], engine: str) -> list[int]:
    places = sorted(dealt.loads[engine].flying)
    for place in places:
        dealt.loads[engine].finish(place, 8)
    return places


def test_the_next_prompt_goes_to_whoever_has_the_fewest_tokens_to_do() -> None:
    handed = dealer([prompt(1, 200), prompt(2), prompt(3), prompt(4)], 2).deal()
    places = {name: [place for place, _ in items] for name, items in handed.items()}
    assert places == {"engine 0": [0], "engine 1": [1, 2, 3]}


def test_samples_of_a_document_stay_together_but_those_of_the_last() -> None:
    prompts = [prompt(doc) for doc in range(7) for _ in range(6)]
    handed = dealer(prompts, 3).deal()
    engine = {place: name for name, items in handed.items() for place, _ in items}
    sharing = [len({engine[6 * doc + n] for n in range(6)}) for doc in range(7)]
    assert sharing[:5] == [1] * 5
    assert sharing[6] == 3
    # No engine has more than a part of a document more than another.
    counts = Counter(engine.values()).values()
    assert max(counts) - min(counts) <= 3


def test_no_more_is_in_flight_than_an_engine_runs_at_once() -> None:
    dealt = dealer([prompt(n, answers=2) for n in range(50)], 2, most=10)
    assert {name: len(items) for name, items in dealt.deal().items()} == {
        "engine 0": 5,
        "engine 1": 5,
    }
    assert dealt.deal() == {}
    dealt.loads["engine 1"].finish(1, 16)
    assert [place for place, _ in dealt.deal()["engine 1"]] == [10]


def test_no_more_is_in_flight_than_a_cache_holds_and_a_quarter() -> None:
    """What waits here can be taken by any engine."""
    dealt = dealer([prompt(n, 92) for n in range(50)], 2, cache=800)
    assert {name: len(items) for name, items in dealt.deal().items()} == {
        "engine 0": 10,
        "engine 1": 10,
    }
    # However long, two are in flight: one runs when the other ends.
    long = dealer([prompt(n, 5000) for n in range(9)], 2, cache=800)
    assert [len(items) for items in long.deal().values()] == [2, 2]


def test_an_engine_that_joins_later_gets_what_is_left() -> None:
    dealt: Dealer[str] = Dealer([prompt(n) for n in range(9)], lambda: 2)
    assert dealt.deal() == {}
    assert not dealt.done
    dealt.join("first", 4)
    assert len(dealt.deal()["first"]) == 4
    dealt.join("second", 4)
    assert len(dealt.deal()["second"]) == 4
    finish_all(dealt, "first")
    assert [place for place, _ in dealt.deal()["first"]] == [8]


def test_without_prompts_there_is_nothing_to_do() -> None:
    assert Dealer([], lambda: 1).done


def test_a_dead_engines_prompts_are_dealt_first() -> None:
    dealt = dealer([prompt(n) for n in range(20)], 2, most=3)
    dealt.deal()
    dealt.loads["engine 0"].finish(2, 8)
    dealt.leave("engine 0")
    dealt.join("engine 2", 3)
    assert [place for place, _ in dealt.deal()["engine 2"]] == [0, 4, 6]


def test_after_two_deaths_a_prompt_runs_alone_and_after_three_it_is_named() -> None:
    dealt = dealer([prompt(n) for n in range(3)], 1, most=10)
    assert len(dealt.deal()["engine 0"]) == 3
    dealt.leave("engine 0")
    dealt.join("second", 10)
    assert len(dealt.deal()["second"]) == 3
    dealt.leave("second")
    dealt.join("third", 10)
    assert [place for place, _ in dealt.deal()["third"]] == [0]
    assert dealt.deal() == {}
    dealt.loads["third"].finish(0, 8)
    assert [place for place, _ in dealt.deal()["third"]] == [1]
    with pytest.raises(PoisonPromptError, match=r"^3 engines died .* on document 1, the last of"):
        dealt.leave("third")


def finished_before_overdue(prompts: list[EnginePrompt], drawn: int) -> int:
    """How many prompts an engine finishes before the first, which never ends, is overdue."""
    dealt: Dealer[str] = Dealer(prompts, lambda: 1)
    dealt.join("engine", 5)
    load, finished = dealt.loads["engine"], 0
    while True:
        dealt.deal()
        if load.overdue() or len(load.flying) == 1:
            assert load.overdue() in (None, prompts[0])
            return finished
        load.finish(max(load.flying), drawn)
        finished += 1


def test_a_prompt_is_overdue_by_tokens_that_others_drew() -> None:
    """Five run at once, so 5 x 8 others' tokens and 2 of its own are in order: four times that."""
    assert finished_before_overdue([prompt(n, 2) for n in range(1000)], drawn=8) == 4 * 42 // 8 + 1
    # Scored, not answered: a token each.
    scored = [EnginePrompt([n] * 20) for n in range(1000)]
    assert finished_before_overdue(scored, drawn=0) == 4 * (5 + 20) + 1


def test_one_long_answer_beside_many_short_ones_is_not_overdue() -> None:
    """It takes 500 steps, in which four others at a time finish after 10 of their 500 tokens."""
    steps, others, drawn = 500, 4, 10
    prompts = [prompt(n, 200, tokens=500) for n in range(1 + others * steps // drawn)]
    assert finished_before_overdue(prompts, drawn) == others * steps // drawn


@pytest.mark.parametrize("seed", range(100))
def test_every_prompt_is_finished_once_whatever_dies(seed: int) -> None:
    draw = random.Random(seed)
    prompts = [
        prompt(draw.randrange(10), draw.randrange(50), answers=draw.randint(1, 3))
        for _ in range(draw.randrange(40))
    ]
    dealt: Dealer[int] = Dealer(prompts, lambda: draw.randint(1, 5))
    finished: list[int] = []
    deaths = joined = 0
    while not dealt.done:
        action = draw.choice(["join", "die", "finish", "finish", "finish"])
        flying = [name for name, load in dealt.loads.items() if load.flying]
        if action == "join" or not dealt.loads:
            dealt.join(joined, draw.randint(1, 20), draw.randrange(300))
            joined += 1
        elif action == "die" and deaths < DEATHS - 1:
            dealt.leave(draw.choice(list(dealt.loads)))
            deaths += 1
        elif flying:
            engine = draw.choice(flying)
            place = draw.choice(list(dealt.loads[engine].flying))
            dealt.loads[engine].finish(place, draw.randrange(24))
            finished.append(place)
        dealt.deal()
    assert sorted(finished) == list(range(len(prompts)))
