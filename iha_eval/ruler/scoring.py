"""How one answer is scored.

For: the two metrics of the ruler_mk tasks, each from 0 to 1 per document.
Not for: means and standard errors, which lm-eval computes.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from iha_eval.ruler.definition import Kind

#: The metrics' names, in the order in which they are shown.
METRICS = ("string_match", "first_answer")

_VALUES: dict[Kind, re.Pattern[str]] = {
    "number": re.compile(r"(?<![0-9])[0-9]{7}(?![0-9])"),
    "uuid": re.compile(
        r"(?<![0-9a-f])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![0-9a-f])"
    ),
}


def string_match(output: str, references: Sequence[str]) -> float:
    """The share of references that occur in the output, upper and lower case alike.

    This is the score in RULER's paper (`string_match_all`). It rewards an output that lists many
    values.

    Source: NVIDIA/RULER, scripts/eval/synthetic/constants.py.
    """
    lowered = output.lower()
    return sum(reference.lower() in lowered for reference in references) / len(references)


def first_answer(output: str, references: Sequence[str], kind: Kind) -> float:
    """1 if the first value of the asked kind in the output is a reference, else 0.

    Args:
        output: What the model wrote.
        references: The right values.
        kind: `number` for seven digits on their own, `uuid` for a UUID.
    """
    found = _VALUES[kind].search(output.lower())
    return float(found is not None and found[0] in {r.lower() for r in references})


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Both scores of one document, in the form lm-eval asks for.

    Args:
        doc: A document with `outputs` (the right values) and `kind`.
        results: What the model wrote; only the first is scored, since generation is greedy.
    """
    output, references = results[0], doc["outputs"]
    return {
        "string_match": string_match(output, references),
        "first_answer": first_answer(output, references, doc["kind"]),
    }
