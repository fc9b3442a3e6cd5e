import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval_runs import STARTED, FakeTask, lines, write_run
from safetensors.torch import save_file

from iha_eval.compare import build_report
from iha_eval.compare.maps import read_maps
from iha_eval.compare.runs import Run, load_run

PLACE = "model.layers.1.self_attn"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Two heads, two pseudo-heads; the second of two layers is an IHA layer."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"iha_layer_types": ["full", "iha_global"]}))
    alpha = torch.tensor([[[3.0, -4.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 2.0]]])
    tensors = {f"{PLACE}.{name}": alpha.bfloat16() for name in ("alpha_q", "alpha_k", "alpha_v")}
    tensors[f"{PLACE}.collapse"] = torch.tensor([[1.0, -2.0, 0.0, 0.5], [0.0, 0.0, 0.0, 1 / 3]])
    tensors["model.layers.1.self_attn.q_proj.weight"] = torch.zeros(2, 2)
    file = folder / "model.safetensors"
    save_file(tensors, file)
    os.utime(file, (STARTED - 1, STARTED - 1))
    return folder


def _run(folder: Path, checkpoint: Path, **facts: Any) -> Run:
    run = load_run(write_run(folder / "out", {"quiz": FakeTask(lines("acc", [1.0]))}))
    run.results["config"]["iha_eval"]["checkpoint"].update({"path": str(checkpoint), **facts})
    return run


def test_magnitudes_of_each_iha_layer(tmp_path: Path, checkpoint: Path) -> None:
    maps, warnings = read_maps(_run(tmp_path, checkpoint))
    assert warnings == []
    alpha = [[3.536, 0.0], [1.0, 1.414]]
    collapse = [[1.0, 2.0, 0.0, 0.5], [0.0, 0.0, 0.0, 0.3333]]
    assert maps == {
        "layers": [
            {
                "layer": 1,
                "kind": "iha_global",
                "alpha_q": alpha,
                "alpha_k": alpha,
                "alpha_v": alpha,
                "collapse": collapse,
            }
        ]
    }


@pytest.mark.parametrize(
    "facts", [{"is_iha": False}, {"path": None}, {"path": "nowhere"}], ids=["plain", "none", "gone"]
)
def test_a_checkpoint_that_is_not_at_hand_has_no_maps(
    tmp_path: Path, checkpoint: Path, facts: dict[str, Any]
) -> None:
    assert read_maps(_run(tmp_path, checkpoint, **facts)) == (None, [])


def test_a_checkpoint_that_was_written_since_is_another(tmp_path: Path, checkpoint: Path) -> None:
    os.utime(checkpoint / "model.safetensors", (STARTED + 1, STARTED + 1))
    maps, [warning] = read_maps(_run(tmp_path, checkpoint))
    assert maps is None
    assert "was written after the run began" in warning


@pytest.mark.parametrize("broken", ["config.json", "model.safetensors"])
def test_a_broken_checkpoint_costs_only_the_maps(
    tmp_path: Path, checkpoint: Path, broken: str
) -> None:
    (checkpoint / broken).write_bytes(b"{}")
    os.utime(checkpoint / broken, (STARTED - 1, STARTED - 1))
    maps, [warning] = read_maps(_run(tmp_path, checkpoint))
    assert maps is None
    assert "cannot be read" in warning


def test_a_report_has_the_maps_of_the_model_in_question(tmp_path: Path, checkpoint: Path) -> None:
    files = [_run(tmp_path / side, checkpoint).path for side in "ab"]
    content = json.loads(files[0].read_text())
    content["config"]["iha_eval"]["checkpoint"]["path"] = str(checkpoint)
    files[0].write_text(json.dumps(content))
    made = build_report(*files)
    assert made["maps"]["layers"][0]["kind"] == "iha_global"
    assert build_report(*files[::-1])["maps"] is None
