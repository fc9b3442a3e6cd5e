"""Which engine of several gets which prompt, and who gets the prompts of an engine that died.

For: `cluster.py`, which carries out what is decided here, and the simulation of many engines in
`benchmarks/dealing.py`. Nothing here knows of Ray, of time or of processes.
Not for: how samples of one document are put together (see `sample_groups.py`).
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from iha_eval.errors import UserError
from iha_eval.generation_kwargs import Sampling
from iha_eval.models.vllm.sample_groups import shares_for_engines

Name = TypeVar("Name")

# Engines that may die while they work on one prompt. After the last but one it runs alone, last.
DEATHS = 3
# Tokens in flight at one engine, in parts of what its KV cache holds: the rest waits here, where
# any engine can take it.
IN_FLIGHT = 1.25
# Fewest prompts in flight, so that the next one is at hand when one ends.
LEAST_PROMPTS = 2
# How many times the tokens that an engine may draw before a prompt is finished it may draw.
PATIENCE = 4


@dataclass(frozen=True)
class EnginePrompt:
    """Token ids, and what is asked of them.

    Attributes:
        ids: the prompt's tokens.
        sampling: how answers are drawn; None scores the prompt instead.
        answers: how many are drawn, from seeds that follow each other.
        label: which document it is, for error sentences.
    """

    ids: Sequence[int]
    sampling: Sampling | None = None
    answers: int = 1
    label: str = ""

    @property
    def answer_tokens(self) -> int:
        """Most tokens that its answers may come to together; at least one."""
        return self.answers * (1 if self.sampling is None else max(1, self.sampling.max_tokens))

    @property
    def weight(self) -> int:
        """Tokens to do for it at most."""
        return len(self.ids) + self.answer_tokens


# Prompts that one engine gets together, with their places.
Share = list[tuple[int, EnginePrompt]]


@dataclass
class EngineLoad:
    """What one engine works on.

    Attributes:
        most_answers: answers that it is asked for at once.
        most_tokens: tokens that it is given at once.
        flying: its prompts by place, which is a prompt's number in the order of the run.
        answers: how many answers are asked of it now.
        tokens: weight of what it works on.
        budget: tokens that the answers it works on may come to.
        drawn_tokens: tokens that it drew for what it has finished so far.
        alone: whether it gets nothing beside the one prompt it has.
    """

    most_answers: int
    most_tokens: float = math.inf
    flying: dict[int, EnginePrompt] = field(default_factory=dict)
    answers: int = 0
    tokens: int = 0
    budget: int = 0
    drawn_tokens: int = 0
    alone: bool = False
    _overdue_at: dict[int, int] = field(default_factory=dict)

    @property
    def has_room(self) -> bool:
        """Whether it takes one more share now."""
        full = self.answers >= self.most_answers or self.tokens >= self.most_tokens
        return not self.alone and (len(self.flying) < LEAST_PROMPTS or not full)

    def take(self, place: int, prompt: EnginePrompt) -> None:
        """Count a prompt in."""
        # A step draws one token of each answer that runs. So until the last token of this one,
        # those before it may draw all of theirs; then, while it is read and answered, as many
        # others as run at once draw a token a step, and it takes no more steps than tokens.
        steps = prompt.answer_tokens * max(1, self.most_answers) + len(prompt.ids)
        self._overdue_at[place] = self.drawn_tokens + PATIENCE * (self.budget + steps)
        self.flying[place] = prompt
        self.budget += prompt.answer_tokens
        self.answers += prompt.answers
        self.tokens += prompt.weight

    def finish(self, place: int, drawn: int) -> EnginePrompt:
        """Count a finished prompt out.

        Args:
            place: its number.
            drawn: tokens that its answers came to, which may be far below their budget.
        """
        prompt = self.flying.pop(place)
        self.answers -= prompt.answers
        self.tokens -= prompt.weight
        self.budget -= prompt.answer_tokens
        self.drawn_tokens += max(1, drawn)
        del self._overdue_at[place]
        self.alone = False
        return prompt

    def overdue(self) -> EnginePrompt | None:
        """A prompt that this engine has passed over: four times, counted in drawn tokens."""
        for place, limit in self._overdue_at.items():
            if self.drawn_tokens > limit:
                return self.flying[place]
        return None


class PoisonPromptError(UserError):
    """One prompt ended every engine that worked on it."""


class Dealer(Generic[Name]):
    """Deals prompts to engines: to whoever has the fewest tokens to do.

    Args:
        prompts: in the order in which to start, the longest first; taken as they are needed.
        engines: how many engines there will be; may change while the run goes on.

    Attributes:
        loads: what each engine works on.
    """

    def __init__(self, prompts: Iterable[EnginePrompt], engines: Callable[[], int]) -> None:
        """Takes only the first prompts."""
        self.loads: dict[Name, EngineLoad] = {}
        self._deaths: Counter[int] = Counter()
        self._again: deque[Share] = deque()
        self._alone: deque[tuple[int, EnginePrompt]] = deque()
        self._shares = shares_for_engines(
            enumerate(prompts),
            engines,
            prompt=lambda item: item[1].ids,
            answers=lambda item: item[1].answer_tokens,
        )
        self._next = next(self._shares, None)

    def join(self, engine: Name, most_answers: int, cache_tokens: int | None = None) -> None:
        """Deal to one more engine from now on.

        Args:
            engine: its name.
            most_answers: answers that it is asked for at once.
            cache_tokens: what its KV cache holds; None where that is not known.
        """
        self.loads[engine] = EngineLoad(most_answers, IN_FLIGHT * (cache_tokens or math.inf))

    def leave(self, engine: Name) -> None:
        """Deal no more to an engine that died; what it worked on is dealt again.

        Raises:
            PoisonPromptError: it is the third engine that died under one prompt.
        """
        for place, prompt in self.loads.pop(engine).flying.items():
            self._deaths[place] += 1
            if self._deaths[place] >= DEATHS:
                raise PoisonPromptError(
                    f"{DEATHS} engines died one after the other while they worked on "
                    f"{prompt.label or f'prompt {place}'}, the last of them on nothing else: leave "
                    "it out (lm_eval --samples), or mend what the engines printed above. With "
                    "--output_path everything that was finished is kept."
                )
            if self._deaths[place] == DEATHS - 1:
                self._alone.append((place, prompt))
            else:
                self._again.append([(place, prompt)])

    def deal(self) -> dict[Name, Share]:
        """What each engine is to be handed now, with places; it is counted as theirs."""
        handed: dict[Name, Share] = {}
        # A share goes whole, though it may be more than an engine runs at once: its prompt is
        # cached there.
        while free := [name for name, load in self.loads.items() if load.has_room]:
            if not (self._again or self._next):
                self._deal_alone(handed)
                break
            engine = min(free, key=lambda name: self.loads[name].tokens)
            self._hand(engine, self._take_share(), handed)
        return handed

    def _deal_alone(self, handed: dict[Name, Share]) -> None:
        """Prompts under which engines died go, after all others, to engines that are idle."""
        for engine, load in self.loads.items():
            if self._alone and not load.flying:
                self._hand(engine, [self._alone.popleft()], handed)
                load.alone = True

    def _hand(self, engine: Name, share: Share, handed: dict[Name, Share]) -> None:
        for place, prompt in share:
            self.loads[engine].take(place, prompt)
        handed.setdefault(engine, []).extend(share)

    def _take_share(self) -> Share:
        if self._again:
            return self._again.popleft()
        share, self._next = self._next, next(self._shares, None)
        assert share is not None
        return share

    @property
    def done(self) -> bool:
        """Whether every prompt is finished."""
        waiting = self._again or self._alone or self._next
        return not waiting and not any(load.flying for load in self.loads.values())
