"""Which engine of several gets which prompt, and who gets the prompts of an engine that died.

For: `cluster.py`, which carries out what is decided here, and the simulation of many engines in
`benchmarks/dealing.py`. Nothing here knows of Ray, of time or of processes.
Not for: how samples of one document are put together (see `sample_groups.py`).
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
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
# How many times the work that lies before a prompt an engine may do without finishing it.
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


@dataclass(frozen=True)
class DealtPrompt:
    """A prompt and its place in the order of the run."""

    place: int
    prompt: EnginePrompt


@dataclass
class EngineLoad:
    """What one engine works on.

    Attributes:
        most_answers: answers that it is asked for at once.
        most_tokens: tokens that it is given at once; None is any number.
        flying: its prompts by place.
        answers: how many answers are asked of it now.
        tokens: weight of what it works on.
        finished_tokens: weight of what it has finished so far.
        alone: whether it gets nothing beside the one prompt it has.
    """

    most_answers: int
    most_tokens: int | None
    flying: dict[int, DealtPrompt] = field(default_factory=dict)
    answers: int = 0
    tokens: int = 0
    finished_tokens: int = 0
    alone: bool = False
    _overdue_at: dict[int, int] = field(default_factory=dict)

    @property
    def has_room(self) -> bool:
        """Whether it takes one more share now."""
        if self.alone:
            return False
        if len(self.flying) < LEAST_PROMPTS:
            return True
        full = self.most_tokens is not None and self.tokens >= self.most_tokens
        return self.answers < self.most_answers and not full

    def take(self, dealt: DealtPrompt) -> None:
        """Count a prompt in."""
        own = dealt.prompt.weight
        # While it runs, as many others as run at once may each finish as many tokens.
        ahead = self.tokens + own * max(1, self.most_answers)
        self._overdue_at[dealt.place] = self.finished_tokens + PATIENCE * ahead
        self.flying[dealt.place] = dealt
        self.answers += dealt.prompt.answers
        self.tokens += own

    def finish(self, place: int) -> EnginePrompt:
        """Count a finished prompt out."""
        prompt = self.flying.pop(place).prompt
        self.answers -= prompt.answers
        self.tokens -= prompt.weight
        self.finished_tokens += prompt.weight
        del self._overdue_at[place]
        self.alone = False
        return prompt

    def overdue(self) -> DealtPrompt | None:
        """A prompt that this engine has passed over: it did four times the work before it."""
        for place, limit in self._overdue_at.items():
            if self.finished_tokens > limit:
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
        self._again: deque[list[DealtPrompt]] = deque()
        self._alone: deque[DealtPrompt] = deque()
        dealt = (DealtPrompt(place, prompt) for place, prompt in enumerate(prompts))
        self._shares: Iterator[list[DealtPrompt]] = shares_for_engines(
            dealt,
            engines,
            prompt=lambda item: item.prompt.ids,
            answers=lambda item: item.prompt.answer_tokens,
        )
        self._next = next(self._shares, None)

    def join(self, engine: Name, most_answers: int, cache_tokens: int | None = None) -> None:
        """Deal to one more engine from now on.

        Args:
            engine: its name.
            most_answers: answers that it is asked for at once.
            cache_tokens: what its KV cache holds; None where that is not known.
        """
        most_tokens = None if not cache_tokens else int(IN_FLIGHT * cache_tokens)
        self.loads[engine] = EngineLoad(most_answers, most_tokens)

    def leave(self, engine: Name) -> None:
        """Deal no more to an engine that died; what it worked on is dealt again.

        Raises:
            PoisonPromptError: it is the third engine that died under one prompt.
        """
        for dealt in self.loads.pop(engine).flying.values():
            self._deaths[dealt.place] += 1
            if self._deaths[dealt.place] >= DEATHS:
                raise PoisonPromptError(
                    f"{DEATHS} engines died one after the other while they worked on "
                    f"{dealt.prompt.label or f'prompt {dealt.place}'}, the last of them on "
                    "nothing else: leave it out (lm_eval --samples), or mend what the engines "
                    "printed above. With --output_path everything that was finished is kept."
                )
            if self._deaths[dealt.place] == DEATHS - 1:
                self._alone.append(dealt)
            else:
                self._again.append([dealt])

    def deal(self) -> dict[Name, list[DealtPrompt]]:
        """What each engine is to be handed now; it is counted as theirs."""
        handed: dict[Name, list[DealtPrompt]] = {}
        self._deal_alone(handed)
        # A share goes whole, though it may be more than an engine runs at once: its prompt is
        # cached there.
        while free := [name for name, load in self.loads.items() if load.has_room]:
            share = self._take_share()
            if share is None:
                break
            engine = min(free, key=lambda name: self.loads[name].tokens)
            for dealt in share:
                self.loads[engine].take(dealt)
            handed.setdefault(engine, []).extend(share)
        return handed

    def _deal_alone(self, handed: dict[Name, list[DealtPrompt]]) -> None:
        """Prompts under which engines died go, after all others, to an engine that is idle."""
        if self._again or self._next:
            return
        for engine, load in self.loads.items():
            if self._alone and not load.flying:
                dealt = self._alone.popleft()
                load.take(dealt)
                load.alone = True
                handed[engine] = [dealt]

    def finish(self, engine: Name, place: int) -> EnginePrompt:
        """Count a finished prompt out, and give it back."""
        return self.loads[engine].finish(place)

    def _take_share(self) -> list[DealtPrompt] | None:
        if self._again:
            return self._again.popleft()
        share, self._next = self._next, next(self._shares, None)
        return share

    @property
    def done(self) -> bool:
        """Whether every prompt is finished."""
        waiting = self._again or self._alone or self._next
        return not waiting and not any(load.flying for load in self.loads.values())
