"""How lm-eval and vLLM find us: start-up file, entry points, plugins, tasks.

For: `unknown model iha-vllm` and `unknown architecture IHALlamaForCausalLM`, before they happen.
Not for: installing any of it.
"""

from collections.abc import Iterator
from pathlib import Path

from packaging.version import Version

from iha_eval.doctor.finding import OK, PROBLEM, WARNING, Finding
from iha_eval.doctor.machine import Machine
from iha_eval.lm_eval_plugin.startup import OFF_SWITCH
from iha_eval.util.installation import tasks_dir

STARTUP = "iha_eval_startup.pth"
MODELS = {"iha-vllm", "iha-hf"}
PLUGIN = "iha"
INSTEAD = "run lm-eval as `iha-eval run ...`"

# The newest release that reads no entry points.
WITHOUT_ENTRY_POINTS = Version("0.4.13")


def lm_eval_hook(machine: Machine) -> Iterator[Finding]:
    """Which way makes our models known to the command `lm_eval`."""
    name = "lm-eval hook"
    number = machine.version("lm-eval")
    file = next((path for path in machine.search_path if (Path(path) / STARTUP).is_file()), None)
    if machine.environ.get(OFF_SWITCH, "") not in ("", "0"):
        yield Finding(
            name,
            WARNING,
            f"{OFF_SWITCH}={machine.environ[OFF_SWITCH]} turns it off: lm_eval does not know "
            "iha-vllm",
            f"unset {OFF_SWITCH}, or {INSTEAD}",
        )
    elif machine.flags_no_site:
        yield Finding(
            name, WARNING, "Python runs with -S, without start-up files", f"drop -S, or {INSTEAD}"
        )
    elif file is None:
        yield Finding(
            name,
            WARNING,
            f"no folder that Python starts from has {STARTUP}: lm_eval does not know iha-vllm",
            f"install iha-eval again (pip's --target leaves the file unread), or {INSTEAD}",
        )
    elif not machine.watching:
        yield Finding(
            name,
            WARNING,
            f"{STARTUP} is in {file}, but was not run when Python started",
            f"see whether {file} is a site-packages folder of this Python, or {INSTEAD}",
        )
    else:
        yield Finding(name, OK, f"active: {Path(file) / STARTUP}, for lm-eval {number}")


def lm_eval_entry_points(machine: Machine) -> Iterator[Finding]:
    """The entry points that releases of lm-eval after 0.4.13 read."""
    name = "lm-eval entry points"
    missing = sorted(MODELS - set(machine.entry_points("lm_eval.models")))
    number = machine.version("lm-eval")
    if missing:
        yield Finding(name, WARNING, f"{', '.join(missing)} not declared", "install iha-eval again")
    elif number is None or Version(number) <= WITHOUT_ENTRY_POINTS:
        yield Finding(name, OK, "declared; this lm-eval does not read them, the hook does its work")
    else:
        yield Finding(name, OK, f"declared; the hook yields to lm-eval {number} if it reads them")


def tasks(machine: Machine) -> Iterator[Finding]:
    """The folder of our tasks."""
    del machine
    yield Finding("tasks", OK, str(tasks_dir()))


def vllm_plugin(machine: Machine) -> Iterator[Finding]:
    """The plugin that makes the architecture known in each of vLLM's processes."""
    name, listed = "vLLM plugin", machine.environ.get("VLLM_PLUGINS")
    if machine.vllm is None:
        return
    if PLUGIN not in machine.entry_points("vllm.general_plugins"):
        yield Finding(
            name,
            PROBLEM,
            "not declared: vLLM does not know IHALlamaForCausalLM",
            "install iha-eval again",
        )
    elif listed is not None and PLUGIN not in listed.split(","):
        yield Finding(
            name,
            PROBLEM,
            f"VLLM_PLUGINS={listed!r} leaves out {PLUGIN!r}: vLLM does not know "
            "IHALlamaForCausalLM",
            f"unset VLLM_PLUGINS, or add {PLUGIN} to it",
        )
    else:
        yield Finding(name, OK, f"{PLUGIN!r} is loaded in each of vLLM's processes")


def request_cache(machine: Machine) -> Iterator[Finding]:
    """Prompts that `--cache_requests` has kept: their key leaves out what they depend on."""
    named = machine.environ.get("LM_HARNESS_CACHE_PATH")
    inside = machine.file_of("lm-eval", "lm_eval/caching/.cache")
    folder = Path(named) if named else inside
    kept = sorted(folder.glob("*.pickle")) if folder is not None and folder.is_dir() else []
    if kept:
        yield Finding(
            "lm-eval request cache",
            WARNING,
            f"{len(kept)} files in {folder}: with --cache_requests true lm-eval sends these old "
            "prompts, whatever lengths, seed or settings are asked for",
            "leave --cache_requests out, or delete with --cache_requests delete",
        )
    else:
        yield Finding("lm-eval request cache", OK, "empty: no stale prompts")


CHECKS = (
    lm_eval_hook,
    lm_eval_entry_points,
    tasks,
    vllm_plugin,
    request_cache,
)
