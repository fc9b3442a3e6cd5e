"""lm-eval's requests, made plain: token ids, a budget, stops and a seed of their own.

For: what an engine is asked and what it gives back; every sampled answer has a seed that depends on
nothing but the run's seed, the task, the document and the repeat.
Not for: reading generation kwargs (see `generation_kwargs.py`), how an engine draws tokens, nor for
putting repeats together (see `models/vllm/sample_groups.py`).
"""

import hashlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

from iha_eval.generation_kwargs import Sampling


@dataclass(frozen=True)
class GenerateRequest:
    """One answer to be generated.

    Attributes:
        index: its place in the call.
        task: name of the task.
        doc_id: index of the document in the task.
        repeat: how many requests for the same document came before it in the call.
        prompt: token ids, special tokens included.
        sampling: how to draw the answer.
        in_thought: whether the prompt ends inside a thought of the model's.
    """

    index: int
    task: str
    doc_id: int | None
    repeat: int
    prompt: "array[int]"
    sampling: Sampling
    in_thought: bool = False


@dataclass(frozen=True)
class Answer:
    """What came of a `GenerateRequest`.

    Attributes:
        text: up to the first stop, without it.
        tokens: number of tokens generated, the stopping one included.
        cut: whether the generation budget ended it.
    """

    text: str
    tokens: int
    cut: bool


@dataclass(frozen=True)
class ScoreRequest:
    """One continuation whose log-probability is asked for.

    Attributes:
        index: its place in the call.
        task: name of the task.
        doc_id: index of the document in the task.
        context: token ids that are given; at least one.
        continuation: token ids to be scored; at least one.
    """

    index: int
    task: str
    doc_id: int | None
    context: "array[int]"
    continuation: "array[int]"


@dataclass(frozen=True)
class Score:
    """What came of a `ScoreRequest`.

    Attributes:
        logprob: sum over the continuation, natural logarithm.
        greedy: whether every token of it is the likeliest one at its place.
    """

    logprob: float
    greedy: bool


NO_SCORE = Score(float("-inf"), False)
"""Stands for a score that came of logits that were not finite."""


def pack(ids: Iterable[int]) -> "array[int]":
    """Token ids in four bytes each; a list takes nine times that, and a run holds millions."""
    return array("i", ids)


def derive_seed(seed: int, task: str, doc_id: int | None, repeat: int) -> int:
    """The seed of one sampled answer: 62 bits of a hash, the same on every machine.

    Seeds of repeats follow each other, as vLLM counts them within one request. They know nothing
    of the model: two models draw from the same ones.
    """
    text = f"{seed}|{task}|{doc_id}".encode()
    return (int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 2) + repeat


def up_to_stop(text: str, stop: Iterable[str]) -> str:
    """The text up to the first stop string in it."""
    places = [place for place in (text.find(word) for word in stop) if place >= 0]
    return text[: min(places)] if places else text
