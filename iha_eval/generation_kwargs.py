"""lm-eval's generation kwargs, read once: by the engines, the tasks, the comparison and the nights.

For: which names there are, what each value means, what an unset one stands for, and what two sets
of them have in common.
Not for: how an engine draws tokens, nor for which settings two runs must share
(`compare/inputs/settings.py`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from iha_eval.errors import UserError

# In lm-eval's order of precedence.
BUDGET_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
OTHER_NAMES = ("until", "do_sample", "temperature", "top_p", "top_k", "min_p", "seed")
# Asking for what happens anyway is no mistake: stock tasks do it.
NO_OPS = {
    "num_beams": 1,
    "num_return_sequences": 1,
    "n": 1,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
DEFAULT_BUDGET = 256
"""Tokens of an answer where neither task nor model says so; the same as lm-eval's."""

_WORDS = {"true": True, "false": False, "none": None}


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


def read_sampling(
    kwargs: Mapping[str, Any], where: str, *, default_budget: int = DEFAULT_BUDGET, seed: int = 0
) -> Sampling:
    """Read a request's generation kwargs; `seed` in them replaces the run's.

    Sampling happens where `do_sample` is true, or unset with a temperature above 0. A sampled
    answer still lacks its own seed: see `derive_seed`.

    Args:
        kwargs: lm-eval's `generation_kwargs`.
        where: whose they are, for the message.
        default_budget: generation budget in tokens where the task sets none.
        seed: seed of the run.

    Raises:
        UserError: an unknown name, or a value that cannot be meant.
    """
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
        budgets = " and ".join(f"{name}={value}" for name, value in given.items())
        raise UserError(
            f"{budgets} in {where} contradict each other: set {next(iter(given))} alone."
        )
    return next(iter(given.values()), default)


def is_greedy(kwargs: Mapping[str, Any]) -> bool:
    """Whether generation takes the likeliest token; of values that cannot be meant, False."""
    try:
        return _temperature(kwargs, "") == 0.0
    except UserError:
        # Whoever reads them all has the sentence.
        return False


def settled(value: Any) -> Any:
    """A value as lm-eval takes it: `"0.6"` is 0.6, `"true"` is True, 8.0 is 8; others as they are.

    Args:
        value: anything of JSON's types; what is inside of lists and objects stays as it is.
    """
    if isinstance(value, str):
        word = value.strip()
        if word.lower() in _WORDS:
            return _WORDS[word.lower()]
        try:
            number = float(word)
        except ValueError:
            return value
        if not math.isfinite(number):
            return value
        # Whole numbers may be longer than a float is exact.
        return int(word) if word.lstrip("+-").isdecimal() else settled(number)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def as_written(given: Mapping[str, Any], budget: Any = DEFAULT_BUDGET) -> dict[str, Any]:
    """What any model class was asked for, by the rules of lm-eval's `normalize_gen_kwargs`.

    What is not given stays away: some classes fill it from the checkpoint's own defaults.

    Args:
        given: `generation_kwargs` of a task, or what was sent with a prompt.
        budget: tokens of an answer where `given` does not say so.
    """
    settings = {name: settled(value) for name, value in given.items()}
    budgets = [settings.pop(name, None) for name in BUDGET_NAMES]
    settings["max_gen_toks"] = next((number for number in budgets if number is not None), budget)
    if isinstance(settings.get("until"), str):
        settings["until"] = [settings["until"]]
    if settings.get("do_sample") is None:
        settings["do_sample"] = settings.get("temperature") not in (None, 0)
    if not settings["do_sample"]:
        settings["temperature"] = 0
    return settings


def as_drawn(given: Mapping[str, Any], budget: Any = DEFAULT_BUDGET) -> dict[str, Any]:
    """How our own model classes draw answers, so that what is drawn alike reads alike.

    Args:
        given: `generation_kwargs` of a task, or what was sent with a prompt.
        budget: tokens of an answer where `given` does not say so.

    Returns:
        Budget, stop strings and temperature; of sampled answers `top_p` too, `top_k` and `min_p`
        where they leave something out, and a seed that is not the run's. What our classes would
        refuse comes as it was written.
    """
    plain = {name: settled(value) for name, value in given.items()}
    try:
        sampling = read_sampling(plain, "", default_budget=budget)
    except UserError:
        return as_written(given, budget)
    settings: dict[str, Any] = {
        "until": list(dict.fromkeys(sampling.stop)),
        "max_gen_toks": sampling.max_tokens,
        "do_sample": sampling.temperature > 0,
        "temperature": settled(float(sampling.temperature)),
    }
    if sampling.temperature > 0:
        settings["top_p"] = settled(float(sampling.top_p))
        settings |= {"top_k": sampling.top_k} if sampling.top_k else {}
        settings |= {"min_p": sampling.min_p} if sampling.min_p else {}
        settings |= {"seed": plain["seed"]} if plain.get("seed") is not None else {}
    return settings


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
