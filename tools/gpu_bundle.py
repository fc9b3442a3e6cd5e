"""Packs what `benchmarks/gpu.py` needs into small parts, for a machine with a GPU and no network.

For: a device machine with Python 3.12, torch, triton and transformers, but without vLLM, to which
files come in calls of at most 64 MiB. Made here, on any machine:

    python tools/gpu_bundle.py make build/gpu [--wheel vllm-0.26.0-...whl]

and there, once a part, with the part's folder copied along:

    python tools/gpu_bundle.py unpack build/gpu/part-1 build/site

The last call prints the command that measures. Not for: installing; nothing but files is unpacked.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VLLM = "vllm==0.26.0"
PYTHON = "3.12"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
MOST = 60 << 20
# FlashAttention 3 and what every model runs through; other libraries are for other devices,
# mixtures of experts and other kinds of attention.
LIBRARIES = ("vllm/vllm_flash_attn/_vllm_fa3_C.abi3.so", "vllm/_C_stable_libtorch.abi3.so")
LEFT_OUT = (".so", ".hpp", ".h", ".cuh", ".cu", ".js", "vllm/vllm-rs")
# What vLLM imports when an engine starts and an image with transformers lacks.
NEEDED = (
    "aiohttp",
    "blake3",
    "cachetools",
    "cbor2",
    "cloudpickle",
    "einops",
    "fastapi<0.137",
    "gguf",
    "ijson",
    "jsonschema",
    "lark==1.2.2",
    "llguidance<1.8",
    "mistral_common",
    "msgspec",
    "openai",
    "openai-harmony",
    "partial-json-parser",
    "pillow",
    "platformdirs",
    "prometheus-fastapi-instrumentator",
    "prometheus_client",
    "protobuf>=7",
    "psutil",
    "py-cpuinfo",
    "pybase64",
    "pydantic",
    "python-json-logger",
    "pyzmq",
    "rich",
    "setproctitle",
    "six",
    "tiktoken",
    "uvloop",
    "watchfiles",
)
# Of these alone: their requirements name torch, which is there.
ALONE = (
    "apache-tvm-ffi==0.1.10",
    "astor",
    "compressed-tensors==0.17.0",
    "depyf==0.20.0",
    "xgrammar",
)
TREE = ("iha_eval", "model_adapters", "benchmarks", "tasks", "reports", "tests/support")
ENTRY_POINTS = "[vllm.general_plugins]\niha = model_adapters.vllm.plugin:register\n"
METADATA = "Metadata-Version: 2.1\nName: iha-eval\nVersion: 0\n"


def download(requirements: Iterable[str], folder: Path, *more: str) -> None:
    """Wheels for the device's Python."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder)]
    pip += ["--only-binary", ":all:", "--python-version", PYTHON]
    pip += [word for platform in PLATFORMS for word in ("--platform", platform)]
    pip += more
    subprocess.run([*pip, *requirements], check=True)


def pack_wheel(wheel: Path, folder: Path) -> list[Path]:
    """The Python part of vLLM as one archive, and one for each library."""
    archives = [folder / "vllm.zip"]
    with zipfile.ZipFile(wheel) as source:
        with zipfile.ZipFile(archives[0], "w", zipfile.ZIP_DEFLATED) as python:
            for item in source.infolist():
                if not item.is_dir() and not item.filename.endswith(LEFT_OUT):
                    python.writestr(item, source.read(item), zipfile.ZIP_DEFLATED)
        for name in LIBRARIES:
            archives.append(folder / f"{Path(name).name}.zip")
            with zipfile.ZipFile(archives[-1], "w", zipfile.ZIP_DEFLATED) as target:
                target.writestr(name, source.read(name))
    return archives


def pack_tree(folder: Path) -> Path:
    """What is committed of our own tree, and an entry point that vLLM finds it by."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *TREE], cwd=ROOT, check=True, capture_output=True, text=True
    )
    archive = folder / "tree.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as tree:
        for name in filter(None, listed.stdout.split("\0")):
            tree.write(ROOT / name, name)
        tree.writestr("iha_eval-0.dist-info/METADATA", METADATA)
        tree.writestr("iha_eval-0.dist-info/entry_points.txt", ENTRY_POINTS)
    return archive


def pack_wheels(wheels: Iterable[Path], folder: Path) -> Path:
    """Other packages' files in one archive."""
    archive, seen = folder / "packages.zip", set()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packages:
        for wheel in sorted(wheels):
            with zipfile.ZipFile(wheel) as source:
                for item in source.infolist():
                    if not item.is_dir() and item.filename not in seen:
                        seen.add(item.filename)
                        packages.writestr(item, source.read(item), zipfile.ZIP_DEFLATED)
    return archive


