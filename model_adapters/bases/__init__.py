"""The architectures that IHA is put on, one file each.

For: converting from and to them, checking their tensors and reckoning their costs.
Not for: running them plain: both libraries do that with classes of their own.
"""

from transformers import PretrainedConfig

from model_adapters.bases import llama, mistral, nanochat, olmo2, olmo3, qwen3, qwen3_moe
from model_adapters.bases.plain import PlainBase
from model_adapters.config import WINDOWED_KINDS, IHAConfig, IHANanoChatConfig
from model_adapters.errors import AdapterError

BASES: dict[str, PlainBase] = {
    module.BASE.model_type: module.BASE
    for module in (llama, mistral, qwen3, qwen3_moe, olmo2, olmo3, nanochat)
}


def plain_base(config: IHAConfig) -> PlainBase | None:
    """The architecture that the plain layers of an IHA model are of; None if of none here.

    Where two describe it, the one whose layers have windows as its do. A nanochat that is not
    Transformers' is of its own.
    """
    fitting = [base for base in BASES.values() if base.describes(config)]
    has_windows = bool(set(config.layer_kinds) & set(WINDOWED_KINDS))
    fitting.sort(key=lambda base: base.has_windows != has_windows)
    own = nanochat.LATER if isinstance(config, IHANanoChatConfig) else None
    return fitting[0] if fitting else own


def plain_as_iha(config: PretrainedConfig) -> IHAConfig | None:
    """A plain model as an IHA model of plain layers; None if it is none.

    Args:
        config: of a plain model, or of an IHA model, which is returned as it is.
    """
    if isinstance(config, IHAConfig):
        return config
    base = BASES.get(config.model_type)
    raw = config.to_dict()
    if base is None or getattr(config, "quantization_config", None) or base.unfit(raw, config):
        return None
    fields = {
        "iha_layer_types": ["full"] * config.num_hidden_layers,
        "iha_window": None,
        **base.llama_fields(raw, config),
        "model_type": base.iha_config.model_type,
        "num_pseudo_heads": 1,
        "pseudo_rope": "virtual",
    }
    try:
        return base.iha_config.from_dict(fields)
    except AdapterError:
        # Such as rotary frequencies that depend on the running length, which it does not know.
        return None


__all__ = ["BASES", "PlainBase", "plain_as_iha", "plain_base"]
