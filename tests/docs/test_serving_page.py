"""docs/serving.md: what it computes is what the cost model says, and its commands are known."""

import re
from pathlib import Path

import pytest

from model_adapters import IHAConfig
from model_adapters.cost import Device, Paging, capacity, model_shape
from model_adapters.cost.communication import exchange
from model_adapters.vllm.serving_rules import check_parallelism

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
DEVICE = Device(memory=80e9, bandwidth=3350e9)
PAGING = Paging(batched_tokens=2048)


def paper(pseudo: int) -> IHAConfig:
    """The paper's shape: plain for P = 1, else the hybrid with its window."""
    kinds = (["iha_sliding"] * 4 + ["full"]) * 6 if pseudo > 1 else ["full"] * 26
    return IHAConfig(
        vocab_size=128256,
        hidden_size=2560,
        intermediate_size=10240,
        num_hidden_layers=26,
        num_attention_heads=20,
        num_key_value_heads=20,
        head_dim=128,
        max_position_embeddings=16384,
        num_pseudo_heads=pseudo,
        iha_layer_types=kinds[:26],
        iha_window=8192 // (2 * pseudo**2) if pseudo > 1 else None,
    )


@pytest.mark.parametrize("context", [4096, 16384])
@pytest.mark.parametrize("pseudo", [1, 2, 4])
def test_what_a_gpu_holds_is_what_the_cost_model_says(pseudo: int, context: int) -> None:
    shape = model_shape(paper(pseudo))
    found = capacity(shape, context, 2, DEVICE, PAGING)
    assert found.single_rate is not None
    assert found.full_rate is not None
    numbers = [
        f"{found.weight_bytes / 1e9:.2f}",
        f"{shape.kv_bytes(context, 2) / 1e9:.2f}",
        str(found.requests),
        str(found.admitted),
        f"{found.single_rate:.0f}",
        f"{found.full_rate:.0f}",
    ]
    name = "plain" if pseudo == 1 else f"P={pseudo}"
    assert f"| {name} | {context} | {' | '.join(numbers)} |" in PAGE


@pytest.mark.parametrize(
    ("start", "layer", "folded"),
    [("plain Llama", 4, False), ("IHA: all-gather", 0, False), ("IHA with alpha", 0, True)],
    ids=["plain", "IHA", "folded"],
)
def test_what_ranks_send_is_what_the_cost_model_says(start: str, layer: int, folded: bool) -> None:
    two, four = (exchange(paper(2), layer, ranks, folded=folded) for ranks in (2, 4))
    (row,) = re.findall(rf"\| {start}[^|]*\| (.*) \|", PAGE)
    assert row == f"{two.calls} | {two.sent:.0f} | {four.sent:.0f}"


def test_the_hybrids_share_is_the_one_on_the_page() -> None:
    config = paper(2)
    sent = [exchange(config, layer, 4).sent for layer in range(25)]
    plain = exchange(config, 4, 4).sent
    assert f"{sum(sent) / (25 * plain):.1f} times" in PAGE


def test_the_ranks_on_the_page_are_those_that_do() -> None:
    (listed,) = re.findall(r"a model of 20 heads takes ([\d, or]+) ranks", PAGE)
    for ranks in map(int, re.findall(r"\d+", listed)):
        check_parallelism(20, 20, tensor=ranks)
    with pytest.raises(ValueError, match=r"use one of 1, 2, 4, 5, 10, 20\."):
        check_parallelism(20, 20, tensor=8)
