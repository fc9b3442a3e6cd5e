"""Secrets out of what is written down or shown: command lines and model arguments.

For: results, reports and logs. Imports nothing slow.
Not for: deciding what is worth recording (see `harness/provenance.py`).
"""

import re
from collections.abc import Mapping
from typing import Any

# Whole names: add_bos_token is no secret.
_SECRET = re.compile(r"""(?i)\b(hf_token|token|api_key|password)(["']?\s*[:=]\s*["']?)[^,\s"'}]+""")


def redact(text: str) -> str:
    """A text in which the values of secrets are stars, written as name=value or as JSON."""
    return _SECRET.sub(r"\1\2***", text)


def without_secrets(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as results may hold them: JSON's own types, no secrets."""
    return {
        name: "***" if redact(f"{name}=x") != f"{name}=x" else plain(value)
        for name, value in arguments.items()
    }


def plain(value: Any) -> Any:
    """A value in JSON's own types; whatever has none becomes text."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
