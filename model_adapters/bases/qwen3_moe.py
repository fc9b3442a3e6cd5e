"""Qwen3-MoE: Qwen3 with experts in every layer."""

from collections.abc import Mapping
from typing import Any

from transformers import PretrainedConfig, Qwen3MoeForCausalLM

from model_adapters.bases import qwen3
from model_adapters.bases.plain import PlainBase


def unfit(raw: Mapping[str, Any], config: PretrainedConfig) -> str | None:
    """A window, or layers with one MLP among those with experts."""
    if config.use_sliding_window:
        return (
            "use_sliding_window is true, so layers of its own have a window: set it to false if no "
            "input is going to be longer than that."
        )
    if config.mlp_only_layers or config.decoder_sparse_step != 1:
        return (
            f"mlp_only_layers is {raw.get('mlp_only_layers')} and decoder_sparse_step "
            f"{raw.get('decoder_sparse_step', 1)}, so that some layers have no experts, which the "
            "IHA format does not know."
        )
    return None


BASE = PlainBase(
    "qwen3_moe",
    Qwen3MoeForCausalLM,
    variant=qwen3.BASE.variant,
    shared=("num_experts", "num_experts_per_tok", "moe_intermediate_size", "norm_topk_prob"),
    unfit=unfit,
)
