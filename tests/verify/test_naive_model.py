"""The naive implementation reads checkpoints from their files, plain Llama included."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, LlamaConfig, LlamaForCausalLM

from iha_eval.verify import naive_model
from iha_eval.verify.prompts import Prompt
from iha_eval.verify.reading import Sequence, row_of_logits
from model_adapters import IHAConfig, checkpoint
from model_adapters.checkpoint import Checkpoint

MIB = 2**20


def described(config: Any) -> Checkpoint:
    return Checkpoint(Path("x"), config, "", isinstance(config, IHAConfig), 0, "float32")


def test_a_plain_llama_is_an_iha_model_of_full_layers() -> None:
    config = naive_model.configuration(described(LlamaConfig(num_hidden_layers=3)))
    assert config is not None
    assert config.layer_kinds == ["full"] * 3
    assert config.num_hidden_layers == 3


def test_an_iha_configuration_is_taken_as_it_is() -> None:
    config = IHAConfig(num_hidden_layers=1)
    assert naive_model.configuration(described(config)) is config


@pytest.mark.parametrize(
    "config",
    [
        GPT2Config(),
        LlamaConfig(quantization_config={"quant_method": "fp8"}),
        LlamaConfig(
            rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0},
        ),
    ],
    ids=["gpt2", "quantized", "dynamic-rope"],
)
def test_what_it_does_not_know_it_says_so(config: Any) -> None:
    assert naive_model.configuration(described(config)) is None


@pytest.mark.parametrize(
    ("fields", "free", "tokens"),
    [
        # A quarter of 64 MiB over 4 copies of 4 bytes for 4 heads: 512 x 512 scores.
        ({"num_attention_heads": 4, "iha_layer_types": ["full"]}, 64 * MIB, 512),
        ({"num_attention_heads": 4, "num_pseudo_heads": 2}, 64 * MIB, 256),
        # No more than 2 GiB, whatever is free.
        ({"num_attention_heads": 32, "num_pseudo_heads": 4}, 2**50, 512),
        ({"num_attention_heads": 32, "num_pseudo_heads": 4}, 0, 1),
    ],
    ids=["plain", "P2", "P4-plenty", "nothing-free"],
)
def test_reach_follows_from_memory(fields: dict[str, Any], free: int, tokens: int) -> None:
    config = IHAConfig(num_hidden_layers=1, **fields)
    assert naive_model.reach(config, free) == tokens


def test_reading_equals_transformers_and_may_stop_early(base: Path) -> None:
    found = checkpoint.read(base)
    config = naive_model.configuration(found)
    assert config is not None
    ids = torch.arange(100, 120)
    sequence = Sequence(Prompt("18 tokens", tuple(ids[:18].tolist())), tuple(ids[18:].tolist()))
    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.inference_mode():
        wanted = row_of_logits(model(ids[None, :-1]).logits[0], ids.tolist())
    whole = naive_model.read(found, config, [sequence], most=50)
    assert whole.name == "naive"
    torch.testing.assert_close(whole.rows[0].logprobs, wanted.logprobs, atol=1e-4, rtol=0)
    torch.testing.assert_close(whole.rows[0].best, wanted.best, atol=1e-4, rtol=0)
    part = naive_model.read(found, config, [sequence], most=7).rows[0]
    torch.testing.assert_close(part.logprobs, wanted.logprobs[:6], atol=1e-4, rtol=0)
    assert naive_model.read(found, config, [sequence], most=1).rows[0].logprobs == ()