def pieces(archive: Path, most: int) -> Iterator[tuple[str, bytes]]:
    """An archive in pieces of at most so many bytes, named so that they sort."""
    content = archive.read_bytes()
    for number, at in enumerate(range(0, len(content), most)):
        yield f"{archive.name}.{number:03d}", content[at : at + most]


def deal_out(archives: Iterable[Path], folder: Path, most: int = MOST) -> list[Path]:
    """Write parts, each a folder of pieces with a list of all there are.

    Args:
        archives: Files to carry.
        folder: Gets `part-1`, `part-2`, ...
        most: Bytes of a part.
    """
    room = most - (64 << 10)
    all_pieces = [piece for archive in archives for piece in pieces(archive, room)]
    parts: list[list[tuple[str, bytes]]] = []
    for name, content in sorted(all_pieces, key=lambda piece: -len(piece[1])):
        fitting = (
            part for part in parts if sum(len(other) for _, other in part) + len(content) <= room
        )
        part = next(fitting, None)
        if part is None:
            part = []
            parts.append(part)
        part.append((name, content))
    every = {name: hashlib.sha256(content).hexdigest() for name, content in all_pieces}
    folders = []
    for number, part in enumerate(parts, 1):
        folders.append(folder / f"part-{number}")
        folders[-1].mkdir(parents=True, exist_ok=True)
        for name, content in part:
            (folders[-1] / name).write_bytes(content)
        (folders[-1] / "pieces.json").write_text(json.dumps(every, indent=1), encoding="utf-8")
    return folders


def make(folder: Path, wheel: Path | None) -> None:
    """Make all parts, and say how large they are."""
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        wheels = here / "wheels"
        if wheel is None:
            download([VLLM], here, "--no-deps")
            (wheel,) = here.glob("vllm-*.whl")
        download(NEEDED, wheels)
        download(ALONE, wheels, "--no-deps")
        archives = [pack_tree(here), *pack_wheel(wheel, here)]
        archives.append(pack_wheels(wheels.glob("*.whl"), here))
        for archive in archives:
            print(f"{archive.name}: {archive.stat().st_size / 2**20:.1f} MiB")
        for part in deal_out(archives, folder):
            size = sum(file.stat().st_size for file in part.iterdir())
            print(f"{part}: {size / 2**20:.1f} MiB")


def unpack(part: Path, site: Path) -> list[str]:
    """Take a part over, and unpack every archive whose pieces have all come.

    Returns:
        Pieces that have not come yet.
    """
    store = site / ".pieces"
    store.mkdir(parents=True, exist_ok=True)
    every = json.loads((part / "pieces.json").read_text(encoding="utf-8"))
    for name, digest in every.items():
        if (part / name).exists():
            content = (part / name).read_bytes()
            if hashlib.sha256(content).hexdigest() != digest:
                raise SystemExit(f"{part / name} is damaged: copy the part again.")
            (store / name).write_bytes(content)
    missing = [name for name in every if not (store / name).exists()]
    for archive in sorted({name.rpartition(".")[0] for name in every}):
        own = sorted(name for name in every if name.rpartition(".")[0] == archive)
        done = store / f"{archive}.unpacked"
        if done.exists() or set(own) & set(missing):
            continue
        whole = store / archive
        whole.write_bytes(b"".join((store / name).read_bytes() for name in own))
        with zipfile.ZipFile(whole) as source:
            source.extractall(site)
        whole.unlink()
        done.touch()
    return missing


def main() -> None:
    """Make parts, or take one over."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    maker = commands.add_parser("make", help="make all parts")
    maker.add_argument("folder", type=Path)
    maker.add_argument("--wheel", type=Path, help=f"of {VLLM}, if it is at hand")
    taker = commands.add_parser("unpack", help="take one part over")
    taker.add_argument("part", type=Path)
    taker.add_argument("site", type=Path)
    options = parser.parse_args()
    if options.command == "make":
        make(options.folder, options.wheel)
        return
    missing = unpack(options.part, options.site)
    if missing:
        print(f"still to come: {', '.join(missing)}")
    else:
        site = options.site.resolve()
        # A lent machine may give one folder back, and end a command after ten minutes.
        run = f"PYTHONPATH={site} python {site}/benchmarks/gpu.py"
        print(f'{run} --results "${{OUT:-results}}" --minutes 9')


if __name__ == "__main__":
    main()
