"""A tiny plain Llama, IHA models of the same function, and made-up readings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from iha_eval.verify.prompts import Prompt
from iha_eval.verify.reading import Reading, ReadingRow, Sequence
from model_adapters import IHAConfig, IHALlamaForCausalLM
from model_adapters.default_checkpoint import folder as embedded

SHAPE: dict[str, Any] = {
    "vocab_size": 9351,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 512,
    # Wide, so that greedy choices are clear and every tensor matters.
    "initializer_range": 0.2,
}


def save(model: Any, folder: Path) -> Path:
    """With the embedded tokenizer of 9351 tokens."""
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(embedded()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain Llama in float32: 2 layers, 2 heads of 32 over 1, context 512."""
    torch.manual_seed(0)
    return save(LlamaForCausalLM(LlamaConfig(**SHAPE)), tmp_path_factory.mktemp("base"))


def upcycled(base: Path, kinds: list[str], window: int | None) -> IHALlamaForCausalLM:
    """The base as an IHA model: equal pseudo-heads, of which the last one is kept."""
    config = IHAConfig(
        **SHAPE,
        num_pseudo_heads=2,
        iha_layer_types=kinds,
        iha_window=window,
        pseudo_rope="token",
    )
    model = IHALlamaForCausalLM(config)
    plain = LlamaForCausalLM.from_pretrained(base)
    model.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        for layer in model.model.layers:
            attention = layer.self_attn
            for alpha in (attention.alpha_q, attention.alpha_k, attention.alpha_v):
                alpha.copy_(torch.eye(len(alpha)).unsqueeze(-1).expand_as(alpha))
            last = torch.tensor([[0.0, 1.0]])
            attention.collapse.copy_(torch.kron(torch.eye(len(attention.collapse)), last))
    return model


@pytest.fixture(scope="session")
def exact(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base, upcycled: two global layers, P = 2."""
    folder = tmp_path_factory.mktemp("exact")
    return save(upcycled(base, ["iha_global"] * 2, None), folder)


@pytest.fixture(scope="session")
def windowed(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base, upcycled, with a window of 40 tokens in the first layer."""
    folder = tmp_path_factory.mktemp("windowed")
    return save(upcycled(base, ["iha_sliding", "iha_global"], 40), folder)


@pytest.fixture
def sequence() -> Sequence:
    """Three tokens, continued by two."""
    return Sequence(Prompt("3 tokens", (5, 6, 7)), (8, 9))


@pytest.fixture
def reading() -> Callable[..., Reading]:
    """Makes a reading of one sequence: `reading("naive", [-1.0, -2.0])`."""

    def make(
        name: str, logprobs: list[float], best: list[float] | None = None, **fields: Any
    ) -> Reading:
        first = fields.pop("first", 1)
        row = ReadingRow(first, tuple(logprobs), tuple(best or logprobs))
        return Reading(name, fields.pop("dtype", "float32"), (row,), 0.5, **fields)

    return make
