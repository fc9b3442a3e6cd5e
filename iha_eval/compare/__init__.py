"""One model against another, question by question: from two lm-eval outputs to a report.

For: `build_report`, whose dictionary is all that a page, a message or a machine needs to know, and
`write_report`, which puts the three files down.
Not for: running models, keeping a history of nights, nor for the statistics themselves
(iha_eval.statistics). What is slow to import is imported only when asked for.
"""

from typing import Any

__all__ = ["build_report", "to_markdown", "write_report"]

_PLACES = {
    "build_report": "report",
    "to_markdown": "render.markdown",
    "write_report": "render.output",
}


def __getattr__(name: str) -> Any:
    """Import the module behind a name on first use."""
    if name in _PLACES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
