"""The configuration of an IHA checkpoint (`model_type: "iha_llama"`), checked when it is made.

For: reading, writing and validating `config.json`; the four fields that IHA adds to Llama's.
Not for: looking at weights (see `checkpoint.py`) or at what an engine can run.
"""

from typing import Any, ClassVar

from transformers import LlamaConfig

from model_adapters.errors import ConfigError

IHA_KINDS = ("iha_sliding", "iha_global")
PLAIN_KINDS = ("full", "sliding")
LAYER_KINDS = IHA_KINDS + PLAIN_KINDS
WINDOWED_KINDS = ("iha_sliding", "sliding")
PSEUDO_ROPES = ("virtual", "token")
# Types whose frequencies depend on the running length have no meaning at virtual positions.
ROPE_TYPES = ("default", "linear", "llama3", "yarn")
IHA_FIELDS = ("num_pseudo_heads", "iha_layer_types", "iha_window", "pseudo_rope")


class IHAConfig(LlamaConfig):
    """Llama's configuration with Interleaved Head Attention (arXiv:2602.21371).

    Attributes:
        num_pseudo_heads: P, pseudo-heads per head; each token becomes P virtual tokens.
        iha_layer_types: one kind a layer: "iha_sliding", "iha_global", "full" or "sliding";
            None makes every layer "iha_global" (the paper's unscheduled form, section 3).
        iha_window: W in tokens for both windowed kinds (W * P virtual tokens in an IHA layer);
            None where there is no windowed layer.
        pseudo_rope: "virtual" rotates virtual token (n, p) at position n * P + p (the paper's);
            "token" rotates all P virtual tokens of token n at position n.

    Raises:
        ConfigError: a field has a value that cannot be meant; the text says which and what to do.
    """

    model_type: ClassVar[str] = "iha_llama"

    num_pseudo_heads: int = 2
    iha_layer_types: list[str] | None = None
    iha_window: int | None = None
    pseudo_rope: str = "virtual"

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]
        if self.iha_layer_types is None:
            self.iha_layer_types = ["iha_global"] * self.num_hidden_layers
        _check_heads(self)
        _check_pseudo_heads(self)
        _check_kinds(self)
        _check_window(self)
        _check_rope(self)

    @property
    def head_width(self) -> int:
        """d, never None."""
        assert self.head_dim is not None
        return self.head_dim

    @property
    def kv_heads(self) -> int:
        """G, never None."""
        assert self.num_key_value_heads is not None
        return self.num_key_value_heads

    @property
    def layer_kinds(self) -> list[str]:
        """The kind of each layer, never None."""
        assert self.iha_layer_types is not None
        return self.iha_layer_types

    def pseudo_heads(self, layer: int) -> int:
        """P of one layer: `num_pseudo_heads` in an IHA layer, 1 in a plain one."""
        return self.num_pseudo_heads if self.layer_kinds[layer] in IHA_KINDS else 1

    def window(self, layer: int) -> int | None:
        """W of one layer in tokens, or None where the layer sees everything."""
        return self.iha_window if self.layer_kinds[layer] in WINDOWED_KINDS else None

    def to_diff_dict(self) -> dict[str, Any]:
        """The dictionary that `config.json` holds: the four IHA fields stand in it always."""
        return super().to_diff_dict() | {name: getattr(self, name) for name in IHA_FIELDS}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _check_heads(config: IHAConfig) -> None:
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    for name in ("num_attention_heads", "num_key_value_heads", "num_hidden_layers", "head_dim"):
        if not _is_count(getattr(config, name)):
            raise ConfigError(
                f"{name} is {getattr(config, name)!r}: set it to a whole number of at least 1."
            )
    if kv_heads is None or heads % kv_heads:
        raise ConfigError(
            f"num_key_value_heads is {kv_heads}, which does not divide num_attention_heads "
            f"({heads}): set it to a divisor of {heads}."
        )
    if config.head_dim is None or config.head_dim % 2:
        raise ConfigError(
            f"head_dim is {config.head_dim}, but rotary embedding turns pairs of dimensions: "
            "set it to an even number."
        )


def _check_pseudo_heads(config: IHAConfig) -> None:
    if not _is_count(config.num_pseudo_heads):
        raise ConfigError(
            f"num_pseudo_heads is {config.num_pseudo_heads!r}: set it to a whole number of at "
            "least 1 (1 is one pseudo-head per head)."
        )


def _check_kinds(config: IHAConfig) -> None:
    kinds = config.iha_layer_types
    if not isinstance(kinds, list):
        raise ConfigError(
            f"iha_layer_types is {kinds!r}: give a list with one of {', '.join(LAYER_KINDS)} "
            "for each layer."
        )
    for index, kind in enumerate(kinds):
        if kind not in LAYER_KINDS:
            raise ConfigError(
                f"iha_layer_types[{index}] is {kind!r}: use one of {', '.join(LAYER_KINDS)}."
            )
    if len(kinds) != config.num_hidden_layers:
        raise ConfigError(
            f"iha_layer_types has {len(kinds)} entries, but num_hidden_layers is "
            f"{config.num_hidden_layers}: give one entry for each layer."
        )


def _check_window(config: IHAConfig) -> None:
    windowed = sorted(set(config.layer_kinds) & set(WINDOWED_KINDS))
    if windowed and not _is_count(config.iha_window):
        raise ConfigError(
            f"iha_window is {config.iha_window!r}, but iha_layer_types has "
            f"{' and '.join(windowed)} layers: set it to their window in tokens, a whole number "
            "of at least 1."
        )
    if not windowed and config.iha_window is not None:
        raise ConfigError(
            f"iha_window is {config.iha_window!r}, but iha_layer_types has no windowed layer: "
            "set it to null, or make a layer iha_sliding or sliding."
        )


def _check_rope(config: IHAConfig) -> None:
    if config.pseudo_rope not in PSEUDO_ROPES:
        raise ConfigError(
            f"pseudo_rope is {config.pseudo_rope!r}: use "
            f"{' or '.join(repr(name) for name in PSEUDO_ROPES)}."
        )
    parameters: dict[str, Any] = dict(config.rope_parameters or {})
    for name, value in (
        ("rope_theta", parameters.get("rope_theta", 1.0)),
        ("rms_norm_eps", config.rms_norm_eps),
    ):
        if not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise ConfigError(f"{name} is {value!r}: set it to a finite number above 0.")
    if not _is_count(config.max_position_embeddings):
        raise ConfigError(
            f"max_position_embeddings is {config.max_position_embeddings!r}: set it to the longest "
            "sequence in tokens, a whole number of at least 1."
        )
    if any(isinstance(value, dict) for value in parameters.values()):
        raise ConfigError(
            "rope_parameters has one mapping for each kind of layer, and IHA has one for all: move "
            "rope_theta and the rest up."
        )
    kind = parameters.get("rope_type", "default")
    if kind not in ROPE_TYPES:
        raise ConfigError(
            f"rope_parameters has rope_type {kind!r}, whose frequencies depend on the running "
            f"length: use one of {', '.join(ROPE_TYPES)}."
        )
    if parameters.get("partial_rotary_factor", 1.0) != 1.0:
        raise ConfigError(
            f"partial_rotary_factor is {parameters['partial_rotary_factor']}, but IHA rotates "
            "whole heads: remove it or set it to 1.0."
        )
