"""How a task was asked, as far as it decides what a score means.

For: telling in which settings two runs of one task differ.
Not for: what may differ between two models: checkpoint, engine and its arguments, versions; those
are told in the report (models.py).
"""

from collections.abc import Mapping
from typing import Any

from iha_eval.compare.runs import Run

_SEEDS = ("random_seed", "numpy_seed", "torch_seed", "fewshot_seed")
_METADATA = ("k", "votes", "prompt_style", "fewshot_examples")


def task_settings(run: Run, task: str) -> dict[str, Any]:
    """Everything about a task that has to be equal; None for what its results do not say.

    Args:
        run: The run.
        task: One of its tasks.
    """
    config, common = run.part("configs", task), run.part("config")
    kwargs = config.get("generation_kwargs") or {}
    asked = kwargs if isinstance(kwargs, dict) else {"": kwargs}
    return {
        **{f"generation_kwargs.{name}": value for name, value in asked.items()},
        "repeats": config.get("repeats"),
        "num_fewshot": run.part("n-shot").get(task, config.get("num_fewshot")),
        **{name: run.part("configs", task, "metadata").get(name) for name in _METADATA},
        "limit": common.get("limit"),
        **{name: common.get(name) for name in _SEEDS},
        "seed": run.part("config", "iha_eval").get("seed"),
        "chat_template_sha": run.results.get("chat_template_sha"),
        "version": run.part("versions").get(task),
    }


def differing_settings(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """The settings that are not equal, each with both values, such as `limit (8 against 10)`.

    lm-eval's own model classes do not record a seed of the engine; where only one side has one,
    it is not held against the other.
    """
    return [
        f"{name} ({_shown(a.get(name))} against {_shown(b.get(name))})"
        for name in {**a, **b}
        if a.get(name) != b.get(name)
        and not (name == "seed" and None in (a.get(name), b.get(name)))
    ]


def _shown(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
