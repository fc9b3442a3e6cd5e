"""vLLM's GPU backends, derived for IHA, run on a processor and compared with naive attention.

The kernels of TRITON_ATTN are vLLM's own, interpreted; FLASH_ATTN's are stand-ins in plain PyTorch
with the same signatures. Not shown: their rounding on a device, and time.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHILD = Path(__file__).with_name("backend_child.py")
EXACT = 5e-6
Results = dict[str, dict[str, Any]]


def run(*groups: str) -> list[Results]:
    command = [sys.executable, str(CHILD), *groups]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr[-3000:]
    return [json.loads(line) for line in child.stdout.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def results() -> list[Results]:
    """One process for all: importing vLLM takes longer than most cases."""
    return run("flash", "mutants", "triton", "masks")


def wrong(results: Results, exact: float = EXACT) -> Results:
    return {name: row for name, row in results.items() if not row["error"] <= exact}


@pytest.mark.slow
def test_flash_attention_is_exact(results: list[Results]) -> None:
    """P 1 to 8, windows, grouped heads, chunks, mixed batches, padding, graphs, spoilt caches."""
    flash = dict(results[0])
    assert len(flash) >= 70
    rounded = flash.pop("bfloat16")
    assert 1e-4 < rounded["error"] < 2e-2
    assert wrong(flash) == {}


@pytest.mark.slow
def test_every_kind_of_mask_is_exact(results: list[Results]) -> None:
    """Windows in virtual tokens or by token, and the token mask: chunks, graphs, padding."""
    masks = results[3]
    assert len(masks) >= 35
    assert wrong(masks) == {}
    assert {name for name, row in masks.items() if row["apart"]} == {
        name for name in masks if name.startswith("token")
    }


@pytest.mark.slow
def test_every_step_of_a_hybrid_has_its_schedule_made_ahead_of_time(results: list[Results]) -> None:
    """FlashAttention 3's, for the window of the layers at hand; the base would make none."""
    flash = results[0]
    assert flash["P2-W7-G2-block16"]["schedules"] == 6
    assert flash["P2-W7-G2-block16"]["windows"] == [[13, 0]]
    assert flash["P1-W0-G4-block16"]["windows"] == [[-1, -1]]
    assert flash["graph-W0"]["schedules"] == 6
    assert results[1]["base_finds_the_windows: graph-W7"]["schedules"] == 0


@pytest.mark.slow
def test_rows_of_a_decoding_token_are_parted_where_that_pays(results: list[Results]) -> None:
    """FlashAttention 2 with grouped heads splits a context for single rows alone."""
    flash = results[0]
    parted = {name for name, row in flash.items() if row["apart"]}
    assert parted == {f"apart-{kind}W{window}" for kind in ("", "eager-") for window in (0, 7)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mutant", "case"),
    [
        ("buffers_not_kept", "graph-W7"),
        ("buffers_not_kept", "apart-W7"),
        ("window_of_w", "graph-W7"),
        ("rows_see_the_whole_token", "apart-W7"),
        ("counts_of_an_earlier_step", "graph-W7"),
    ],
)
def test_these_mistakes_would_be_seen(mutant: str, case: str, results: list[Results]) -> None:
    assert not results[1][f"{mutant}: {case}"]["error"] < 0.1
    assert results[0][case]["error"] < EXACT


@pytest.mark.slow
def test_vllm_s_triton_kernels_are_exact(results: list[Results]) -> None:
    """Interpreted: both layouts of the cache, windows, grouped heads, replayed graphs."""
    triton = results[2]
    assert len(triton) == 5
    assert wrong(triton) == {}


@pytest.mark.slow
def test_few_decoding_requests_have_their_contexts_split(results: list[Results]) -> None:
    """Only single rows are, in the release that is installed; so their rows are parted."""
    triton = results[2]
    assert triton["split-graph-P2"]["split"]
    assert triton["split-P3-W7"]["split"]
    assert triton["split-P3-W7"]["apart"]
    assert not triton["graph-P2-W7"]["split"]


@pytest.mark.long
def test_vllm_s_triton_kernels_at_more_shapes() -> None:
    (more,) = run("triton-more")
    assert wrong(more) == {}
    assert {name for name, row in more.items() if row["split"]} >= {"split-P2", "split-P4"}
