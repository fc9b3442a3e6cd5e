"""A made-up token through a whole night: both models, their results, the report and the history."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOKEN = "zx81-made-up-token-4711"


@pytest.mark.long
def test_a_token_in_model_args_is_in_no_file_of_a_whole_night(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    row = {"question": "Ann has 2 hats and buys 3 more. How many?", "answer": "#### 5"}
    (tmp_path / "gsm8k" / "test.jsonl").write_text(json.dumps(row) + "\n")
    model = {"model": "iha-hf"}
    config = tmp_path / "night.yaml"
    night = {
        "models": {
            name: {**model, "model_args": {"pretrained": f"embedded-{name}", "hf_token": TOKEN}}
            for name in ("iha", "baseline")
        },
        "tasks": [{"task": "gsm8k_5shot", "limit": 1, "gen_kwargs": {"max_gen_toks": 4}}],
        "output": "nights",
        "history": "history",
    }
    config.write_text(json.dumps(night))
    command = [sys.executable, "-m", "iha_eval", "nightly", str(config)]
    environment = {**os.environ, "IHA_EVAL_DATA": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode in (0, 1), run.stderr[-3000:]
    assert list(tmp_path.glob("nights/**/report.json"))
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path != config]
    assert len(files) > 5
    assert [path for path in files if TOKEN.encode() in path.read_bytes()] == []
    assert TOKEN not in run.stdout + run.stderr
