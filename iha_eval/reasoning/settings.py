"""How many answers are drawn and how: read from metadata and generation kwargs, or refused.

For: every number a user can set on these tasks. Not for: what the model class makes of generation
kwargs (iha_eval.generation_kwargs).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from iha_eval.errors import UserError
from iha_eval.generation_kwargs import BUDGET_NAMES, is_greedy, read_budget
from iha_eval.reasoning.fewshot import OWN, SOURCES

NEW_TOKENS = 2048
"""Generation budget in tokens, where neither task nor user sets one."""

# Names of the number of answers that some engines know.
_COUNTS = ("n", "num_return_sequences", "best_of")


@dataclass(frozen=True)
class MathSettings:
    """What metadata says.

    Attributes:
        k: Answers drawn a question.
        votes: The numbers of answers that Maj@k and pass@k are reported for, ascending.
        fewshot: Where worked examples come from: `own` or `train`.
    """

    k: int
    votes: tuple[int, ...]
    fewshot: str


def read_settings(
    task: str, metadata: Mapping[str, Any], repeats: int, voting: bool
) -> MathSettings:
    """Read a task's metadata.

    Args:
        task: Its name, for messages.
        metadata: lm-eval's task metadata; `k`, `votes` and `fewshot` count here.
        repeats: Answers a question where metadata has no `k`.
        voting: Whether this task votes; one that does not draws one answer.

    Raises:
        UserError: A value is none that can be meant.
    """
    fewshot = metadata.get("fewshot", OWN)
    if fewshot not in SOURCES:
        raise UserError(
            f'metadata "fewshot" is {fewshot!r} for {task}: use "own" for our own worked examples '
            'or "train" for the training set\'s.'
        )
    if not voting:
        return MathSettings(1, (1,), fewshot)
    k = _whole(metadata.get("k", repeats), "k", task)
    return MathSettings(k, read_votes(metadata.get("votes"), k, task), fewshot)


def read_votes(votes: Any, k: int, task: str) -> tuple[int, ...]:
    """The numbers of answers to vote with.

    Args:
        votes: What metadata says: a list, a number, or None for the powers of two up to `k` and `k`
            itself.
        k: Answers drawn a question.
        task: Its name, for messages.

    Raises:
        UserError: It is neither, or asks for more answers than are drawn.
    """
    if votes is None:
        powers = {2**exponent for exponent in range(k.bit_length())}
        return tuple(sorted({*powers, k}))
    given = votes if isinstance(votes, list | tuple) else [votes]
    chosen = sorted({_whole(vote, "votes", task) for vote in given})
    if not chosen:
        raise UserError(f'metadata "votes" is empty for {task}: leave it out, or use [1, {k}].')
    if chosen[-1] > k:
        raise UserError(
            f"votes over {chosen[-1]} answers are not possible for {task}, which draws k={k} a "
            f'question: raise metadata "k", or leave {chosen[-1]} out of metadata "votes".'
        )
    return tuple(chosen)


def check_sampling(kwargs: Mapping[str, Any], k: int, task: str) -> None:
    """Refuse generation kwargs that contradict the number of answers.

    Args:
        kwargs: lm-eval's `generation_kwargs`, the user's merged in.
        k: Answers drawn a question.
        task: Its name, for messages.

    Raises:
        UserError: They name a number of answers, or `k` answers would all be the same.
    """
    for name in _COUNTS:
        if kwargs.get(name) is not None:
            raise UserError(
                f"{name}={kwargs[name]!r} in generation_kwargs of {task} does not set how many "
                "answers are drawn: use --metadata '{\"k\": 16}'."
            )
    if k > 1 and is_greedy(kwargs):
        sampling = {name: kwargs.get(name) for name in ("do_sample", "temperature")}
        words = ", ".join(f"{name}={value}" for name, value in sampling.items())
        raise UserError(
            f"{task} draws k={k} answers a question, which would all be the same with {words}: use "
            "a temperature above 0, or --metadata '{\"k\": 1}'."
        )


def set_budget(kwargs: dict[str, Any], task: str) -> None:
    """Set the default generation budget where none is set.

    Args:
        kwargs: lm-eval's `generation_kwargs`; changed in place.
        task: Its name, for messages.

    Raises:
        UserError: The one that is set is no whole number above 0, or there are two.
    """
    if all(kwargs.get(name) is None for name in BUDGET_NAMES):
        kwargs["max_gen_toks"] = NEW_TOKENS
    read_budget(kwargs, f"generation_kwargs of task {task}", NEW_TOKENS)


def _whole(value: Any, name: str, task: str) -> int:
    # Not isinstance: true is no number.
    if type(value) is not int or value < 1:
        raise UserError(f'metadata "{name}" has {value!r} for {task}: use whole numbers above 0.')
    return value
