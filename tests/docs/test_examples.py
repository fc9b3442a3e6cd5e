"""The files in examples/ run as they stand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from iha_eval.cli import main
from iha_eval.cli._convert_map import read_map
from model_adapters import checkpoint

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run(*command: str, folder: Path, **variables: str) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    tree = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": tree, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_training_lowers_the_loss_and_saves_a_sound_checkpoint(tmp_path: Path) -> None:
    script = str(EXAMPLES / "train_tiny.py")
    printed = run(sys.executable, script, "trained", "--steps", "5", folder=tmp_path)
    first, last = (float(line.rsplit(" ", 1)[1]) for line in printed.splitlines())
    assert last < first
    made = checkpoint.read(tmp_path / "trained")
    assert made.is_iha
    assert (tmp_path / "trained" / "tokenizer.json").is_file()


@pytest.mark.long
def test_two_models_are_evaluated_and_compared(tmp_path: Path) -> None:
    settings = {"MODEL": "iha-hf", "TASKS": "ruler_mk_multikey_2_4k", "LIMIT": "1"}
    run(str(EXAMPLES / "evaluate.sh"), folder=tmp_path, **settings)
    printed = run(str(EXAMPLES / "compare.sh"), folder=tmp_path)
    assert "IHA" in printed.splitlines()[-1]
    assert (tmp_path / "report" / "report.html").is_file()


def test_the_night_can_be_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (EXAMPLES / "nightly.yaml").read_text(encoding="utf-8")
    for name in ("iha", "global"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    (tmp_path / "nightly.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["nightly", "nightly.yaml", "--dry-run"]) == 0
    assert "gsm8k_maj" in capsys.readouterr().out


def test_the_map_can_be_read() -> None:
    plan, _ = read_map(EXAMPLES / "map.yaml")
    assert plan.mixing is not None
