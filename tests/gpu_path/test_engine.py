"""A whole engine as a GPU would have it: model runner V2, vLLM's Triton attention, interpreted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow(40)
def test_model_runner_v2_serves_exactly_with_triton_attention() -> None:
    """Model runner V2 is vLLM's default on GPUs; the other tests of engines run V1."""
    command = [sys.executable, str(Path(__file__).with_name("engine_child.py"))]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr[-3000:]
    (line,) = (line for line in child.stdout.splitlines() if line.startswith("{"))
    found = json.loads(line)
    assert any(name.startswith("vllm.v1.worker.gpu.") for name in found["runner"])
    assert all("TritonAttention" in name or "IHA" in name for name in found["backends"])
    assert len(found["backends"]) >= 3
    assert found["error"] < 1e-4
