"""What it takes for an architecture to be one that IHA is put on.

For: the files beside this one, each of which describes one; for how one is added see
docs/checkpoints.md. Not for: architectures whose decoder layer is not Llama's around the attention.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import LlamaConfig, PretrainedConfig, PreTrainedModel

from model_adapters.config import VARIANT_FIELDS, IHAConfig


def _nothing(raw: Mapping[str, Any], config: PretrainedConfig) -> str | None:
    del raw, config
    return None


@dataclass(frozen=True)
class PlainBase:
    """An architecture whose decoder is Llama's, but for what fields of the IHA format say.

    Attributes:
        model_type: Transformers' name.
        causal_lm: Transformers' language model of it.
        variant: fields of the IHA format that make the rest; of `VARIANT_FIELDS`.
        unfit: why a model cannot be converted, or None; of its stored fields and its configuration.
        is_written: whether IHA checkpoints go back to it; one that another base also describes
            is not.
    """

    model_type: str
    causal_lm: type[PreTrainedModel]
    variant: Mapping[str, Any] = field(default_factory=dict)
    unfit: Callable[[Mapping[str, Any], PretrainedConfig], str | None] = _nothing
    is_written: bool = True

    @property
    def architecture(self) -> str:
        """As `architectures` in `config.json` names it."""
        return self.causal_lm.__name__

    def llama_fields(self, raw: Mapping[str, Any], config: PretrainedConfig) -> dict[str, Any]:
        """`config.json` spelled out under Llama's names, as the defaults of the two differ.

        Args:
            raw: as stored; a Llama's own is kept as it is.
            config: the same, parsed.
        """
        if self.model_type == "llama":
            return dict(raw)
        known = LlamaConfig().to_dict()
        stated = {name: value for name, value in config.to_dict().items() if name in known}
        kept = {name: raw[name] for name in ("dtype", "torch_dtype") if name in raw}
        own = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
        return {**stated, **kept, **own, **self.variant}

    def describes(self, config: IHAConfig) -> bool:
        """Whether the plain layers of an IHA model are this architecture's."""
        usual = {name: getattr(IHAConfig, name) for name in VARIANT_FIELDS} | dict(self.variant)
        # These concern IHA layers alone.
        own = ("iha_window_virtual", "pseudo_causal", "pseudo_window", "collapse")
        return self.is_written and all(
            getattr(config, name) == value for name, value in usual.items() if name not in own
        )
