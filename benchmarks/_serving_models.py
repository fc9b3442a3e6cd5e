"""The models that `serving.py` and `samples.py` time: random weights, one shape, plain and IHA.

For: those benchmarks and their engines' processes. Not for: anything that looks at what models say.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from model_adapters import IHAConfig, IHALlamaForCausalLM

PLAIN = "plain"
LAYERS = 10
SHAPE: dict[str, Any] = {
    "vocab_size": 4096,
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "max_position_embeddings": 32768,
    "bos_token_id": None,
    "eos_token_id": None,
}
# FLOP-matched to the plain model at the context that W is set for (App. C).
HYBRID = (["iha_sliding"] * 4 + ["full"]) * 2


def name_of(pseudo_heads: int) -> str:
    """What an IHA model goes by."""
    return f"IHA P={pseudo_heads}"


def save_models(context: int, pseudo_heads: list[int], folder: Path) -> dict[str, Path]:
    """Write the plain model and an IHA model for each P, window N / (2 P^2), bfloat16."""
    models: dict[str, Any] = {PLAIN: LlamaForCausalLM(LlamaConfig(**SHAPE))}
    for pseudo in pseudo_heads:
        config = IHAConfig(
            **SHAPE,
            num_pseudo_heads=pseudo,
            iha_layer_types=HYBRID,
            iha_window=max(1, context // (2 * pseudo**2)),
        )
        models[name_of(pseudo)] = IHALlamaForCausalLM(config)
    for name, model in models.items():
        model.to(torch.bfloat16).save_pretrained(folder / name)
    return {name: folder / name for name in models}


def prompts(context: int, seed: int, count: int) -> list[list[int]]:
    """Random token ids; other seeds, other prompts, so that no prefix is found."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, SHAPE["vocab_size"], (count, context), generator=generator).tolist()
