"""How much memory this process may still take on a CPU machine.

For: sizing a KV cache in main memory. Not for: GPUs, whose memory vLLM measures itself.
"""

import os
import re
from pathlib import Path

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
        found = re.search(pattern, file.read_text(encoding="utf-8"), re.M)
    except OSError:
        return None
    return int(found[1]) if found else None
