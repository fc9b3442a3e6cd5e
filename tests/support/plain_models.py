"""Small random plain Llamas, and what they and checkpoints made of them compute.

For: tests that convert (import `plain_models`). Not for: IHA models (see `tiny_models`).
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from model_adapters import IHAConfig, naive
from model_adapters.bases import BASES

VOCABULARY = 61


def plain_config(**changes: Any) -> LlamaConfig:
    """Four heads of 8 over two key heads."""
    fields: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 256,
        "bos_token_id": None,
        "eos_token_id": None,
        "initializer_range": 0.3,
        "architectures": ["LlamaForCausalLM"],
    }
    return LlamaConfig(**fields | changes)


def save_plain(
    folder: Path, *, shard: str = "1GB", dtype: torch.dtype = torch.float32, **changes: Any
) -> Path:
    """Write a seeded model, its biases too, in shards of the given size."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(plain_config(**changes))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    return folder


def save_qwen3(folder: Path, **changes: Any) -> Path:
    """A seeded Qwen3 whose norms are not ones."""
    return save_base("qwen3", folder, **changes)


ROPE = {"rope_type": "default", "rope_theta": 10000.0}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 50000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 256,
}
# What each base has that the others have not.
BASE_FIELDS: dict[str, dict[str, Any]] = {
    "qwen3": {"tie_word_embeddings": True, "attention_bias": True},
    "qwen3_moe": {
        "num_experts": 6,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 24,
        "norm_topk_prob": True,
    },
    "olmo2": {"hidden_size": 128},
    "olmo3": {
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "rope_parameters": {"sliding_attention": ROPE, "full_attention": YARN},
    },
    "nanochat": {"rope_parameters": ROPE, "final_logit_softcapping": 4.0},
}


def save_base(kind: str, folder: Path, **changes: Any) -> Path:
    """A seeded model of one of `model_adapters.bases`, whose norms are not ones.

    Args:
        kind: its `model_type`, of `BASE_FIELDS`.
        folder: where to.
        **changes: fields of its configuration.
    """
    torch.manual_seed(0)
    fields: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 1024,
        "initializer_range": 0.2,
    }
    fields |= BASE_FIELDS[kind] | changes
    if kind == "nanochat":
        # It has no field for it.
        fields["hidden_size"] = fields["num_attention_heads"] * fields.pop("head_dim")
    config = CONFIG_MAPPING[kind](**fields)
    model = BASES[kind].causal_lm(config)
    for name, parameter in model.named_parameters():
        if name.endswith(("norm.weight", ".bias")):
            torch.nn.init.normal_(parameter, float(name.endswith("weight")), 0.3)
    model.save_pretrained(folder)
    return folder


def _ids() -> torch.Tensor:
    return torch.randint(0, VOCABULARY, (24,), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits(folder: Path, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """What Transformers computes for one fixed sequence, [24, vocabulary].

    Its norms and softmax are float32 whatever the type.
    """
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    model.train(False)
    result: torch.Tensor = model(_ids().unsqueeze(0)).logits[0]
    return result


def exact_logits(folder: Path) -> torch.Tensor:
    """What the definition computes for the same sequence in float64, of IHA or plain weights."""
    config = AutoConfig.from_pretrained(folder)
    if not isinstance(config, IHAConfig):
        kinds = ["full"] * config.num_hidden_layers
        config = IHAConfig.from_dict(config.to_dict() | {"iha_layer_types": kinds})
    weights = {name: tensor.double() for name, tensor in stored(folder).items()}
    return naive.logits(weights, config, _ids().tolist())


def stored(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a folder."""
    found: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    return found


def same_tensors(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether names, types and bits are alike."""
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and torch.equal(one[name].view(torch.uint8), other[name].view(torch.uint8))
        for name in one
    )
