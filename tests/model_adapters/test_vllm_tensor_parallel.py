"""Two tensor-parallel ranks give what one gives, and hold each a share of IHA's own tensors."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
@pytest.mark.parametrize(("kv_heads", "local_kv"), [(4, 2), (1, 1)], ids=["G4", "G1-copies"])
def test_two_ranks_are_exact_and_share_the_tensors(kv_heads: int, local_kv: int) -> None:
    """Logprobs within 1e-4, greedy identical; alpha and collapse are split by heads."""
    path = os.pathsep.join([str(HERE.parent / "support"), os.environ.get("PYTHONPATH", "")])
    # The ranks pickle the function that reads their shapes.
    allowed = {"PYTHONPATH": path, "VLLM_ALLOW_INSECURE_SERIALIZATION": "1"}
    child = subprocess.run(
        [sys.executable, str(HERE / "tensor_parallel_child.py"), str(kv_heads)],
        env=os.environ | allowed,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    said = dict(line.split(" ", 1) for line in child.stdout.splitlines() if " " in line)
    assert float(said["worst"]) < 1e-4
    heads, pseudo, ranks = 4, 3, 2
    for shapes in ast.literal_eval(said["shapes"]):
        assert shapes["alpha_q"] == [pseudo * heads // ranks, heads]
        assert shapes["alpha_k"] == shapes["alpha_v"] == [pseudo * local_kv, kv_heads]
        assert shapes["collapse"] == [heads, pseudo * heads // ranks]
