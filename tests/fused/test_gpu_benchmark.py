"""`make bench-gpu`: what it runs, what it leaves alone, and what it says without a GPU."""

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import gpu

    return gpu


def options(tmp_path: Path, **changes: Any) -> argparse.Namespace:
    usual = {"results": tmp_path, "device": "cpu", "tiny": True, "minutes": 10.0}
    return argparse.Namespace(**usual | changes)


@pytest.fixture
def started(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of cells that were begun; instead of measuring, they write a small result."""
    names: list[str] = []

    def start(cell: Any, options: argparse.Namespace, seconds: float) -> str | None:
        names.append(cell.name)
        if cell.kind == "serving":
            return "ended with exit status 3"
        monkeypatch.setitem(sys.modules, f"_gpu_{cell.kind}", ModuleType("stand_in"))
        content = gpu.environment("cpu") | {"settings": cell.settings, "result": {"rows": []}}
        gpu.file_of(cell, options.results).write_text(json.dumps(content))
        return None

    monkeypatch.setattr(gpu, "start", start)
    monkeypatch.setattr(gpu, "show", lambda cell, content: f"table of {cell.name}")
    return names


def test_without_a_gpu_it_says_so_and_ends() -> None:
    command = [sys.executable, str(BENCHMARKS / "gpu.py")]
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    child = subprocess.run(command, capture_output=True, text=True, env=hidden)
    assert child.returncode == 2
    assert child.stderr.startswith("bench-gpu needs a CUDA device")
    assert child.stderr.count("\n") == 1


def test_an_unknown_cell_is_refused(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--tiny", "--only", "swift"])
    assert gpu.main() == 2
    assert "--only names 'swift', which is none of tiny-kernel" in capsys.readouterr().err


def test_cells_are_listed_in_their_order(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--list"])
    assert gpu.main() == 0
    names = capsys.readouterr().out.split()
    assert names[:3] == ["kernel", "correct", "2.4B-16384"]
    assert len(set(names)) == len(names)


def test_finished_cells_are_not_run_again(
    gpu: ModuleType, started: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu.conduct(options(tmp_path), gpu.tiny_cells()) == 1
    assert started == ["tiny-kernel", "tiny-correct", "tiny-serving"]
    said = capsys.readouterr().out
    assert "table of tiny-kernel" in said
    assert "tiny-serving: ended with exit status 3" in said
    assert gpu.conduct(options(tmp_path), gpu.tiny_cells()) == 1
    assert started[3:] == ["tiny-serving"]


@pytest.mark.parametrize(
    ("name", "value"), [("settings", {"repeats": 3}), ("device", "another"), ("result", None)]
)
def test_a_result_of_other_settings_or_of_another_device_does_not_count(
    name: str, value: Any, gpu: ModuleType, started: list[str], tmp_path: Path
) -> None:
    cell = gpu.tiny_cells()[0]
    assert gpu.conduct(options(tmp_path), [cell]) == 0
    file = gpu.file_of(cell, tmp_path)
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {name: value}) if value else "{")
    assert gpu.conduct(options(tmp_path), [cell]) == 0
    assert started == ["tiny-kernel", "tiny-kernel"]


def test_no_cell_begins_without_time_for_it(
    gpu: ModuleType, started: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu.conduct(options(tmp_path, minutes=0.1), gpu.tiny_cells()) == 1
    assert started == []
    assert "tiny-kernel: no time left for it" in capsys.readouterr().out


def test_a_cell_that_takes_too_long_is_ended(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(gpu, "__file__", str(slow))
    assert gpu.start(gpu.tiny_cells()[0], options(tmp_path), 0.2) == "ended after 0 s"


def test_a_wrong_result_is_told(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "finished", lambda *_: {"result": {"right": False}})
    monkeypatch.setattr(gpu, "show", lambda *_: "WRONG")
    assert gpu.conduct(options(tmp_path), gpu.tiny_cells()[:1]) == 1


def test_kernel_cell(
    gpu: ModuleType, interpreted: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import _gpu_kernel

    monkeypatch.setattr(
        "model_adapters.vllm.fused.kernel.mix_rotate_cache", interpreted.mix_rotate_cache
    )
    work = _gpu_kernel.Work(_gpu_kernel.SHAPES["tiny"], 2, 1, "cpu", torch.float32)
    # 4 + 2 * 2 heads of 32 numbers of 4 bytes, read once and written twice.
    assert work.fused_bytes == 3 * 8 * 32 * 4
    assert work.collapse_bytes == 3 * 4 * 32 * 4
    query = work.plain()
    plain = _gpu_kernel.error(work, lambda *_: query)
    assert max(plain.values()) < 1e-6
    found = _gpu_kernel.row(work, "cpu", 1e9)
    assert max(found["error"].values()) < 1e-6
    about = {"shape": "tiny", "pseudo_heads": 2, "tokens": 1}
    result = {"copy_bytes_per_second": 2e9, "rows": [about | found], "right": True}
    text = _gpu_kernel.table(result)
    assert "Copy ceiling: 2 GB/s" in text
    assert text.endswith("right")
    assert text.count("|---") == text.splitlines()[4].count("|") - 1


def test_kernel_cell_notices_a_wrong_kernel(gpu: ModuleType) -> None:
    import _gpu_kernel

    work = _gpu_kernel.Work(_gpu_kernel.SHAPES["tiny"], 2, 3, "cpu", torch.float32)
    wrong = _gpu_kernel.error(work, lambda *_: torch.full((6, 128), math.nan))
    assert all(not value < 0.5 for value in wrong.values())


def test_copy_ceiling(gpu: ModuleType) -> None:
    import _gpu_kernel

    assert 1e7 < _gpu_kernel.copy_ceiling("cpu", 1 << 20) < 1e13


def row(dtype: str, pseudo_heads: int | None, worst: float) -> dict[str, Any]:
    about = {"backend": "FLASH_ATTN", "dtype": dtype, "pseudo_heads": pseudo_heads, "path": None}
    return about | {"worst_logprob": worst, "first_choice": 1.0, "missed_by": 0.0}


@pytest.mark.parametrize(
    ("dtype", "plain", "ours", "right"),
    [
        ("torch.float32", 1e-5, 9e-4, True),
        ("torch.float32", 1e-5, 2e-3, False),
        ("torch.bfloat16", 0.1, 0.14, True),
        ("torch.bfloat16", 0.1, 0.16, False),
        ("torch.bfloat16", 0.1, math.nan, False),
    ],
)
def test_what_counts_as_right(
    dtype: str, plain: float, ours: float, right: bool, gpu: ModuleType
) -> None:
    import _gpu_correct

    rows = [row(dtype, None, plain), row(dtype, 2, ours)]
    assert _gpu_correct.right(rows) is right
    text = _gpu_correct.table({"rows": rows, "right": right})
    assert text.endswith("right" if right else "WRONG")


def test_serving_table(gpu: ModuleType) -> None:
    import _gpu_serving

    rates = {"prefill": {"plain": [100.0, 200.0], "IHA P=2": [110.0, 200.0]}}
    names = (
        "kv_bytes_per_token_needed",
        "kv_bytes_per_token_of_requests_that_run",
        "kv_bytes_per_token_charged_to_the_next",
        "requests_held_at_once",
    )
    facts = {"plain": dict.fromkeys(names, 10.0), "IHA P=2": dict.fromkeys(names, 4.0)}
    text = _gpu_serving.table(gpu.tiny_cells()[2], {"rates": rates, "facts": facts})
    assert "| prefill | 150 tokens/s | 1.05 (1.00 to 1.10) |" in text
    assert "| kv bytes per token needed | 10 | 0.40 |" in text


def test_engines_get_what_a_cell_says(gpu: ModuleType, tmp_path: Path) -> None:
    import _gpu_serving

    cells = {cell.name: cell for cell in gpu.gpu_cells()}
    cell = cells["fused-2.4B-16384"]
    plain, usual, fused = cell.variants
    on_gpu = _gpu_serving.engine_arguments(cell, fused, tmp_path, "cuda")
    assert on_gpu["attention_backend"] == "FLASH_ATTN"
    assert on_gpu["additional_config"] == {"iha_fused": True}
    assert "additional_config" not in _gpu_serving.engine_arguments(cell, usual, tmp_path, "cuda")
    config = json.loads(
        (_gpu_serving.save_config(cell, usual, tmp_path) / "config.json").read_text()
    )
    assert (config["iha_window"], config["num_pseudo_heads"]) == (512, 4)
    kinds = config["iha_layer_types"]
    assert (len(kinds), kinds.count("full"), kinds[4]) == (26, 5, "full")
    config = json.loads(
        (_gpu_serving.save_config(cell, plain, tmp_path) / "config.json").read_text()
    )
    assert config["architectures"] == ["LlamaForCausalLM"]
