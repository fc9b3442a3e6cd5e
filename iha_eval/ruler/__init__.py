"""RULER's multi-key retrieval: documents of a stated length, and the scores of answers to them.

For: `load_documents` and what belongs to it, `process_results`, and the classes that tasks/ruler_mk
names.
Not for: lm-eval itself: what imports lm-eval is imported only when asked for.

Source: Hsieh et al., "RULER: What's the Real Context Size of Your Long-Context Language Models?",
arXiv:2404.06654, and NVIDIA/RULER.
"""

from typing import Any

from iha_eval.ruler.definition import (
    DOCUMENTS,
    GENERATOR_VERSION,
    LENGTHS,
    NEW_TOKENS,
    VARIANTS,
    Variant,
    length_label,
    task_name,
)
from iha_eval.ruler.documents import Documents, RulerCell, load_documents, plain_prompt
from iha_eval.ruler.haystack import Haystack, load_haystack
from iha_eval.ruler.scoring import METRICS, first_answer, process_results, string_match

__all__ = [
    "DOCUMENTS",
    "GENERATOR_VERSION",
    "LENGTHS",
    "METRICS",
    "NEW_TOKENS",
    "VARIANTS",
    "Documents",
    "Haystack",
    "RulerCell",
    "RulerLengthsGroup",
    "RulerTask",
    "Variant",
    "first_answer",
    "length_label",
    "load_documents",
    "load_haystack",
    "plain_prompt",
    "process_results",
    "string_match",
    "task_name",
]


def __getattr__(name: str) -> Any:
    """Import lm-eval's side on first use."""
    if name in ("RulerLengthsGroup", "RulerTask"):
        from iha_eval.ruler import task

        return getattr(task, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
