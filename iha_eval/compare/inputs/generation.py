"""Settings of a generation as lm-eval reads them, so that equal ones are equal however written.

For: texts that stand for numbers or truth values, the several names of one argument, and what
counts where nothing is given.
Not for: which settings have to be equal (settings.py).
"""

import math
from collections.abc import Mapping
from typing import Any

BUDGET = 256
"""Tokens of an answer where neither task nor model says so."""

# In the order in which lm-eval heeds them.
_BUDGETS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")

_WORDS = {"true": True, "false": False, "none": None}


def settled(value: Any) -> Any:
    """A value as lm-eval takes it: `"0.6"` is 0.6, `"true"` is True, 8.0 is 8; others as they are.

    Args:
        value: Anything of JSON's types; what is inside of lists and objects stays as it is.
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


def generation(given: Mapping[str, Any], budget: Any = BUDGET) -> dict[str, Any]:
    """All that decides how answers are drawn, what was not given included.

    The rules are those of `normalize_gen_kwargs` in lm-eval's models/utils.py.

    Args:
        given: `generation_kwargs` of a task, or what was sent with a prompt.
        budget: Tokens of an answer where `given` does not say so.
    """
    found = {name: settled(value) for name, value in given.items()}
    budgets = [found.pop(name, None) for name in _BUDGETS]
    found["max_gen_toks"] = next((one for one in budgets if one is not None), budget)
    if isinstance(found.get("until"), str):
        found["until"] = [found["until"]]
    if found.get("do_sample") is None:
        found["do_sample"] = found.get("temperature") not in (None, 0)
    if not found["do_sample"]:
        found["temperature"] = 0
    return found
