"""Mistral, which without a window is Llama."""

from collections.abc import Mapping
from typing import Any

from transformers import MistralForCausalLM, PretrainedConfig

from model_adapters.bases.plain import PlainBase


def unfit(raw: Mapping[str, Any], config: PretrainedConfig) -> str | None:
    """A window, which its layers would have in addition to IHA's."""
    if getattr(config, "sliding_window", None) is None:
        return None
    return (
        f"sliding_window is {raw.get('sliding_window', config.sliding_window)}, so its own "
        "layers have a window: set it to null if no input is going to be longer than that."
    )


BASE = PlainBase("mistral", MistralForCausalLM, unfit=unfit, is_written=False)
