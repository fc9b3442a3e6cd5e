"""GSM8K and MATH-500 with k sampled answers a question, voted on and scored.

For: `MathTask`, which the tasks in tasks/gsm8k and tasks/math500 name.
Not for: reading data (iha_eval.data), nor for what an answer is and which ones are equal
(iha_eval.answers). What imports lm-eval is imported only when asked for.
"""

from typing import Any

__all__ = ["MathTask"]


def __getattr__(name: str) -> Any:
    """Import lm-eval's side on first use."""
    if name == "MathTask":
        from iha_eval.reasoning.task import MathTask

        return MathTask
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
