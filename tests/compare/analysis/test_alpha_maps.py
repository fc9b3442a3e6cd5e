import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from lm_eval_runs import STARTED, FakeTask, lines, write_run

from iha_eval.compare import build_report
from iha_eval.compare.analysis.alpha_maps import read_maps
from iha_eval.compare.inputs.runs import Run, load_run
from model_adapters.checkpoint import read

QUIZ = {"quiz": FakeTask(lines("acc", [1.0]))}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Four heads over two, two pseudo-heads; the second of two layers is an IHA layer."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoint"
    model = tiny_models.tiny_model(["full", "iha_global"])
    attention = model.model.layers[1].self_attn
    with torch.no_grad():
        for name in ("alpha_q", "alpha_k", "alpha_v", "collapse"):
            getattr(attention, name).zero_()
        attention.alpha_q[0, 0] = torch.tensor([3.0, -4.0])
        attention.alpha_k[1] = torch.tensor([[1.0, 1.0], [0.0, 2.0]])
        attention.collapse[1, :3] = torch.tensor([1.0, -2.0, 1 / 3])
    model.save_pretrained(folder)
    return folder, read(folder).fingerprint


@pytest.fixture
def checkpoint(saved: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy, which is younger than the run by years."""
    place = Path(shutil.copytree(saved[0], tmp_path / "checkpoint"))
    assert (place / "model.safetensors").stat().st_mtime > STARTED
    return place


def _file(folder: Path, checkpoint: Path, fingerprint: str | None, **facts: Any) -> Path:
    file = write_run(folder / "out", QUIZ)
    content = json.loads(file.read_text())
    told = {"path": str(checkpoint), "fingerprint": fingerprint, **facts}
    content["config"]["iha_eval"]["checkpoint"].update(told)
    file.write_text(json.dumps(content))
    return file


def _run(folder: Path, checkpoint: Path, fingerprint: str | None, **facts: Any) -> Run:
    return load_run(_file(folder, checkpoint, fingerprint, **facts))


def test_magnitudes_of_each_iha_layer(
    tmp_path: Path, checkpoint: Path, saved: tuple[Path, str]
) -> None:
    maps, warnings = read_maps(_run(tmp_path, checkpoint, saved[1]))
    assert warnings == []
    assert maps is not None
    [layer] = maps["layers"]
    assert (layer["layer"], layer["kind"]) == (1, "iha_global")
    assert layer["alpha_q"] == [[3.536, 0.0, 0.0, 0.0], *[[0.0] * 4] * 3]
    assert layer["alpha_k"] == [[0.0, 0.0], [1.0, 1.414]]
    assert layer["alpha_v"] == [[0.0, 0.0]] * 2
    assert layer["collapse"][1] == [1.0, 2.0, 0.3333, *[0.0] * 5]


@pytest.mark.parametrize(
    "facts",
    [{"is_iha": False}, {"path": None}, {"path": "nowhere"}, {"fingerprint": None}],
    ids=["plain", "no path", "gone", "no fingerprint"],
)
def test_a_checkpoint_that_is_not_at_hand_has_no_maps(
    tmp_path: Path, checkpoint: Path, facts: dict[str, Any]
) -> None:
    run = _run(tmp_path, checkpoint, **{"fingerprint": "f" * 64, **facts})
    assert read_maps(run) == (None, [])


def test_a_checkpoint_with_other_weights_is_another(tmp_path: Path, checkpoint: Path) -> None:
    maps, [warning] = read_maps(_run(tmp_path, checkpoint, "f" * 64))
    assert maps is None
    assert f"{checkpoint} is another checkpoint than the one that was run" in warning
    assert f"against {'f' * 12})" in warning


@pytest.mark.parametrize("broken", ["config.json", "model.safetensors"])
def test_a_broken_checkpoint_costs_only_the_maps(
    tmp_path: Path, checkpoint: Path, saved: tuple[Path, str], broken: str
) -> None:
    (checkpoint / broken).write_bytes(b"{}")
    maps, [warning] = read_maps(_run(tmp_path, checkpoint, saved[1]))
    assert maps is None
    assert "cannot be read" in warning


def test_a_report_has_the_maps_of_the_model_in_question(
    tmp_path: Path, checkpoint: Path, saved: tuple[Path, str]
) -> None:
    with_maps = _file(tmp_path / "a", checkpoint, saved[1])
    without = write_run(tmp_path / "b", QUIZ)
    assert build_report(with_maps, without)["maps"]["layers"][0]["kind"] == "iha_global"
    assert build_report(without, with_maps)["maps"] is None
