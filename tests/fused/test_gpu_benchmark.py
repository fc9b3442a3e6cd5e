"""`make bench-gpu`: what it runs, what it leaves alone, and what it says without a GPU."""

import argparse
import contextlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
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
    """Names of cells that were begun; instead of measuring, they write a row or two."""
    names: list[str] = []

    def start(cell: Any, options: argparse.Namespace, seconds: float) -> str | None:
        names.append(cell.name)
        rows = gpu.rows_of(cell, options)
        rows.begin()
        rows.measure("first", lambda: {"value": len(names)})
        if cell.kind == "serving":
            return "ended with exit status 3"
        rows.finish()
        return None

    monkeypatch.setattr(gpu, "start", start)
    monkeypatch.setattr(gpu, "show", lambda cell, rows: f"table of {cell.name}")
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
    """Without engines first, then one exact engine, then the pair; a quarter of an hour in all."""
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--list"])
    assert gpu.main() == 0
    names = capsys.readouterr().out.split()
    assert names[:4] == ["kernel", "attention", "correct", "2.4B-16384-P2"]
    assert len(set(names)) == len(names)
    first = gpu.gpu_cells()[:4]
    assert sum(cell.seconds for cell in first[:2]) <= 180
    assert sum(cell.seconds for cell in first) <= 10 * 60
    assert first[3].variants[1].pseudo_heads == 2


def test_finished_cells_are_not_run_again(
    gpu: ModuleType, started: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu.conduct(options(tmp_path), gpu.tiny_cells()) == 1
    assert started == ["tiny-kernel", "tiny-attention", "tiny-correct", "tiny-serving"]
    output = capsys.readouterr().out
    assert "table of tiny-kernel" in output
    assert "tiny-serving: ended with exit status 3; 1 rows stay" in output
    assert gpu.conduct(options(tmp_path), gpu.tiny_cells()) == 1
    assert started[4:] == ["tiny-serving"]
    # The row of the first run, not of the second.
    assert gpu.rows_of(gpu.tiny_cells()[3], options(tmp_path)).rows["first"]["value"] == 4


@pytest.mark.parametrize(
    ("name", "value"), [("settings", {"repeats": 3}), ("device", "another"), ("versions", {})]
)
def test_rows_of_other_settings_or_of_another_device_do_not_count(
    name: str, value: Any, gpu: ModuleType, started: list[str], tmp_path: Path
) -> None:
    cell = gpu.tiny_cells()[0]
    assert gpu.conduct(options(tmp_path), [cell]) == 0
    path = gpu.rows_of(cell, options(tmp_path)).path
    about, *rows = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(about) | {name: value}), *rows]) + "\n")
    assert gpu.conduct(options(tmp_path), [cell]) == 0
    assert started == ["tiny-kernel", "tiny-kernel"]


@pytest.mark.parametrize("cut", range(0, 140, 7))
def test_a_file_cut_off_anywhere_loses_no_whole_row(cut: int, gpu: ModuleType) -> None:
    """And what is measured next stands on lines of its own."""
    import tempfile

    from _gpu_rows import RowFile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        rows = RowFile(path, {"device": "here"})
        rows.begin()
        for number in range(4):
            rows.add(f"row {number}", {"value": number})
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) - cut])
        kept = whole[: len(whole) - cut].count(b"}\n")
        again = RowFile(path, {"device": "here"})
        assert len(again.rows) in (max(0, kept - 1), kept)
        again.begin()
        measured: list[int] = []
        for number in range(4):
            again.measure(f"row {number}", lambda number=number: measured.append(number) or {})
        assert len(measured) == 4 - min(4, max(0, kept - 1)) or len(measured) == 4 - kept
        assert len(path.read_text().splitlines()) == 5
        assert len(RowFile(path, {"device": "here"}).rows) == 4


