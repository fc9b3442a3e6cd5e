"""Samples of one question, put together: the engine reads their prompt once.

For: vLLM's `n`, which draws the i-th of n answers from the seed of the first plus i, exactly as
`requests.derive_seed` counts.
Not for: deciding how many samples there are (the task says), nor for Transformers, which answers
one by one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from iha_eval.models.requests import GenerateRequest
from iha_eval.models.vllm.portions import portions


@dataclass(frozen=True)
class Group:
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


def grouped(requests: Iterable[GenerateRequest]) -> list[Group]:
    """Put together what can be asked at once.

    Args:
        requests: in the order of their repeats; some may be missing, then a question is asked in
            several parts with the same seeds as in one.

    Returns:
        Groups that hold every request once, in the order of their first members.
    """
    open_groups: dict[tuple[str, int | None], list[GenerateRequest]] = {}
    found: list[list[GenerateRequest]] = []
    for request in requests:
        key = request.task, request.doc_id
        members = open_groups.get(key)
        if members is not None and _follows(members[-1], request):
            members.append(request)
        else:
            open_groups[key] = members = [request]
            found.append(members)
    return [Group(tuple(members)) for members in found]


def cut(groups: Iterable[Group], engines: int) -> Iterator[Group]:
    """Groups small enough that no engine of several is left without work; see `portions`.

    Args:
        groups: in the order in which to ask.
        engines: how many there are; for one, all groups stay whole.

    Yields:
        Groups of the same requests in the same order.
    """
    members = (member for group in groups for member in group.members)
    for portion in portions(
        members,
        engines,
        prompt=lambda member: member.prompt,
        answers=lambda member: member.sampling.max_tokens,
    ):
        yield from grouped(portion)


def _follows(last: GenerateRequest, request: GenerateRequest) -> bool:
    """Whether an engine that counts seeds up draws `request` right after `last`."""
    if last.sampling.seed is None:
        return False
    wanted = replace(last.sampling, seed=last.sampling.seed + 1)
    return request.sampling == wanted and request.prompt == last.prompt
