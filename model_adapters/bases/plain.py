"""What it takes for an architecture to be one that IHA is put on.

For: the files beside this one, each of which describes one; for how one is added see
docs/checkpoints.md. Not for: architectures whose decoder layer the format has no fields for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import LlamaConfig, PretrainedConfig, PreTrainedModel

from model_adapters.config import IHA_FIELDS, WINDOWED_KINDS, IHAConfig

# Of these variants any value goes with any base: some concern IHA layers alone, and a base says by
# itself whether its layers have windows.
FREE = (
    "iha_window_virtual",
    "pseudo_causal",
    "pseudo_window",
    "collapse",
    "window_rope_parameters",
)


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
        shared: fields of the IHA format that its own configuration has too.
        has_windows: whether layers have windows and rotary embeddings of their own, told by
            Transformers' `layer_types`, `sliding_window` and `rope_parameters` of each kind.
        is_written: whether IHA checkpoints go back to it; one that another base also describes
            is not.
        iha_config: the configuration of an IHA model on it.
        hidden_act: the only function of its MLP that is served.
        is_own: whether its plain models are IHA models too, all of whose layers are plain, as
            Transformers has no class for them.
    """

    model_type: str
    causal_lm: type[PreTrainedModel]
    variant: Mapping[str, Any] = field(default_factory=dict)
    unfit: Callable[[Mapping[str, Any], PretrainedConfig], str | None] = _nothing
    shared: tuple[str, ...] = ()
    has_windows: bool = False
    is_written: bool = True
    iha_config: type[IHAConfig] = IHAConfig
    hidden_act: str = "silu"
    is_own: bool = False

    @property
    def architecture(self) -> str:
        """As `architectures` in `config.json` names it."""
        return self.causal_lm.__name__

    def llama_fields(self, raw: Mapping[str, Any], config: PretrainedConfig) -> dict[str, Any]:
        """`config.json` spelled out under Llama's names, as the defaults of the two differ.

        Args:
            raw: as stored; a Llama's own, or what is of the IHA format, is kept as it is.
            config: the same, parsed.
        """
        if self.is_own or self.model_type == "llama":
            return dict(raw)
        known = LlamaConfig().to_dict()
        stated = {name: value for name, value in config.to_dict().items() if name in known}
        kept = {name: raw[name] for name in ("dtype", "torch_dtype") if name in raw}
        own = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
        windows = _windows(config) if self.has_windows else {}
        shared = {name: getattr(config, name) for name in self.shared}
        return {**stated, **kept, **own, **self.variant, **shared, **windows}

    def plain_fields(self, fields: Mapping[str, Any], config: IHAConfig) -> dict[str, Any]:
        """The way back.

        Args:
            fields: `config.json` of an IHA checkpoint.
            config: the same checkpoint's.
        """
        # `auto_map` is of code for IHA.
        fields = {name: value for name, value in fields.items() if name != "auto_map"}
        if self.is_own:
            kinds = [
                kind.replace("iha_", "").replace("global", "full") for kind in config.layer_kinds
            ]
            return {**fields, "num_pseudo_heads": 1, "iha_layer_types": kinds}
        added = {*IHA_FIELDS, *config.variant_fields}
        fields = {name: value for name, value in fields.items() if name not in added}
        own = {"model_type": self.model_type, "architectures": [self.architecture]}
        shared = {name: getattr(config, name) for name in self.shared}
        return {**fields, **own, **shared, **(_layer_types(config) if self.has_windows else {})}

    def describes(self, config: IHAConfig) -> bool:
        """Whether the plain layers of an IHA model are this architecture's, windows aside."""
        kind, free = self.iha_config, {*FREE, *self.shared}
        own = {name: v for name, v in self.variant.items() if v != getattr(kind, name)}
        return (
            self.is_written
            and type(config) is kind
            and config.hidden_act == self.hidden_act
            and (config.num_experts is not None) == ("num_experts" in self.shared)
            and {name: v for name, v in config.variants().items() if name not in free} == own
        )


def _windows(config: Any) -> dict[str, Any]:
    """What `layer_types` say, in terms of the IHA format."""
    windowed = [kind == "sliding_attention" for kind in config.layer_types]
    rope = config.rope_parameters
    made = {"rope_parameters": rope["full_attention"]}
    if any(windowed):
        made["iha_layer_types"] = ["sliding" if has else "full" for has in windowed]
        made["iha_window"] = config.sliding_window
        if rope["sliding_attention"] != rope["full_attention"]:
            made["window_rope_parameters"] = rope["sliding_attention"]
    return made


def _layer_types(config: IHAConfig) -> dict[str, Any]:
    whole = config.rope_parameters
    windowed = [kind in WINDOWED_KINDS for kind in config.layer_kinds]
    return {
        "layer_types": [f"{'sliding' if has else 'full'}_attention" for has in windowed],
        "sliding_window": config.iha_window,
        "rope_parameters": {
            "full_attention": whole,
            "sliding_attention": config.window_rope_parameters or whole,
        },
    }
