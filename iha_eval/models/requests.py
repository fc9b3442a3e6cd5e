"""lm-eval's requests, made plain: token ids, a budget, stops and a seed of their own.

For: reading generation kwargs strictly, and giving every sampled answer a seed that depends on
nothing but the run's seed, the task, the document and the repeat.
Not for: how an engine draws tokens, nor for putting repeats together (see
`models/vllm/sample_groups.py`).
"""

import hashlib
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from iha_eval.errors import UserError

# In lm-eval's order of precedence.
BUDGET_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
OTHER_NAMES = ("until", "do_sample", "temperature", "top_p", "top_k", "min_p", "seed")
# Asking for what happens anyway is no mistake: stock tasks do it.
NO_OPS = {"num_beams": 1, "num_return_sequences": 1, "n": 1, "repetition_penalty": 1.0}


@dataclass(frozen=True)
class Sampling:
    """How one answer is drawn.

    Attributes:
        max_tokens: generation budget in tokens.
        stop: strings that end the answer and are no part of it.
        stop_ids: token ids that end the answer, end-of-sequence included.
        temperature: 0 is greedy; then the other three have no effect.
        top_p: probability mass to draw from, in (0, 1].
        top_k: number of tokens to draw from; 0 is all.
        min_p: least probability, as a share of the likeliest token's.
        seed: of this one answer; None if greedy.
    """

    max_tokens: int
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None


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
    """

    index: int
    task: str
    doc_id: int | None
    repeat: int
    prompt: "array[int]"
    sampling: Sampling


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


def pack(ids: Iterable[int]) -> "array[int]":
    """Token ids in four bytes each; a list takes nine times that, and a run holds millions."""
    return array("i", ids)


def read_sampling(
    kwargs: Mapping[str, Any], *, task: str, default_budget: int, seed: int
) -> Sampling:
    """Read a request's generation kwargs; `seed` in them replaces the run's.

    Sampling happens where `do_sample` is true, or unset with a temperature above 0. A sampled
    answer still lacks its own seed: see `derive_seed`.

    Args:
        kwargs: lm-eval's `generation_kwargs`.
        task: name of the task, for the message.
        default_budget: generation budget in tokens where the task sets none.
        seed: seed of the run.

    Raises:
        UserError: an unknown name, or a value that cannot be meant.
    """
    where = f"generation_kwargs of task {task}"
    _refuse_unknown(kwargs, where)
    budget = read_budget(kwargs, where, default_budget)
    stop = _strings(kwargs.get("until"), where)
    temperature = _temperature(kwargs, where)
    if temperature == 0.0:
        return Sampling(budget, stop)
    own = kwargs.get("seed")
    return Sampling(
        max_tokens=budget,
        stop=stop,
        temperature=temperature,
        top_p=_number(kwargs, "top_p", 1.0, where, least=0.0, most=1.0, open_below=True),
        # -1 is vLLM's way to say all.
        top_k=max(0, int(_number(kwargs, "top_k", 0, where, least=-1))),
        min_p=_number(kwargs, "min_p", 0.0, where, least=0.0, most=1.0),
        seed=seed if own is None else int(_number(kwargs, "seed", 0, where, least=0)),
    )


def read_budget(kwargs: Mapping[str, Any], where: str, default: int) -> int:
    """The generation budget in tokens, under whichever of its names it was given.

    Args:
        kwargs: lm-eval's `generation_kwargs`.
        where: whose they are, for the message.
        default: the budget where they set none.

    Raises:
        UserError: it is not a whole number above 0, or two names give two numbers.
    """
    given = {name: kwargs[name] for name in BUDGET_NAMES if kwargs.get(name) is not None}
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{name}={value!r} in {where} is not a whole number above 0.")
    if len(set(given.values())) > 1:
        said = " and ".join(f"{name}={value}" for name, value in given.items())
        raise UserError(f"{said} in {where} contradict each other: set {next(iter(given))} alone.")
    return next(iter(given.values()), default)


def derive_seed(seed: int, task: str, doc_id: int | None, repeat: int) -> int:
    """The seed of one sampled answer: 62 bits of a hash, the same on every machine.

    Seeds of repeats follow each other, as vLLM counts them within one request. They know nothing
    of the model: two models draw from the same ones.
    """
    text = f"{seed}|{task}|{doc_id}".encode()
    return (int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 2) + repeat


def cut(text: str, stop: Iterable[str]) -> str:
    """The text up to the first stop string in it."""
    places = [place for place in (text.find(word) for word in stop) if place >= 0]
    return text[: min(places)] if places else text


def _refuse_unknown(kwargs: Mapping[str, Any], where: str) -> None:
    known = (*BUDGET_NAMES, *OTHER_NAMES)
    for name, value in kwargs.items():
        if name in known or value is None or (name in NO_OPS and value == NO_OPS[name]):
            continue
        if name == "n":
            raise UserError(
                f"n={value!r} in {where}: lm-eval would throw all answers but one away; the number "
                "of answers a question is a matter of the task: repeats in its YAML, or "
                f"""--metadata '{{"k": {value}}}' with the tasks of iha_math."""
            )
        only = f" other than {NO_OPS[name]}" if name in NO_OPS else ""
        raise UserError(
            f"{name}={value!r} in {where} is not supported{only}: known are {', '.join(known)}."
        )


def _strings(until: Any, where: str) -> tuple[str, ...]:
    words = [until] if isinstance(until, str) else list(until or [])
    if not all(isinstance(word, str) for word in words):
        raise UserError(f"until={until!r} in {where} is not a string or a list of strings.")
    # An empty one, which some stock tasks have, stops nothing.
    return tuple(word for word in words if word)


def _temperature(kwargs: Mapping[str, Any], where: str) -> float:
    sample = kwargs.get("do_sample")
    if sample is not None and not isinstance(sample, bool):
        raise UserError(f"do_sample={sample!r} in {where} is neither true nor false.")
    # lm-eval takes an unset temperature for 0, which would make do_sample: true greedy.
    unset = 1.0 if sample else 0.0
    temperature = _number(kwargs, "temperature", unset, where, least=0.0)
    return 0.0 if sample is False else temperature


def _number(
    kwargs: Mapping[str, Any],
    name: str,
    unset: float,
    where: str,
    *,
    least: float,
    most: float = float("inf"),
    open_below: bool = False,
) -> float:
    value = kwargs.get(name)
    if value is None:
        return unset
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    # Written so that NaN is refused too.
    if not (least <= number <= most) or (open_below and number == least):
        span = f"above {least:g}" if open_below else f"at least {least:g}"
        upper = "" if most == float("inf") else f" and at most {most:g}"
        raise UserError(f"{name}={value!r} in {where} is not a number {span}{upper}.")
    # Seeds of 62 bits do not survive a float.
    return value if isinstance(value, int) else number
