"""The architectures that IHA is put on, one file each.

For: converting from and to them, checking their tensors and reckoning their costs.
Not for: running them plain: both libraries do that with classes of their own.
"""

from transformers import PretrainedConfig

from model_adapters.bases import llama, mistral, qwen3
from model_adapters.bases.plain import PlainBase
from model_adapters.config import IHAConfig
from model_adapters.errors import AdapterError

BASES = {base.model_type: base for base in (llama.BASE, mistral.BASE, qwen3.BASE)}


def plain_base(config: IHAConfig) -> PlainBase | None:
    """The architecture that the plain layers of an IHA model are of; None if of none here."""
    return next((base for base in BASES.values() if base.describes(config)), None)


def plain_as_iha(config: PretrainedConfig) -> IHAConfig | None:
    """A plain model as an IHA model all of whose layers are "full"; None if it is none.

    Args:
        config: of a plain model, or of an IHA model, which is returned as it is.
    """
    if isinstance(config, IHAConfig):
        return config
    base = BASES.get(config.model_type)
    raw = config.to_dict()
    if base is None or getattr(config, "quantization_config", None) or base.unfit(raw, config):
        return None
    fields = base.llama_fields(raw, config) | {
        "model_type": IHAConfig.model_type,
        "num_pseudo_heads": 1,
        "iha_layer_types": ["full"] * config.num_hidden_layers,
        "iha_window": None,
        "pseudo_rope": "virtual",
    }
    try:
        return IHAConfig.from_dict(fields)
    except AdapterError:
        # Such as rotary frequencies that depend on the running length, which it does not know.
        return None


__all__ = ["BASES", "PlainBase", "plain_as_iha", "plain_base"]
