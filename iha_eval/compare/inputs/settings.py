"""How a task was asked, as far as it decides what a score means.

For: telling in which settings two runs of one task differ.
Not for: what may differ between two models: checkpoint, engine, versions; those are told in the
report (models.py). Nor for the chat template: prompts are hashed, and equal prompts are equal
whatever template made them. Nor for the limit: which documents there are, the samples tell.
"""

from typing import Any

from iha_eval.compare.inputs.arguments import LENGTH, arguments, decisive, default, longest_input
from iha_eval.compare.inputs.generation import BUDGET, generation, settled
from iha_eval.compare.inputs.runs import Run

_SEEDS = ("random_seed", "numpy_seed", "torch_seed", "fewshot_seed")
_METADATA = ("k", "votes", "prompt_style", "fewshot_examples")
_TEMPLATE = "chat_template_sha"
_ARGUMENT = "model_args."
_FREE = ("limit", _TEMPLATE)


def task_settings(run: Run, task: str) -> dict[str, Any]:
    """Everything that decides how a task was asked; None for what its results do not say.

    Args:
        run: The run.
        task: One of its tasks.
    """
    config, common = run.part("configs", task), run.part("config")
    kwargs = config.get("generation_kwargs") or {}
    asked = kwargs if isinstance(kwargs, dict) else {"": kwargs}
    return {
        **{
            f"generation_kwargs.{name}": value
            for name, value in generation(asked, budget(run)).items()
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


def budget(run: Run) -> Any:
    """Tokens of an answer where the task does not say so."""
    return settled(decisive(run).get("max_gen_toks", BUDGET))


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
    ours, theirs = task_settings(iha, task), task_settings(baseline, task)
    room = f"{_ARGUMENT}{LENGTH}"
    for settings, other, run in ((ours, theirs, iha), (theirs, ours, baseline)):
        if room in other and room not in settings and longest_input(run):
            settings[room] = longest_input(run)
    return [
        f"{name} ({_shown(name, ours.get(name))} against {_shown(name, theirs.get(name))})"
        for name in {**ours, **theirs}
        if name not in _FREE
        and ours.get(name) != theirs.get(name)
        and not (name == "seed" and None in (ours.get(name), theirs.get(name)))
    ]


def _seed(run: Run) -> Any:
    """The seed of the engine; of lm-eval's own classes, where one was given."""
    ours = run.part("config", "iha_eval")
    if ours:
        return ours.get("seed")
    given: Any = arguments(run).get("seed")
    return int(given) if str(given).isdecimal() else given


def _shown(name: str, value: object) -> str:
    if value is None:
        argument = name.startswith(_ARGUMENT)
        return default(name.removeprefix(_ARGUMENT)) if argument else "none"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
