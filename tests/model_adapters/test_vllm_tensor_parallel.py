"""Tensor-parallel ranks give what one gives, and hold and exchange what the cost model says.

Two ranks; four were run by hand, with the child's second argument.
"""

import ast
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tiny_models import MODERN, tiny_config

from model_adapters.cost.communication import exchange

HERE = Path(__file__).parent
TOKENS = 40


@pytest.mark.slow(90)
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
@pytest.mark.parametrize(
    ("kv_heads", "local_kv"),
    [
        pytest.param(4, 2, id="G4"),
        pytest.param(1, 1, id="G1-copies", marks=pytest.mark.long),
    ],
)
def test_two_ranks_are_exact_and_share_the_tensors(kv_heads: int, local_kv: int) -> None:
    """Logprobs within 1e-4, greedy identical; alpha and collapse are split by heads."""
    ranks = 2
    printed = serve(kv_heads, ranks, "never")
    assert float(printed["worst"]) < 1e-4
    heads, pseudo = 4, 3
    for shapes in ast.literal_eval(printed["shapes"]):
        assert shapes["alpha_q"] == [pseudo * heads // ranks, heads]
        assert shapes["alpha_k"] == shapes["alpha_v"] == [pseudo * local_kv, kv_heads]
        assert shapes["collapse"] == [heads, pseudo * heads // ranks]
    for calls in ast.literal_eval(printed["exchanged"]):
        assert layers_exchange(calls) == expected(kv_heads, ranks)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
@pytest.mark.parametrize("kv_heads", [4, 1], ids=["G4", "G1-copies"])
def test_two_ranks_fold_what_one_mixes_and_collapses(kv_heads: int) -> None:
    """Held against the reference and against one rank; folded layers gather and scatter nothing."""
    ranks = 2
    printed = serve(kv_heads, ranks, "always")
    assert float(printed["worst"]) < 1e-4
    assert float(printed["apart"]) < 1e-4
    for shapes in ast.literal_eval(printed["shapes"]):
        assert not {"alpha_q", "alpha_k", "alpha_v", "collapse"} & shapes.keys()
    for calls in ast.literal_eval(printed["exchanged"]):
        assert layers_exchange(calls) == expected(kv_heads, ranks, folded=True)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
@pytest.mark.parametrize("kv_heads", [4, 1], ids=["G4", "G1-copies"])
def test_two_ranks_share_norms_and_gates_out_and_send_no_collapsed_heads(kv_heads: int) -> None:
    """With a norm and a gate for each head and a collapse per head, under the token mask."""
    ranks = 2
    printed = serve(kv_heads, ranks, "auto", **VARIANT)
    assert float(printed["worst"]) < 1e-4
    for shapes in ast.literal_eval(printed["shapes"]):
        assert shapes["collapse"] == [3, 4 // ranks]
        assert shapes["q_norm.weight"] == [4 // ranks, 32]
        assert shapes["k_norm.weight"] == [max(1, kv_heads // ranks), 32]
        assert shapes["head_gate.weight"] == [4 // ranks, 12]
    for calls in ast.literal_eval(printed["exchanged"]):
        wanted = expected(kv_heads, ranks, **VARIANT)
        assert layers_exchange(calls) == wanted
        assert not [name for name, *_ in wanted if name == "reduce_scatter"]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
@pytest.mark.parametrize("kv_heads", [4, 1], ids=["G4", "G1-copies"])
def test_two_ranks_norm_a_projection_that_they_share(kv_heads: int) -> None:
    """The mean square is that of all heads, wherever they are."""
    whole = {"qk_norm": "projection_before_mixing", "qk_norm_weight": "projection"}
    printed = serve(kv_heads, 2, "auto", block_norm="after", **whole)
    assert float(printed["worst"]) < 1e-4
    for shapes in ast.literal_eval(printed["shapes"]):
        assert shapes["q_norm.weight"] == [4 // 2 * 32]
        assert shapes["k_norm.weight"] == [max(1, kv_heads // 2) * 32]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
@pytest.mark.parametrize("source", ["token", "embedding"])
@pytest.mark.parametrize("kv_heads", [4, 1], ids=["G4", "G1-copies"])
def test_two_ranks_add_value_embeddings_to_their_own_heads(kv_heads: int, source: str) -> None:
    """And each keeps its part of the token before."""
    fields = MODERN | {"hidden_size": 128, "value_embedding_source": source}
    assert float(serve(kv_heads, 2, "auto", **fields)["worst"]) < 1e-4


VARIANT = {
    "qk_norm": "head_before_mixing",
    "qk_norm_weight": "per_head",
    "collapse": "per_head",
    "head_gate_channels": 12,
    "pseudo_causal": "token",
    "pseudo_window": "token",
}


def serve(kv_heads: int, ranks: int, fold: str, **changes: Any) -> dict[str, str]:
    """What the child says, by the first word of each line."""
    path = os.pathsep.join([str(HERE.parent / "support"), os.environ.get("PYTHONPATH", "")])
    # The ranks pickle the functions that read what they have.
    allowed = {"PYTHONPATH": path, "VLLM_ALLOW_INSECURE_SERIALIZATION": "1"}
    child = subprocess.run(
        [
            sys.executable,
            str(HERE / "tensor_parallel_child.py"),
            str(kv_heads),
            str(ranks),
            fold,
            json.dumps(changes),
        ],
        env=os.environ | allowed,
        capture_output=True,
        text=True,
        # Two minutes of two free cores; where others work beside it many more.
        timeout=3600,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return dict(line.split(" ", 1) for line in child.stdout.splitlines() if " " in line)


def layers_exchange(calls: list[tuple[str, list[int]]]) -> Counter[tuple[str, int, int]]:
    """Calls by name, tokens and length, without the vocabulary's, of which the last has none."""
    return Counter((name, *shape) for name, shape in calls if shape[0] == TOKENS)


def expected(
    kv_heads: int, ranks: int, *, folded: bool = False, **changes: Any
) -> Counter[tuple[str, int, int]]:
    """What the cost model says of a prompt, and the embedding's one all-reduce."""
    config = tiny_config(num_pseudo_heads=3, num_key_value_heads=kv_heads, **changes)
    wanted: Counter[tuple[str, int, int]] = Counter({("all_reduce", TOKENS, 64): 1})
    for layer in range(config.num_hidden_layers):
        layers = exchange(config, layer, ranks, folded=folded)
        wanted["all_reduce", TOKENS, layers.all_reduced] += 2
        if layers.gathered:
            wanted["all_gather", TOKENS, layers.gathered] += 1
        if layers.scattered:
            wanted["reduce_scatter", TOKENS, layers.scattered] += 1
    return wanted
