"""Environment variables that change what runs, and those that are set in vain.

For: results that differ between two shells, for reasons nobody remembers.
Not for: variables of our own that have a check elsewhere (IHA_EVAL_DATA, IHA_EVAL_NO_HOOK).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from iha_eval.doctor.finding import NOTE, OK, WARNING, Finding
from iha_eval.doctor.machine import Machine

OFF = ("", "0", "false", "no", "off")


@dataclass(frozen=True)
class Variable:
    """One that is worth a line when it is set.

    Attributes:
        name: Of the variable.
        when: Whether a value of it is worth the line.
        status: Of the finding.
        what: What it does.
        remedy: What to do about it.
    """

    name: str
    when: Callable[[str], bool]
    status: str
    what: str
    remedy: str = ""


def _on(value: str) -> bool:
    return value.lower() not in OFF


KNOWN = (
    Variable(
        "VLLM_ALLOW_LONG_MAX_MODEL_LEN",
        _on,
        WARNING,
        "vLLM serves lengths beyond the checkpoint's context, where positions were never trained",
        "unset it",
    ),
    Variable(
        "VLLM_USE_MODELSCOPE",
        _on,
        WARNING,
        "vLLM takes hub names from ModelScope, everything else here from Hugging Face",
        "unset it, or name a folder",
    ),
    Variable(
        "VLLM_ENABLE_V1_MULTIPROCESSING",
        _on,
        NOTE,
        "the engine runs in processes of its own: starts take up to a minute instead of seconds",
        "unset it on a CPU",
    ),
    Variable(
        "VLLM_CPU_KVCACHE_SPACE",
        # What is no number is a problem, which `resources` names.
        lambda value: value.isdigit() and _on(value),
        NOTE,
        "fixes the KV cache in GiB on a CPU, instead of what the requests need",
    ),
    Variable(
        "VLLM_CPU_OMP_THREADS_BIND",
        lambda value: value not in ("", "auto"),
        NOTE,
        "decides which cores vLLM's threads run on; tensor_parallel_size=2 on one CPU needs '0|1'",
    ),
    Variable(
        "VLLM_CPU_ATTN_SPLIT_KV",
        _on,
        NOTE,
        "lets attention split by load, so that sampled answers can depend on the batch",
        "unset it for answers that an interrupted run repeats",
    ),
    Variable("VLLM_BATCH_INVARIANT", _on, NOTE, "asks for vLLM's slower batch-invariant kernels"),
    Variable(
        "HF_HUB_OFFLINE",
        _on,
        NOTE,
        "the hub is not asked: checkpoints, essays and data come from folders or the local cache",
        "unset it where the hub can be reached",
    ),
    Variable(
        "TRANSFORMERS_OFFLINE",
        _on,
        NOTE,
        "an older name of HF_HUB_OFFLINE, with the same effect",
        "unset it where the hub can be reached",
    ),
    Variable(
        "HF_DATASETS_OFFLINE",
        _on,
        NOTE,
        "the data sets come from the local cache alone",
        "unset it where the hub can be reached",
    ),
    Variable("HF_ENDPOINT", _on, NOTE, "the hub is asked at another address than the usual one"),
    Variable(
        "TORCHDYNAMO_DISABLE", _on, NOTE, "torch.compile does nothing: slower on GPUs", "unset it"
    ),
    Variable(
        "CUDA_LAUNCH_BLOCKING", _on, NOTE, "GPU kernels wait for each other: slow", "unset it"
    ),
)


def settings(machine: Machine) -> Iterator[Finding]:
    """Variables that change what runs."""
    for variable in KNOWN:
        value = machine.environ.get(variable.name)
        if value is not None and variable.when(value):
            yield Finding(
                f"{variable.name}={value}", variable.status, variable.what, variable.remedy
            )


def hidden_gpus(machine: Machine) -> Iterator[Finding]:
    """GPUs that the driver shows and programs are not to see."""
    value = machine.environ.get("CUDA_VISIBLE_DEVICES")
    if value is not None and machine.gpus and value.strip() in ("", "-1"):
        yield Finding(
            f"CUDA_VISIBLE_DEVICES={value}",
            WARNING,
            f"hides all {len(machine.gpus)} GPUs",
            "unset it, or list the GPUs to use",
        )


def unread(machine: Machine) -> Iterator[Finding]:
    """VLLM_* variables that the installed release does not read: misspelled, or removed."""
    if machine.vllm is None:
        return
    name, number = machine.vllm
    source = machine.file_of(name, "vllm/envs.py")
    if source is None:
        return
    known = set(re.findall(r"\bVLLM_[A-Z0-9_]+", source.read_text(encoding="utf-8")))
    given = {key for key in machine.environ if key.startswith("VLLM_")}
    vain = sorted(given - known)
    for key in vain:
        remedy = "unset it, or mend its spelling"
        if key == "VLLM_ATTENTION_BACKEND":
            remedy = "unset it, and say --model_args attention_backend=NAME"
        yield Finding(key, WARNING, f"is set, but {name} {number} does not read it", remedy)
    if not vain:
        yield Finding("VLLM_* variables", OK, f"{len(given)} set, all known to {name} {number}")


def threads(machine: Machine) -> Iterator[Finding]:
    """OMP_NUM_THREADS against the cores that there are."""
    value = machine.environ.get("OMP_NUM_THREADS")
    cores = machine.cores
    if value is None:
        return
    # OpenMP takes a list, one number per level of nesting.
    first = value.split(",")[0].strip()
    name = f"OMP_NUM_THREADS={value}"
    if not first.isdigit() or int(first) < 1:
        yield Finding(name, WARNING, "is no number of threads", "unset it, or give a number")
    elif int(first) > cores:
        yield Finding(
            name,
            WARNING,
            f"more threads than the {cores} cores that this process may use: they wait for each "
            "other",
            f"set it to {cores} or fewer",
        )
    elif int(first) < cores and not machine.gpus:
        yield Finding(
            name, NOTE, f"fewer threads than the {cores} cores: slower than need be", "unset it"
        )


CHECKS = (settings, hidden_gpus, unread, threads)
