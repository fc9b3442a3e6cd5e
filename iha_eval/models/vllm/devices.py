"""What an engine is started with, and which part of the machine it gets: GPUs, or processor cores.

For: the plan and the environment of engines that `cluster.py` starts, also on other machines, and
how much memory this process may still take on a CPU machine (a GPU's memory vLLM measures itself).
Not for: the ranks inside an engine, which vLLM places by itself on what is visible to it.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from iha_eval.errors import UserError
from iha_eval.models.arguments import ModelArguments

GPUS = "CUDA_VISIBLE_DEVICES"
BIND = "VLLM_CPU_OMP_THREADS_BIND"
THREADS = "OMP_NUM_THREADS"


@dataclass(frozen=True)
class EnginePlan:
    """What an engine is started with, by this process or by one on another machine.

    Attributes:
        checkpoint: folder of the checkpoint.
        tokenizer: folder of the tokenizer.
        arguments: the user's.
        max_model_len: longest sequence in tokens.
        needs: the length in tokens that each request may reach.
        fingerprint: of the checkpoint as the driver has it; None is not compared.
        neighbours: engines that share the memory of the machine.
    """

    checkpoint: Path
    tokenizer: Path
    arguments: ModelArguments
    max_model_len: int
    needs: Sequence[int]
    fingerprint: str | None = None
    neighbours: int = 1

    def over_nodes(self) -> "EnginePlan":
        """The same for an engine whose ranks are on several machines."""
        engine = {"distributed_executor_backend": "ray", **self.arguments.engine}
        return replace(self, arguments=replace(self.arguments, engine=engine))


@dataclass(frozen=True)
class Slice:
    """What one engine gets.

    Attributes:
        environment: variables that are set for its process.
        cores: processor cores that it keeps to; None is any.
    """

    environment: Mapping[str, str]
    cores: frozenset[int] | None = None


def check_gpus(engines: int, ranks: int, visible: Sequence[str]) -> None:
    """Refuse more engines than this machine has GPUs for.

    Args:
        engines: how many there are.
        ranks: processes of each, a GPU each.
        visible: names of the GPUs that may be used.

    Raises:
        UserError: there are too few.
    """
    needed = engines * ranks
    if needed > len(visible):
        raise UserError(
            f"data_parallel_size={engines} with {ranks} GPUs for each engine needs {needed} "
            f"GPUs, and {len(visible)} are visible: use fewer, or show more in {GPUS}."
        )


def core_slices(
    engines: int, ranks: int, cores: Sequence[int], environment: Mapping[str, str]
) -> list[Slice]:
    """Cores in equal parts; engines share them where there are too few.

    Args:
        engines: how many there are.
        ranks: processes of each.
        cores: cores that may be used.
        environment: the parent's: BIND may name cores for every rank of every engine
            (`0|1|2|3`), which are then dealt out, or be `nobind`; THREADS stays where it is set.
    """
    given = environment.get(BIND, "auto")
    named = given.split("|")
    if len(named) == engines * ranks > 1:
        parts = [named[place * ranks : (place + 1) * ranks] for place in range(engines)]
        return [Slice({BIND: "|".join(part)}) for part in parts]
    share = max(1, len(cores) // engines)
    threads = {} if THREADS in environment else {THREADS: str(max(1, share // ranks))}
    if given != "auto":
        return [Slice(threads)] * engines
    starts = [place * share % len(cores) for place in range(engines)]
    return [Slice(threads, frozenset(cores[start : start + share])) for start in starts]


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them."""
    named = os.environ.get(GPUS)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


MEMINFO = Path("/proc/meminfo")
CONTROL_GROUP = Path("/sys/fs/cgroup")


def free_memory(meminfo: Path = MEMINFO, group: Path = CONTROL_GROUP) -> int:
    """Bytes still free, of the machine's memory and of its control group's where that has a limit.

    Args:
        meminfo: the kernel's account of the machine's memory; without it, half of all is free.
        group: folder of the control group (version 2), which is what limits a container.
    """
    machine = _find(meminfo, r"^MemAvailable:\s+(\d+) kB")
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    free = pages if machine is None else machine * 1024
    most = _find(group / "memory.max", r"^(\d+)$")
    # What a group merely caches of files is given back when it is needed, so it does not count.
    held = _find(group / "memory.stat", r"^anon (\d+)$")
    return free if most is None or held is None else min(free, max(0, most - held))


def _find(file: Path, pattern: str) -> int | None:
    try:
        match = re.search(pattern, file.read_text(encoding="utf-8"), re.M)
    except OSError:
        return None
    return int(match[1]) if match else None
