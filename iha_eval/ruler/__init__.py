"""RULER: documents of a stated length, and the scores of answers to them.

For: `load_documents` and what belongs to it, the scores, and the classes that tasks/ruler and
tasks/ruler_mk name.
Not for: lm-eval itself: what imports lm-eval is imported only when asked for.

Source: Hsieh et al., "RULER: What's the Real Context Size of Your Long-Context Language Models?",
arXiv:2404.06654, and NVIDIA/RULER.
"""

from typing import Any

from iha_eval.ruler.definition import (
    ALL_LENGTHS,
    DOCUMENTS,
    GENERATOR_VERSION,
    LENGTHS,
    length_label,
    task_name,
)
from iha_eval.ruler.documents import Documents, RulerCell, load_documents, plain_prompt
from iha_eval.ruler.drafts import RulerSettings
from iha_eval.ruler.haystack import Haystack, load_haystack
from iha_eval.ruler.niah import VARIANTS, Variant
from iha_eval.ruler.scoring import (
    COMMON_METRICS,
    METRICS,
    first_answer,
    process_results,
    score,
    string_match,
)
from iha_eval.ruler.suite import FAMILIES, TASKS, leaf_name

__all__ = [
    "ALL_LENGTHS",
    "COMMON_METRICS",
    "DOCUMENTS",
    "FAMILIES",
    "GENERATOR_VERSION",
    "LENGTHS",
    "METRICS",
    "TASKS",
    "VARIANTS",
    "Documents",
    "Haystack",
    "RulerCell",
    "RulerGroup",
    "RulerLengthsGroup",
    "RulerSettings",
    "RulerTask",
    "Variant",
    "first_answer",
    "leaf_name",
    "length_label",
    "load_documents",
    "load_haystack",
    "plain_prompt",
    "process_results",
    "score",
    "string_match",
    "task_name",
]


def __getattr__(name: str) -> Any:
    """Import lm-eval's side on first use."""
    if name in ("RulerGroup", "RulerLengthsGroup", "RulerTask"):
        from iha_eval.ruler import task

        return getattr(task, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
