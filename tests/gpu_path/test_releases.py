"""GPU attention of the ends of the range of releases; their wheels are fetched."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "check_vllm_release.py"


@pytest.mark.long
@pytest.mark.parametrize("release", ["0.26.0", "0.33.0"])
def test_the_release_s_gpu_attention_is_exact_on_a_processor(release: str) -> None:
    command = [sys.executable, str(TOOL), "--gpu-path", f"vllm=={release}"]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if "No matching distribution" in child.stderr or "ConnectionError" in child.stderr:
        pytest.skip("the wheel cannot be fetched")
    assert child.returncode == 0, child.stdout + child.stderr[-2000:]
    assert "GPU attention fits" in child.stdout
