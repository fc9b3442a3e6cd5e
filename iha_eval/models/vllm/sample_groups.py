"""Samples of one question, put together: the engine reads their prompt once.

For: vLLM's `n`, which draws the i-th of n answers from the seed of the first plus i, exactly as
`requests.derive_seed` counts.
For engines side by side, what shares a prompt stays on one of them, by the rule of guided
self-scheduling: no share is more than an engine's equal part of what is left to hand out, so that
the last documents, or the only one, keep all engines busy. Of equally long short questions with
64 samples each, the busiest of up to 8 engines gets at most 1.4 times its part, on average 1.02
times; a prompt that is more work than its answers is not read twice for it.
Not for: deciding how many samples there are (the task says), which engine gets a share, nor for
Transformers, which answers one by one.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeVar

from iha_eval.models.requests import GenerateRequest


@dataclass(frozen=True)
class SampleGroup:
    """Requests that differ in nothing but their seeds, which follow each other.

    Attributes:
        members: the requests, in order of their seeds; at least one.
    """

    members: tuple[GenerateRequest, ...]

    @property
    def first(self) -> GenerateRequest:
        """The request whose seed the engine is given."""
        return self.members[0]

    @property
    def reach(self) -> int:
        """Tokens that one member may come to, prompt and budget together."""
        return len(self.first.prompt) + self.first.sampling.max_tokens


def grouped(requests: Iterable[GenerateRequest]) -> list[SampleGroup]:
    """Put together what can be asked at once.

    Args:
        requests: in the order of their repeats; some may be missing, then a question is asked in
            several parts with the same seeds as in one.

    Returns:
        Groups that hold every request once, in the order of their first members.
    """
    open_groups: dict[tuple[str, int | None], list[GenerateRequest]] = {}
    groups: list[list[GenerateRequest]] = []
    for request in requests:
        key = request.task, request.doc_id
        members = open_groups.get(key)
        if members is not None and _follows(members[-1], request):
            members.append(request)
        else:
            open_groups[key] = members = [request]
            groups.append(members)
    return [SampleGroup(tuple(members)) for members in groups]


def split_over_engines(groups: Iterable[SampleGroup], engines: int) -> Iterator[SampleGroup]:
    """Groups small enough that no engine of several is left without work; see `shares_for_engines`.

    Args:
        groups: in the order in which to ask.
        engines: how many there are; for one, all groups stay whole.

    Yields:
        Groups of the same requests in the same order.
    """
    members = (member for group in groups for member in group.members)
    for share in shares_for_engines(
        members,
        lambda: engines,
        prompt=lambda member: member.prompt,
        answers=lambda member: member.sampling.max_tokens,
    ):
        yield from grouped(share)


def _follows(last: GenerateRequest, request: GenerateRequest) -> bool:
    """Whether an engine that counts seeds up draws `request` right after `last`."""
    if last.sampling.seed is None:
        return False
    wanted = replace(last.sampling, seed=last.sampling.seed + 1)
    return request.sampling == wanted and request.prompt == last.prompt


Item = TypeVar("Item")


@dataclass(frozen=True)
class _Run:
    """Items with one prompt that follow each other.

    Attributes:
        items: they; at least one.
        answers: of each, the tokens that its answers may come to.
        prompt: the length of what they share, in tokens.
    """

    items: Sequence[Any]
    answers: Sequence[int]
    prompt: int

    @property
    def weight(self) -> int:
        """Tokens to do for one engine that reads the prompt once."""
        return self.prompt + sum(self.answers)

    def cut(self, parts: int) -> Iterator[list[Any]]:
        """The items in order, in about equal parts by their answers."""
        slices: list[list[Any]] = [[] for _ in range(parts)]
        total, before = sum(self.answers), 0
        for item, answers in zip(self.items, self.answers, strict=True):
            slices[before * parts // total].append(item)
            before += answers
        return filter(None, slices)


def shares_for_engines(
    items: Iterable[Item],
    engines: Callable[[], int],
    prompt: Callable[[Item], Sequence[int]],
    answers: Callable[[Item], int],
) -> Iterator[list[Item]]:
    """Put together what one engine should have.

    Items with equal prompts that follow each other stay together, unless that is more than an
    engine's equal part of all that has not been handed out: then they are cut into as many parts
    as it takes, but not into parts for which the prompt is more work than the answers. So the last
    of equally long runs go out in parts, and those before them whole.

    Args:
        items: in the order in which to start. Only as many are taken ahead as it takes to know
            that a run may stay whole.
        engines: says how many there are, which may change on the way.
        prompt: an item's token ids.
        answers: tokens that an item's answers may come to; at least one.

    Yields:
        Portions, which hold every item once and in order.
    """
    coming = (_run(list(group), prompt, answers) for _, group in groupby(items, key=prompt))
    ahead: deque[_Run] = deque()
    left = 0
    while True:
        while not ahead or left < engines() * ahead[0].weight:
            following = next(coming, None)
            if following is None:
                break
            ahead.append(following)
            left += following.weight
        if not ahead:
            return
        run = ahead.popleft()
        # A prompt without a token weighs nothing, and may be read as often as it takes.
        worthwhile = max(1, sum(run.answers) // max(1, run.prompt))
        yield from run.cut(min(math.ceil(engines() * run.weight / left), worthwhile))
        left -= run.weight


def _run(
    items: Sequence[Item], prompt: Callable[[Item], Sequence[int]], answers: Callable[[Item], int]
) -> _Run:
    return _Run(items, [answers(item) for item in items], len(prompt(items[0])))