def test_a_wrong_row_is_told_and_measured_again(
    gpu: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = gpu.tiny_cells()[2]
    rows = gpu.rows_of(cell, options(tmp_path))
    rows.begin()
    about = {"backend": "CPU_ATTN", "dtype": "torch.float32", "pseudo_heads": 2, "path": None}
    row = about | {"worst_logprob": 1.0, "first_choice": 0.5, "missed_by": 1.0, "right": False}
    rows.add("P=2", row)
    rows.finish()
    again = gpu.rows_of(cell, options(tmp_path))
    assert not again.is_done
    assert "WRONG: P=2" in gpu.show(cell, again)
    again.begin()
    assert again.rows == {}


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


@pytest.mark.parametrize("signs", [0, 3])
def test_no_step_takes_longer_than_it_may(
    signs: int, gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell is ended at its first long step, however many rows it has written before."""
    rows = tmp_path / "rows.jsonl"
    text = f"for _ in range({signs}): time.sleep(0.4); print(file=open({str(rows)!r}, 'a'))"
    program = f"import time\n{text}\ntime.sleep(60)"
    monkeypatch.setattr(gpu, "STEP", 1)
    began = time.monotonic()
    child = subprocess.Popen([sys.executable, "-S", "-c", program])
    try:
        assert gpu.watched(child, rows, 50) == "ended after a step of 1 s"
    finally:
        child.kill()
        child.wait()
    assert time.monotonic() - began >= 1 + 0.4 * signs
    assert (len(rows.read_text()) if signs else 0) == signs


def test_kernel_cell(
    gpu: ModuleType, interpreted: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import _gpu_kernel

    monkeypatch.setattr(
        "model_adapters.vllm.fused.kernel.mix_rotate_cache", interpreted.mix_rotate_cache
    )
    work = _gpu_kernel.FusedWork(_gpu_kernel.SHAPES["tiny"], 2, 1, "cpu", torch.float32)
    # 4 + 2 * 2 heads of 32 numbers of 4 bytes, read once and written twice.
    assert work.fused_bytes == 3 * 8 * 32 * 4
    assert work.collapse_bytes == 3 * 4 * 32 * 4
    query = work.plain()
    plain = _gpu_kernel.error(work, lambda *_: query)
    assert max(plain.values()) < 1e-6
    found = _gpu_kernel.row(work, "cpu", 1e9)
    assert max(found["error"].values()) < 1e-6
    about = {"shape": "tiny", "pseudo_heads": 2, "tokens": 1}
    assert found["right"]
    text = _gpu_kernel.table({"copy": {"bytes_per_second": 2e9}, "P=2": about | found})
    assert "Copy ceiling: 2 GB/s" in text
    assert text.count("|---") == text.splitlines()[4].count("|") - 1


def test_kernel_cell_notices_a_wrong_kernel(gpu: ModuleType) -> None:
    import _gpu_kernel

    work = _gpu_kernel.FusedWork(_gpu_kernel.SHAPES["tiny"], 2, 3, "cpu", torch.float32)
    wrong = _gpu_kernel.error(work, lambda *_: torch.full((6, 128), math.nan))
    assert all(not value < 0.5 for value in wrong.values())


def test_copy_ceiling(gpu: ModuleType) -> None:
    import _gpu_kernel

    assert 1e7 < _gpu_kernel.copy_ceiling("cpu", 1 << 20) < 1e13


def test_the_correct_cell_gives_signs_of_life_within_a_row(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Importing vLLM, starting an engine and answering are steps, each of which may take long."""
    import _gpu_correct

    class OneTokenLlm:
        llm_engine = SimpleNamespace(engine_core=SimpleNamespace(shutdown=lambda: None))

        def __init__(self, *_: object, **__: object) -> None:
            signs.append("starting")

        def generate(self, batch: list[Any], *_: object, **__: object) -> list[Any]:
            signs.append("answering")
            made = SimpleNamespace(token_ids=[1], logprobs=[{1: SimpleNamespace(logprob=-1.0)}])
            return [SimpleNamespace(outputs=[made]) for _ in batch]

    signs: list[str] = []
    vllm: Any = SimpleNamespace(LLM=OneTokenLlm, SamplingParams=dict, TokensPrompt=dict)
    distributed: Any = SimpleNamespace(cleanup_dist_env_and_memory=lambda: None)
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setitem(sys.modules, "vllm.distributed", distributed)
    model = _gpu_correct.model(None, torch.float32)
    _gpu_correct.compare(model, torch.float32, {}, lambda: signs.append("sign"))
    assert signs == ["sign", "starting", "sign", "answering", "sign"]


def row(dtype: str, pseudo_heads: int | None, worst: float) -> dict[str, Any]:
    about = {"backend": "FLASH_ATTN", "dtype": dtype, "pseudo_heads": pseudo_heads, "path": None}
    return about | {"worst_logprob": worst, "first_choice": 1.0, "missed_by": 0.0}


@pytest.mark.parametrize(
    ("dtype", "plain", "ours", "right"),
    [
        ("torch.float32", 1e-5, 9e-5, True),
        ("torch.float32", 1e-5, 2e-4, False),
        ("torch.bfloat16", 0.1, 0.14, True),
        ("torch.bfloat16", 0.1, 0.16, False),
        ("torch.bfloat16", 0.1, math.nan, False),
    ],
)
def test_what_counts_as_right(
    dtype: str, plain: float, ours: float, right: bool, gpu: ModuleType
) -> None:
    import _gpu_correct

    rows = {"plain": row(dtype, None, plain), "P=2": row(dtype, 2, ours)}
    assert _gpu_correct.right(rows["P=2"], rows) is right
    text = _gpu_correct.table({"P=2": rows["P=2"] | {"right": right}})
    assert text.endswith("right |" if right else "WRONG |")


def test_serving_table(gpu: ModuleType) -> None:
    """Of what there is: rounds that all models have been through."""
    import _gpu_serving

    cell = replace(gpu.tiny_cells()[3], repeats=2)
    rates = {("plain", 1): 100.0, ("plain", 2): 200.0, ("IHA P=2", 1): 110.0, ("IHA P=2", 2): 200.0}
    measured: dict[str, Any] = {
        f"{model} {number}": {
            "measure": "prefill",
            "round": number,
            "model": model,
            "rate": rate,
        }
        for (model, number), rate in rates.items()
    }
    names = (
        "kv_bytes_per_token_needed",
        "kv_bytes_per_token_of_requests_that_run",
        "kv_bytes_per_token_charged_to_the_next",
        "requests_held_at_once",
    )
    measured["facts, plain"] = {"facts_of": "plain"} | dict.fromkeys(names, 10.0)
    measured["facts, IHA P=2"] = {"facts_of": "IHA P=2"} | dict.fromkeys(names, 4.0)
    text = _gpu_serving.table(cell, measured)
    assert "| prefill | 150 tokens/s | 1.05 (1.00 to 1.10) |" in text
    assert "| kv bytes per token needed | 10 | 0.40 |" in text
    del measured["IHA P=2 2"]
    text = _gpu_serving.table(cell, measured)
    assert "| prefill | 100 tokens/s | 1.10 (1.10 to 1.10) |" in text


def test_attention_cell(gpu: ModuleType) -> None:
    """Rows of the paper's sizes, the longest context first, and their table."""
    import _gpu_attention

    cells = {cell.name: cell for cell in gpu.gpu_cells()}
    decodings = _gpu_attention.decodings(cells["attention"])
    assert len(decodings) == len({decoding.key for decoding in decodings}) == 54
    assert {(one.pseudo_heads, one.window) for one in decodings if one.context == 16384} == {
        (1, None),
        (2, 2048),
        (4, 512),
    }
    rows = {
        str(pseudo): {
            "way": "FLASH_ATTN",
            "context": 4096,
            "batch": 8,
            "pseudo_heads": pseudo,
            "seconds": 1e-5 / pseudo,
            "of_copy_ceiling": 0.5,
        }
        for pseudo in (1, 2)
    }
    text = _gpu_attention.table(rows)
    assert text.endswith("| 4096 | 8 | FLASH_ATTN | 10.0 | 0.50 | 2.00 | 0.50 | - | - |")


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


@pytest.mark.long
def test_cut_at_random_moments_it_comes_to_an_end(tmp_path: Path) -> None:
    """The whole command on a processor, serving included, each time with a little more time."""
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--device", "cpu", "--tiny"]
    command += ["--results", str(tmp_path)]
    moments, patience, seen = random.Random(3), 40.0, {}
    for cuts in range(40):
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
        )
        try:
            output, _ = child.communicate(timeout=moments.uniform(5, patience))
        except subprocess.TimeoutExpired:
            kill_all_of(child)
        else:
            # A step may be too long for a busy machine; the command is given again.
            if child.returncode == 0:
                break
            assert "ended after a step of 60 s" in output, output[-3000:]
        patience *= 1.3
        now = measured(tmp_path)
        print(f"cut {cuts + 1}: {len(now)} rows", flush=True)
        assert now.items() >= seen.items()
        seen = now
    else:
        pytest.fail(f"not done after 40 cuts: {sorted(seen)}")
    assert cuts >= 2
    assert measured(tmp_path).items() >= seen.items()
    names = {name for name, _ in measured(tmp_path)}
    assert names == {f"gpu-tiny-{kind}" for kind in ("kernel", "attention", "correct", "serving")}
    assert ("gpu-tiny-serving", "decode, full cache, round 1, IHA P=2") in measured(tmp_path)


def measured(folder: Path) -> dict[tuple[str, str], str]:
    """Whole rows on disk; not those that each start measures anew, to compare others with."""
    rows = {}
    for path in folder.glob("*.jsonl"):
        for line in path.read_text().splitlines()[1:]:
            with contextlib.suppress(json.JSONDecodeError):
                key = json.loads(line)["key"]
                if key not in ("copy", "done") and not key.startswith("facts"):
                    rows[path.stem, key] = line
    return rows


def kill_all_of(child: Any) -> None:
    """The command and its cells, which are leaders of sessions of their own."""
    parents = {child.pid}
    for _ in range(3):
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                except OSError:
                    continue
                if int(fields[1]) in parents:
                    parents.add(int(entry.name))
    for pid in parents:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    child.communicate()
