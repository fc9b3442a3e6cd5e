"""What was sent with each prompt, which lm-eval writes down beside it.

For: finding runs whose results claim equal settings and whose samples were drawn with others.
Not for: the settings that the results claim (settings.py), nor for prompts, which are hashed.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from iha_eval.compare.inputs.generation import generation

if TYPE_CHECKING:
    from iha_eval.compare.inputs.samples import Key, Sample

# The end of an answer may be a token of the model's own.
_OWN = "until"


def sent_with(arguments: object) -> str | None:
    """The settings that were sent with a document's prompts, as JSON; None if the line has none.

    Args:
        arguments: The entry `arguments` of a sample.
    """
    calls = list(arguments.values()) if isinstance(arguments, dict) else []
    settings = [call.get("arg_1") for call in calls if isinstance(call, dict)]
    found = [
        json.dumps({name: one[name] for name in sorted(one) if name != _OWN})
        for one in settings
        if isinstance(one, dict)
    ]
    # Nearly all lines have the same.
    return sys.intern(f"[{', '.join(dict.fromkeys(found))}]") if found else None


def sent_difference(
    iha: "Mapping[Key, Sample]", baseline: "Mapping[Key, Sample]", budgets: Sequence[Any]
) -> str:
    """What differs between what was sent with the same documents; empty if nothing does.

    Args:
        iha: Samples of one run.
        baseline: Samples of the other, of the same task.
        budgets: Tokens of an answer in each run where a line does not say so.
    """
    different: dict[tuple[str | None, str | None], str] = {}
    for key in sorted({*iha} & {*baseline}):
        pair = iha[key].sent, baseline[key].sent
        if pair not in different:
            different[pair] = _difference(pair, budgets)
        if different[pair]:
            return f"settings sent with document {key[1]}: {different[pair]}"
    return ""


def _difference(pair: tuple[str | None, str | None], budgets: Sequence[Any]) -> str:
    """Names with both values; empty where a side did not write them down."""
    ours, theirs = (
        [generation(one, budget) for one in json.loads(text or "[]")]
        for text, budget in zip(pair, budgets, strict=True)
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
