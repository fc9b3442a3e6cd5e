"""Parts for a GPU machine without a network: small enough, whole again whatever their order."""

import importlib.util
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

CHILD = Path(__file__).with_name("vllm_imports_child.py")
TOOL = Path(__file__).parents[2] / "tools" / "gpu_bundle.py"


@pytest.fixture(scope="module")
def bundle() -> Any:
    spec = importlib.util.spec_from_file_location("gpu_bundle", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def archive(path: Path, size: int) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{path.stem}/content", random.Random(size).randbytes(size))
    return path


def test_parts_are_small_and_make_the_whole_again(bundle: Any, tmp_path: Path) -> None:
    archives = [
        archive(tmp_path / f"{name}.zip", size)
        for name, size in (("large", 700_000), ("middle", 150_000), ("small", 900))
    ]
    most = 300_000
    parts = bundle.deal_out(archives, tmp_path / "parts", most)
    assert len(parts) >= 3
    for part in parts:
        assert sum(file.stat().st_size for file in part.iterdir()) <= most
    site = tmp_path / "site"
    for part in reversed(parts[1:]):
        assert bundle.unpack(part, site)
    # A part that comes again does no harm.
    assert bundle.unpack(parts[1], site)
    assert bundle.unpack(parts[0], site) == []
    for name, size in (("large", 700_000), ("middle", 150_000), ("small", 900)):
        assert (site / name / "content").read_bytes() == random.Random(size).randbytes(size)


def test_a_damaged_piece_is_refused(bundle: Any, tmp_path: Path) -> None:
    (part,) = bundle.deal_out([archive(tmp_path / "one.zip", 900)], tmp_path / "parts", 300_000)
    (part / "one.zip.000").write_bytes(b"else")
    with pytest.raises(SystemExit, match=r"one\.zip\.000 is damaged: copy the part again"):
        bundle.unpack(part, tmp_path / "site")


def test_of_vllm_s_wheel_its_python_and_two_libraries_are_taken(
    bundle: Any, tmp_path: Path
) -> None:
    wheel = tmp_path / "vllm.whl"
    names = ("vllm/a.py", "vllm/b.json", "vllm/c.hpp", "vllm/vllm-rs", *bundle.LIBRARIES)
    with zipfile.ZipFile(wheel, "w") as file:
        for name in (*names, "vllm/vllm_flash_attn/_vllm_fa2_C.abi3.so"):
            file.writestr(name, name)
    taken = []
    for packed in bundle.pack_wheel(wheel, tmp_path):
        with zipfile.ZipFile(packed) as file:
            taken += file.namelist()
    assert sorted(taken) == sorted(["vllm/a.py", "vllm/b.json", *bundle.LIBRARIES])


def test_our_own_tree_comes_with_the_entry_point_that_vllm_asks_for(
    bundle: Any, tmp_path: Path
) -> None:
    with zipfile.ZipFile(bundle.pack_tree(tmp_path)) as tree:
        names = tree.namelist()
        points = tree.read("iha_eval-0.dist-info/entry_points.txt").decode()
    assert "model_adapters/vllm/backend.py" in names
    assert "benchmarks/gpu.py" in names
    assert "iha = model_adapters.vllm.plugin:register" in points


@pytest.mark.slow
def test_with_what_is_packed_vllm_s_engine_can_be_imported(bundle: Any) -> None:
    """The installed release's, whose imports differ little from those of the one that is packed."""
    command = [sys.executable, str(CHILD), *bundle.NEEDED, *bundle.ALONE]
    quiet = os.environ | {"VLLM_LOGGING_LEVEL": "ERROR"}
    child = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
    assert child.stdout.splitlines() == ["imported"], child.stdout + child.stderr[-2000:]
