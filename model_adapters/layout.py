"""Which tensors a checkpoint has to hold, and in words, how what it holds differs.

For: IHA checkpoints and plain ones of `bases/`, whose state dicts follow from the configuration.
Not for: other architectures, about whose tensors nothing is claimed.
"""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import PretrainedConfig

from model_adapters.bases import BASES, plain_as_iha
from model_adapters.config import IHAConfig
from model_adapters.hf.modeling import IHALlamaForCausalLM
from model_adapters.hf.nanochat import IHANanoChatForCausalLM

Shapes = Mapping[str, tuple[int, ...]]
IHA_TENSORS = ("alpha_q", "alpha_k", "alpha_v", "collapse")
# Buffers that old Llama exports carry and that every loader passes over.
IGNORED = (".rotary_emb.inv_freq",)
_OWN = {
    kind.config_class.model_type: kind for kind in (IHALlamaForCausalLM, IHANanoChatForCausalLM)
}


def expected_shapes(config: PretrainedConfig) -> dict[str, tuple[int, ...]] | None:
    """Name and shape of every tensor, or None where that does not follow from a known layout."""
    kinds = {base.model_type: base.causal_lm for base in BASES.values() if base.is_written}
    # Quantized weights have other names and types, which their own loader knows.
    if getattr(config, "quantization_config", None):
        return None
    # What the format describes has the same names in it; a base's own class may stack experts.
    own = config if isinstance(config, IHAConfig) else plain_as_iha(config)
    if own is None and (config.model_type not in kinds or hasattr(config, "num_experts")):
        return None
    with torch.device("meta"):
        # Any: Transformers types a model by the configuration of its own.
        kind: Any = kinds[config.model_type] if own is None else _OWN[own.model_type]
        model = kind(config if own is None else own)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def describe_mismatch(config: PretrainedConfig, shapes: Shapes) -> str | None:
    """What is wrong with the tensors found, as one sentence, or None.

    Args:
        config: the configuration.
        shapes: name and shape of every stored tensor.
    """
    if not isinstance(config, IHAConfig):
        strangers = [name for name in shapes if is_iha_tensor(name)]
        if strangers:
            return (
                f"config.json says model_type {config.model_type!r}, but the weights hold "
                f"{_some(strangers)}: set model_type to 'iha_llama' and add its four fields."
            )
    wanted = expected_shapes(config)
    if wanted is None:
        return None
    shapes = {name: shape for name, shape in shapes.items() if not name.endswith(IGNORED)}
    missing = [name for name in wanted if name not in shapes]
    if config.tie_word_embeddings and "lm_head.weight" in missing:
        missing.remove("lm_head.weight")
    extra = [name for name in shapes if name not in wanted]
    if missing:
        return _missing(missing, extra)
    if extra:
        return _extra(extra)
    for name, shape in shapes.items():
        if shape != wanted[name]:
            return _misshaped(name, shape, wanted[name])
    return None


def _missing(missing: list[str], extra: list[str]) -> str:
    also = f", and holds {_some(extra)}, which it does not know" if extra else ""
    remedy = "save the whole state dict under Llama's names"
    if missing == ["lm_head.weight"]:
        remedy = "set tie_word_embeddings to true if the output shares the embedding"
    elif all(is_iha_tensor(name) for name in missing):
        remedy = "save them, or make those layers 'full' or 'sliding' in iha_layer_types"
    return f"the weights lack {_some(missing)}{also}: {remedy}."


def _extra(extra: list[str]) -> str:
    remedy = "remove them, or mend config.json"
    if all(is_iha_tensor(name) for name in extra):
        remedy = "make those layers IHA layers in iha_layer_types, or remove the tensors"
    return f"the weights hold {_some(extra)}, which config.json has no place for: {remedy}."


def _misshaped(name: str, shape: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    meaning = ""
    if name.endswith("collapse"):
        meaning = " (destination head; source head and pseudo-head)"
    elif is_iha_tensor(name):
        meaning = " (source head, destination head, pseudo-head)"
    fields = "num_attention_heads, num_key_value_heads and num_pseudo_heads"
    if not is_iha_tensor(name):
        fields = "the sizes in config.json"
    return (
        f"{name} has shape {list(shape)}, but config.json asks for {list(wanted)}{meaning}: "
        f"transpose the tensor or mend {fields}."
    )


def is_iha_tensor(name: str) -> bool:
    """Whether a name of a state dict is an alpha's or a collapse's, whatever stands before it."""
    return name.rsplit(".", 1)[-1] in IHA_TENSORS


def _some(names: list[str]) -> str:
    names = sorted(names)
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return ", ".join(names[:2]) + more
