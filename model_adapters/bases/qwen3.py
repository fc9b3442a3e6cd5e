"""Qwen3 (dense): Llama with an RMS norm of each head's queries and keys before rotation."""

from collections.abc import Mapping
from typing import Any

from transformers import PretrainedConfig, Qwen3ForCausalLM

from model_adapters.bases.plain import PlainBase


def unfit(raw: Mapping[str, Any], config: PretrainedConfig) -> str | None:
    """A window, which its layers would have in addition to IHA's."""
    if "sliding_attention" not in (getattr(config, "layer_types", None) or ()):
        return None
    return (
        f"use_sliding_window is {raw.get('use_sliding_window')!r}, so layers of its own have a "
        "window: set it to false if no input is going to be longer than that."
    )


BASE = PlainBase(
    "qwen3",
    Qwen3ForCausalLM,
    variant={"qk_norm": "head_before_mixing", "qk_norm_weight": "shared"},
    unfit=unfit,
)
