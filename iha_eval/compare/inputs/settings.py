"""How a task was asked, as far as it decides what a score means.

For: telling in which settings two runs of one task differ: the task's own, the `--model_args` that
change answers, and what was sent with each prompt, which lm-eval writes down beside it.
Not for: what may differ between two models (checkpoint, engine, versions, device, batch size,
memory): the report tells that. Nor for the chat template: prompts are hashed, and equal prompts are
equal whatever template made them. Nor for the limit: which documents there are, the samples tell.
"""

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from iha_eval.compare.inputs.runs import Run
from iha_eval.compare.inputs.samples import Key, Sample
from iha_eval.generation_kwargs import DEFAULT_BUDGET, as_drawn, as_written, settled
from iha_eval.util.text import cut_short

LENGTH = "max_length/max_model_len"
"""One argument of two names."""

ANSWER_CHANGING: dict[str, tuple[object, ...]] = {
    # The room for prompt and answer: lm-eval's own classes cut prompts that exceed it.
    LENGTH: (None,),
    "truncation": (False, None),
    "truncation_side": ("left", None),
    "truncate": (False, None),
    "max_gen_toks": (DEFAULT_BUDGET, None),
    # What surrounds a prompt, ends an answer or is taken off it.
    "add_bos_token": (None,),
    "prefix_token_id": (None,),
    "custom_prefix_token_id": (None,),
    "chat_template_args": (None, {}),
    "enable_thinking": (None,),
    "think_end_token": (None,),
    "eos_string": (None,),
    # What is laid over a checkpoint.
    "peft": (None,),
    "delta": (None,),
    "lora_local_path": (None,),
    "hf_overrides": (None, {}),
    "rope_scaling": (None, {}),
    "rope_theta": (None,),
}
"""Argument -> its defaults, which are the same in every class that has it."""

WORTH_A_WARNING = (
    *("tokenizer", "tokenizer_mode", "tokenizer_revision", "use_fast_tokenizer", "backend"),
    *("quantization", "load_in_8bit", "load_in_4bit", "autogptq", "gptqmodel", "kv_cache_dtype"),
    *("softmax_dtype", "mixed_precision_dtype", "attn_implementation", "batch_invariant", "seed"),
)
"""Arguments that belong to a model or change its numbers a little: they may differ, and a warning
says so. The dtype is one more, told by what was computed in."""

_SEEDS = ("random_seed", "numpy_seed", "torch_seed", "fewshot_seed")
_METADATA = ("k", "votes", "prompt_style", "fewshot_examples")
_TEMPLATE = "chat_template_sha"
_ARGUMENT = "model_args."
_FREE = ("limit", _TEMPLATE)


def task_settings(run: Run, task: str, other: Run | None = None) -> dict[str, Any]:
    """Everything that decides how a task was asked; None for what its results do not say.

    Args:
        run: The run.
        task: One of its tasks.
        other: The run that it is held against, if there is one.
    """
    config, common = run.part("configs", task), run.part("config")
    kwargs = config.get("generation_kwargs") or {}
    asked = kwargs if isinstance(kwargs, dict) else {"": kwargs}
    return {
        **{
            f"generation_kwargs.{name}": value
            for name, value in generation_reader(run, other or run)(asked).items()
        },
        "repeats": config.get("repeats"),
        "num_fewshot": run.part("n-shot").get(task, config.get("num_fewshot")),
        **{name: run.part("configs", task, "metadata").get(name) for name in _METADATA},
        "limit": common.get("limit"),
        **{name: common.get(name) for name in _SEEDS},
        "seed": _seed(run),
        _TEMPLATE: template(run, task),
        "version": run.part("versions").get(task),
        **{f"{_ARGUMENT}{name}": value for name, value in decisive(run).items()},
    }


def common_settings(run: Run) -> dict[str, Any]:
    """Those of `task_settings` that are one for all tasks of a run: seeds, model arguments."""
    settings = task_settings(run, run.tasks[0])
    return {
        name: value
        for name, value in settings.items()
        if name in _SEEDS or name == "seed" or name.startswith(_ARGUMENT)
    }


def generation_reader(run: Run, other: Run) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """How to read a run's generation kwargs when it is held against another.

    Between runs of our own classes what would be drawn decides; other classes may fill what is not
    given from the checkpoint's own defaults.
    """
    rule = as_drawn if _ours(run) and _ours(other) else as_written
    budget = settled(decisive(run).get("max_gen_toks", DEFAULT_BUDGET))
    return functools.partial(rule, budget=budget)


def template(run: Run, task: str) -> Any:
    """The hash of the chat template that a task was asked with; None for none.

    Runs that were put together of several have one for each task.
    """
    by_task = run.part("config", "iha_eval_chat_template_sha")
    return by_task[task] if task in by_task else run.results.get(_TEMPLATE)


def differing_settings(iha: Run, baseline: Run, task: str) -> list[str]:
    """The settings that have to be equal and are not, with both values: `k (8 against 16)`.

    lm-eval's own model classes do not always record a seed of the engine; where only one side has
    one, it is not held against the other.

    Args:
        iha: The run in question.
        baseline: The one it is measured by.
        task: A task of both.
    """
    ours, theirs = task_settings(iha, task, baseline), task_settings(baseline, task, iha)
    room = f"{_ARGUMENT}{LENGTH}"
    for settings, other, run in ((ours, theirs, iha), (theirs, ours, baseline)):
        if room in other and room not in settings and longest_input(run):
            settings[room] = longest_input(run)
    return [
        f"{name} ({_written(name, ours.get(name))} against {_written(name, theirs.get(name))})"
        for name in {**ours, **theirs}
        if name not in _FREE
        and ours.get(name) != theirs.get(name)
        and not (name == "seed" and None in (ours.get(name), theirs.get(name)))
    ]


