"""Device, memory, cores, shared memory, compiler: what the machine has to offer.

For: runs that would die of it an hour in. Not for: speed, which only a run shows.
"""

import re
import shutil
from collections.abc import Iterator

from iha_eval.doctor.finding import NOTE, OK, PROBLEM, WARNING, Finding
from iha_eval.doctor.machine import Machine
from iha_eval.models.vllm.devices import free_memory

GIB = 2**30
COMPILERS = ("cc", "gcc", "clang")

#: Python with torch and vLLM takes 2 GiB, a small model with its cache the rest.
LEAST_MEMORY = 4 * GIB

#: What vLLM's processes exchange; containers give 64 MiB by default.
LEAST_SHARED = GIB


def device(machine: Machine) -> Iterator[Finding]:
    """GPUs, or the processor."""
    for number, gpu in enumerate(machine.gpus):
        major, minor = gpu.capability
        yield Finding(
            f"GPU {number}",
            OK,
            f"{gpu.name}, {gpu.free / GIB:.0f} of {gpu.total / GIB:.0f} GiB free, compute "
            f"capability {major}.{minor}",
        )
        if gpu.free < gpu.total / 2:
            yield Finding(
                f"GPU {number} memory",
                WARNING,
                "more than half is taken: vLLM asks for nine tenths and does not start",
                "end what runs there, or say --model_args gpu_memory_utilization=0.4",
            )
    if not machine.gpus:
        yield Finding("device", OK, f"CPU, {machine.cores} cores; no NVIDIA GPU answers")


def memory(machine: Machine) -> Iterator[Finding]:
    """Main memory that is free, within the container's limit."""
    free = free_memory(machine.root / "proc/meminfo", machine.root / "sys/fs/cgroup")
    match = re.search(r"^MemTotal:\s+(\d+) kB", machine.text("proc/meminfo"), re.M)
    total = f" of {int(match[1]) * 1024 / GIB:.1f}" if match else ""
    what = f"{free / GIB:.1f}{total} GiB free"
    if free < LEAST_MEMORY:
        yield Finding(
            "memory",
            WARNING,
            f"{what}: vLLM alone takes 2",
            "end other programs, or raise the limit",
        )
    else:
        yield Finding("memory", OK, what)
    yield from _cache(machine, free)


def _cache(machine: Machine, free: int) -> Iterator[Finding]:
    """The cache's size as vLLM's CPU build reads it from the environment: a whole number."""
    space = machine.environ.get("VLLM_CPU_KVCACHE_SPACE", "")
    if not space:
        return
    try:
        size = int(space)
    except ValueError:
        what = f"is {space!r}, but vLLM reads a whole number of GiB and does not start with it"
    else:
        if 0 <= size * GIB <= free:
            return
        what = f"asks for {size} GiB, and {free / GIB:.1f} are free"
    remedy = "unset it: the requests' need is worked out without it"
    yield Finding("VLLM_CPU_KVCACHE_SPACE", PROBLEM, what, remedy)


def cores(machine: Machine) -> Iterator[Finding]:
    """Cores against what the container may spend."""
    quota, _, period = machine.text("sys/fs/cgroup/cpu.max").strip().partition(" ")
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return
    share = int(quota) / int(period)
    if share + 0.5 < machine.cores and "OMP_NUM_THREADS" not in machine.environ:
        yield Finding(
            "cores",
            WARNING,
            f"{machine.cores} are seen, but the container may use {share:g}: threads wait for "
            "each other",
            f"set OMP_NUM_THREADS={max(1, int(share))}",
        )


def shared_memory(machine: Machine) -> Iterator[Finding]:
    """/dev/shm, through which vLLM's processes talk."""
    try:
        size = shutil.disk_usage(machine.root / "dev/shm")
    except OSError:
        yield Finding(
            "/dev/shm",
            WARNING,
            "is not there: vLLM cannot run in several processes",
            "mount a tmpfs there",
        )
        return
    if size.free < LEAST_SHARED:
        yield Finding(
            "/dev/shm",
            WARNING,
            f"{size.free / GIB:.2f} GiB free: engines of several processes crash without room "
            "there",
            "give the container more (docker run --shm-size=8g, or --ipc=host)",
        )
    else:
        yield Finding("/dev/shm", OK, f"{size.free / GIB:.1f} GiB free")


def compiler(machine: Machine) -> Iterator[Finding]:
    """A C compiler, which torch.compile and Triton call."""
    named = machine.environ.get("CC")
    path = next(filter(None, map(machine.which, [named] if named else COMPILERS)), None)
    if path is not None:
        yield Finding("C compiler", OK, path)
        return
    what = f"CC={named} is no program" if named else "none found"
    if machine.gpus:
        yield Finding(
            "C compiler",
            PROBLEM,
            f"{what}: Triton and torch.compile need one",
            "install gcc, or say --model_args enforce_eager=True",
        )
    else:
        yield Finding(
            "C compiler",
            NOTE,
            f"{what}: needed only where enforce_eager=False asks for compilation",
            "install gcc",
        )


CHECKS = (device, memory, cores, shared_memory, compiler)
