"""The `--model_args` of a run, as far as they decide what a model answers to equal prompts.

For: telling which arguments must be equal for two runs to be paired, and which a reader should
know of where they differ.
Not for: what only decides where and how fast a model runs (checkpoint, device, batch size, memory,
parallelism): such arguments may differ freely.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from iha_eval.compare.inputs.generation import BUDGET, settled
from iha_eval.compare.inputs.runs import Run

LENGTH = "max_length/max_model_len"
"""One argument of two names."""

DECISIVE: dict[str, tuple[object, ...]] = {
    # The room for prompt and answer: lm-eval's own classes cut prompts that exceed it.
    LENGTH: (None,),
    "truncation": (False, None),
    "truncation_side": ("left", None),
    "truncate": (False, None),
    "max_gen_toks": (BUDGET, None),
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

TOLD = (
    *("tokenizer", "tokenizer_mode", "tokenizer_revision", "use_fast_tokenizer", "backend"),
    *("quantization", "load_in_8bit", "load_in_4bit", "autogptq", "gptqmodel", "kv_cache_dtype"),
    *("softmax_dtype", "mixed_precision_dtype", "attn_implementation", "batch_invariant", "seed"),
)
"""Arguments that belong to a model or change its numbers a little: they may differ, and a warning
says so. The dtype is one more, told by what was computed in."""


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
    value = DECISIVE[name][0]
    return "unset" if value is None else _text(value)


def longest_input(run: Run) -> str | None:
    """The room that a model had where no argument said so, in tokens; None if unknown."""
    found = run.results.get("max_length")
    return str(found) if isinstance(found, int) else None


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
    for name in TOLD:
        values = [_told(run, name) for run in runs.values()]
        if values[0] != values[1]:
            yield f"The runs differ in {name}: {values[0]} against {values[1]}."


def _ours(run: Run) -> bool:
    return bool(run.part("config", "iha_eval"))


def _given(run: Run) -> dict[str, str]:
    """All decisive arguments that a run was given, at their default or not."""
    names = {"max_length": LENGTH, "max_model_len": LENGTH}
    found = {
        names.get(name, name): _text(value)
        for name, value in arguments(run).items()
        if settled(value) is not None
    }
    if _ours(run):
        # Our classes cut nothing: they refuse what does not fit.
        found.pop(LENGTH, None)
    return {name: found[name] for name in DECISIVE if name in found}


def _at_default(name: str, text: str) -> bool:
    return text in [_text(value) for value in DECISIVE[name]]


def _told(run: Run, name: str) -> str:
    # Our classes record the seed that counted, which has to be equal (settings.py).
    value = None if name == "seed" and _ours(run) else settled(arguments(run).get(name))
    return "unset" if value is None else _text(value)


def _text(value: object) -> str:
    value = settled(value)
    return json.dumps(value, sort_keys=True, default=str) if isinstance(value, dict) else str(value)