def arguments(run: Run) -> dict[str, Any]:
    """What a run was given as `--model_args`, secrets and all; older lm-evals record one text."""
    ours = run.part("config", "iha_eval", "model_args")
    given = ours or run.part("config").get("model_args")
    if isinstance(given, str):
        words = (word.partition("=") for word in given.split(",") if word)
        given = {name: value for name, _, value in words}
    return dict(given) if isinstance(given, Mapping) else {}


def decisive(run: Run) -> dict[str, str]:
    """The decisive arguments of a run that are not at their default, as text."""
    return {name: text for name, text in _given(run).items() if not _at_default(name, text)}


def default(name: str) -> str:
    """What stands for a decisive argument that was not given."""
    value = ANSWER_CHANGING[name][0]
    return "unset" if value is None else _text(value)


def longest_input(run: Run) -> str | None:
    """The room that a model had where no argument said so, in tokens; None if unknown."""
    length = run.results.get("max_length")
    return str(length) if isinstance(length, int) else None


def argument_warnings(iha: Run, baseline: Run) -> Iterator[str]:
    """What a reader should know of arguments by which two runs can still be paired.

    Args:
        iha: The run in question.
        baseline: The one it is measured by.
    """
    runs = {"IHA": iha, "baseline": baseline}
    given = {side: _given(run) for side, run in runs.items()}
    for side, other in (("IHA", "baseline"), ("baseline", "IHA")):
        for name, value in given[side].items():
            if name in given[other]:
                continue
            if _at_default(name, value):
                yield f"Only the {side} run was given {name}={value}, which is the default."
            elif name == LENGTH and value == longest_input(runs[other]):
                yield f"Only the {side} run was given {name}={value}; the other has as much room."
    rooms = [longest_input(run) for run in runs.values()]
    cutting = not any(LENGTH in named for named in given.values()) and not all(
        map(_ours, (iha, baseline))
    )
    if cutting and None not in rooms and rooms[0] != rooms[1]:
        yield (
            f"The models have room for {rooms[0]} against {rooms[1]} tokens, and lm-eval's own "
            "classes cut prompts that exceed it."
        )
    for name in WORTH_A_WARNING:
        values = [_warned(run, name) for run in runs.values()]
        if values[0] != values[1]:
            yield f"The runs differ in {name}: {values[0]} against {values[1]}."


def request_difference(
    iha: Mapping[Key, Sample],
    baseline: Mapping[Key, Sample],
    readers: Sequence[Callable[[Mapping[str, Any]], dict[str, Any]]],
) -> str:
    """What differs between what was sent with the same documents; empty if nothing does.

    Args:
        iha: Samples of one run.
        baseline: Samples of the other, of the same task.
        readers: How to read what was sent in each run; see `generation_reader`.
    """
    different: dict[tuple[str | None, str | None], str] = {}
    for key in sorted({*iha} & {*baseline}):
        pair = iha[key].request_settings, baseline[key].request_settings
        if pair not in different:
            different[pair] = _differing_names(pair, readers)
        if different[pair]:
            return f"settings sent with document {key[1]}: {different[pair]}"
    return ""


def _seed(run: Run) -> Any:
    """The seed of the engine; of lm-eval's own classes, where one was given."""
    ours = run.part("config", "iha_eval")
    if ours:
        return ours.get("seed")
    given: Any = arguments(run).get("seed")
    return settled(given)


def _written(name: str, value: object) -> str:
    if value is None:
        argument = name.startswith(_ARGUMENT)
        return default(name.removeprefix(_ARGUMENT)) if argument else "none"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return cut_short(str(value))


def _ours(run: Run) -> bool:
    return bool(run.part("config", "iha_eval"))


def _given(run: Run) -> dict[str, str]:
    """All decisive arguments that a run was given, at their default or not."""
    names = {"max_length": LENGTH, "max_model_len": LENGTH}
    given = {
        names.get(name, name): _text(value)
        for name, value in arguments(run).items()
        if settled(value) is not None
    }
    if _ours(run):
        # Our classes cut nothing: they refuse what does not fit.
        given.pop(LENGTH, None)
    return {name: given[name] for name in ANSWER_CHANGING if name in given}


def _at_default(name: str, text: str) -> bool:
    return text in [_text(value) for value in ANSWER_CHANGING[name]]


def _warned(run: Run, name: str) -> str:
    # Our classes record the seed that counted, which has to be equal (settings.py).
    value = None if name == "seed" and _ours(run) else settled(arguments(run).get(name))
    return "unset" if value is None else _text(value)


def _text(value: object) -> str:
    value = settled(value)
    return json.dumps(value, sort_keys=True, default=str) if isinstance(value, dict) else str(value)


def _differing_names(
    pair: tuple[str | None, str | None],
    readers: Sequence[Callable[[Mapping[str, Any]], dict[str, Any]]],
) -> str:
    """Names with both values; empty where a side did not write them down."""
    ours, theirs = (
        [read(settings) for settings in json.loads(text or "[]")]
        for text, read in zip(pair, readers, strict=True)
    )
    # A document that was asked in several ways must have been asked in the same ones.
    for a, b in zip(ours, theirs, strict=False):
        names = [name for name in {**a, **b} if a.get(name) != b.get(name)]
        if names:
            return ", ".join(
                f"{name} ({_shown(a, name)} against {_shown(b, name)})" for name in names
            )
    return ""


def _shown(settings: Mapping[str, Any], name: str) -> str:
    value = settings.get(name)
    return "none" if value is None else str(value)[:40]
