"""The configuration of an IHA checkpoint, checked when it is made.

For: reading, writing and validating `config.json`, of `model_type` "iha_llama" or "iha_nanochat";
the fields that IHA adds to Llama's; and the recipe of each layer, which all implementations read in
place of the fields.
Not for: looking at weights (see `checkpoint.py`) or at what an engine can run.
"""

import copy
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor
from transformers import LlamaConfig

from model_adapters.errors import ConfigError

IHA_KINDS = ("iha_sliding", "iha_global")
PLAIN_KINDS = ("full", "sliding")
LAYER_KINDS = IHA_KINDS + PLAIN_KINDS
WINDOWED_KINDS = ("iha_sliding", "sliding")
VIRTUAL, TOKEN = "virtual", "token"
PSEUDO_ROPES = (VIRTUAL, TOKEN, "none")
QK_NORMS = (
    "none",
    "head_before_mixing",
    "projection_before_mixing",
    "pseudo_head_after_rope",
)
# More is damage, and would take minutes to build.
MOST_EXPERTS = 10_000
BLOCK_NORMS = ("before", "after")
COLLAPSES = ("full", "per_head")
# Types whose frequencies depend on the running length have no meaning at virtual positions.
ROPE_TYPES = ("default", "linear", "llama3", "yarn")
# Always in `config.json`.
IHA_FIELDS = ("num_pseudo_heads", "iha_layer_types", "iha_window", "pseudo_rope")
# In `config.json` where they are not the default, so that older checkpoints keep their bytes.
VARIANT_FIELDS = (
    "iha_window_virtual",
    "pseudo_causal",
    "pseudo_window",
    "qk_norm",
    "qk_norm_weight",
    "qk_scale",
    "collapse",
    "head_gate_channels",
    "block_norm",
    "window_rope_parameters",
    "num_experts",
    "num_experts_per_tok",
    "moe_intermediate_size",
    "norm_topk_prob",
)
# Of `IHANanoChatConfig`, likewise.
NANOCHAT_FIELDS = (
    "value_embedding",
    "value_embedding_source",
    "value_embedding_layers",
    "value_gate_channels",
    "value_gate_scale",
    "residual_lambdas",
    "skips",
    "smear_channels",
)
#: What changes the numbers of other types' models, and is refused where it would be passed over.
OF_OTHERS = (
    *(name for name in NANOCHAT_FIELDS if name != "value_embedding_source"),
    # Attention.
    *("alibi", "attention_chunk_size", "attention_multiplier", "attn_logit_softcapping"),
    *("clip_qkv", "kv_lora_rank", "layer_types", "no_rope_layer_interval", "no_rope_layers"),
    *("num_kv_shared_layers", "parallel_attn", "q_lora_rank", "qk_layernorm", "qkv_bias"),
    *("query_pre_attn_scalar", "rope_local_base_freq", "rotary_dim", "sliding_window"),
    *("sliding_window_pattern", "use_bidirectional_attention", "use_qk_norm"),
    # Its surroundings.
    *("embedding_multiplier", "final_logit_softcapping", "first_k_dense_replace"),
    *("hidden_size_per_layer_input", "lm_head_bias", "lm_head_multiplier", "logit_scale"),
    *("logits_scaling", "mlp_only_layers", "n_routed_experts", "n_shared_experts"),
    *("num_local_experts", "num_shared_experts", "residual_multiplier", "routed_scaling_factor"),
    *("scale_emb", "scale_embedding", "shared_expert_intermediate_size", "swiglu_limit"),
    *("use_bias", "use_parallel_residual"),
)
#: Of these, what does nothing at 1.
MULTIPLIERS = (
    *("embedding_multiplier", "lm_head_multiplier", "logit_scale", "logits_scaling"),
    *("residual_multiplier", "routed_scaling_factor", "scale_emb"),
)


@dataclass(frozen=True)
class ValueRecipe:
    """What a layer adds to its values: an embedding, each head of it times a gate.

    Attributes:
        is_table: whether it is a row of a table by token; else a product with what the first layer
            takes in.
        inputs: rows of the table, or D.
        channels: numbers of the layer's input that the gate reads.
        scale: the gate is so many sigmoids.
        after_mixing: whether pseudo-heads get it, all of a token's the same, or heads before.
    """

    is_table: bool
    inputs: int
    channels: int
    scale: float
    after_mixing: bool


@dataclass(frozen=True)
class VirtualMask:
    """Which virtual token of a layer sees which; `naive.visible` spells it out.

    Attributes:
        pseudo_heads: P; 1 in a plain layer.
        window: W in tokens, rounded up; None where a layer sees everything.
        slots: the window in virtual tokens where it is not W * P.
        causal: "virtual" hides later virtual tokens, "token" those of later tokens alone.
        edge: "virtual" where each query's window begins so many virtual tokens before it, "token"
            where it begins with the first virtual token of token n - W + 1.
    """

    pseudo_heads: int
    window: int | None = None
    slots: int | None = None
    causal: str = VIRTUAL
    edge: str = VIRTUAL

    @property
    def kernel_window(self) -> int | None:
        """Window in virtual tokens, itself included."""
        if self.window is None or self.slots is not None:
            return self.slots
        return self.window * self.pseudo_heads

    @property
    def window_differs(self) -> bool:
        """Whether a token's queries have windows of different lengths."""
        return self.edge == TOKEN and self.causal != TOKEN

    @property
    def kept_tokens(self) -> int | None:
        """Tokens a cache has to keep for the next one, which is counted too.

        Virtual token (n, 0) sees w - 1 virtual tokens back. At w = W * P that reaches into token
        n - W: with more than one pseudo-head that is one token more than the window.
        """
        slots = self.kernel_window
        if slots is None or self.edge == TOKEN:
            return self.window
        return -(-(slots - 1) // self.pseudo_heads) + 1

    def visible(self, query: Tensor, key: Tensor) -> Tensor:
        """Boolean, of the shape that indices of virtual tokens broadcast to."""
        pseudo, slots = self.pseudo_heads, self.kernel_window
        tokens = query // pseudo - key // pseudo
        mask = (tokens if self.causal == TOKEN else query - key) >= 0
        if slots is not None:
            limit = slots // pseudo if self.edge == TOKEN else slots
            # Not in place, which FlexAttention's kernels would refuse.
            mask = mask & ((tokens if self.edge == TOKEN else query - key) < limit)
        return mask

    def reach(self, query: int) -> range:
        """Indices of the virtual tokens that one sees."""
        pseudo, slots = self.pseudo_heads, self.kernel_window
        stop = (query // pseudo + 1) * pseudo if self.causal == TOKEN else query + 1
        if slots is None:
            return range(stop)
        first = (query // pseudo + 1) * pseudo if self.edge == TOKEN else query + 1
        return range(max(0, first - slots), stop)


@dataclass(frozen=True)
class LayerRecipe:
    """What one layer does between its projections, as its configuration says.

    Attributes:
        is_iha: whether it has alphas and a collapse.
        mask: its pseudo-heads and what they see.
        rope: "virtual", "token" or "none", see `IHAConfig.pseudo_rope`; "token" in a plain layer.
        qk_norm: see `IHAConfig`; in plain layers too, whose heads are their own pseudo-heads.
        qk_norm_weight: None, "shared", "per_head" or "projection".
        scale: factor on the scores.
        collapse: "full" or "per_head".
        gate_channels: numbers of the layer's input that a head's gate reads; 0 without gates.
        values: what is added to its values; None where nothing is.
    """

    is_iha: bool
    mask: VirtualMask
    rope: str
    qk_norm: str
    qk_norm_weight: str | None
    scale: float
    collapse: str
    gate_channels: int
    values: ValueRecipe | None = None

    @property
    def pseudo_heads(self) -> int:
        """P, 1 in a plain layer."""
        return self.mask.pseudo_heads

    @property
    def norm_comes_first(self) -> bool:
        """Whether queries and keys are normed before they are mixed."""
        return self.qk_norm.endswith("before_mixing")

    def unfusable(self) -> str | None:
        """What keeps mixing, rotation and cache write from being one pass; None if nothing does."""
        if self.values is not None:
            return "value_embedding is set, which it does not add"
        if self.qk_norm != "none":
            return f"qk_norm is {self.qk_norm!r}, which it does not compute"
        return "pseudo_rope is 'none', and it always rotates" if self.rope == "none" else None

    def unfoldable(self) -> str | None:
        """What keeps alphas and collapse from going into the projections; None if nothing does.

        | step | alpha_q, alpha_k | alpha_v | collapse |
        |---|---|---|---|
        | qk_norm "..._before_mixing" | no: it is not linear and comes between | yes | yes |
        | qk_norm "pseudo_head_after_rope" | yes | yes | yes |
        | head gate | yes | yes | no: it comes between collapse and output projection |
        | value embedding | yes | only if it is added after mixing | yes |
        """
        if self.is_iha and self.values is not None:
            return "value_embedding is set, and it is added between projection and attention"
        if self.is_iha and self.norm_comes_first:
            return f"qk_norm is {self.qk_norm!r}, which comes between projection and mixing"
        if self.is_iha and self.gate_channels:
            return "head_gate_channels is set, and gates come between collapse and projection"
        return None


class IHAConfig(LlamaConfig):
    """Llama's configuration with Interleaved Head Attention (arXiv:2602.21371).

    Attributes:
        num_pseudo_heads: P, pseudo-heads per head; each token becomes P virtual tokens.
        iha_layer_types: one kind a layer: "iha_sliding", "iha_global", "full" or "sliding";
            None makes every layer "iha_global" (the paper's unscheduled form, section 3).
        iha_window: W in tokens for both windowed kinds (W * P virtual tokens in an IHA layer), or
            a list with one a layer; None where there is no windowed layer.
        pseudo_rope: "virtual" rotates virtual token (n, p) at position n * P + p (the paper's);
            "token" rotates all P virtual tokens of token n at position n; "none" rotates none of
            an IHA layer's (plain layers rotate tokens as ever).
        iha_window_virtual: window of "iha_sliding" layers in virtual tokens, in place of
            `iha_window`; it need not be a multiple of P.
        pseudo_causal: "virtual" hides from (n, p) what comes after n * P + p (the paper's);
            "token" only what belongs to later tokens.
        pseudo_window: "virtual" counts the window of (n, p) back from itself (the paper's);
            "token" begins it with the first virtual token of token n - W + 1.
        qk_norm: RMS norm (`rms_norm_eps`) of queries and keys in all layers: "none",
            "head_before_mixing", "projection_before_mixing" (over all heads of a token at once), or
            "pseudo_head_after_rope", which has no weight.
        qk_norm_weight: of heads "shared" [d] or "per_head" [H, d] and [G, d]; "projection" [H*d]
            and [G*d] of a whole projection; None without one.
        qk_scale: factor on queries and on keys after all of this.
        collapse: "full" [H, H*P], or "per_head" [H, P], in which head h takes in its own
            pseudo-heads alone.
        head_gate_channels: c, where each head that goes into the output projection, in all layers,
            is multiplied by the sigmoid of a product of its weights (`head_gate.weight` [H, c])
            with the first c numbers of its attention's input; None without gates.
        block_norm: "before" norms what attention and MLP take in, as Llama does; "after" norms what
            they give back (`post_attention_layernorm`, `post_feedforward_layernorm`), as OLMo 2.
        window_rope_parameters: `rope_parameters` of windowed layers; None where all have the same.
        num_experts: gated MLPs a layer, of which a token takes some, as Qwen3-MoE; None for one.
        num_experts_per_tok: how many it takes: those to which the router gives most.
        moe_intermediate_size: width of each.
        norm_topk_prob: whether their shares are made to add up to 1.

    Raises:
        ConfigError: a field has a value that cannot be meant; the text says which and what to do.
    """

    model_type: ClassVar[str] = "iha_llama"
    #: The class of its models, in both libraries.
    architecture: ClassVar[str] = "IHALlamaForCausalLM"
    #: Which way rotary embedding turns.
    rope_sign: ClassVar[int] = 1
    #: In `config.json` where they are not the default.
    variant_fields: ClassVar[tuple[str, ...]] = VARIANT_FIELDS
    #: Without which a `config.json` does not say what was trained.
    required_fields: ClassVar[tuple[str, ...]] = IHA_FIELDS

    num_pseudo_heads: int = 2
    iha_layer_types: list[str] | None = None
    iha_window: int | list[int | None] | None = None
    pseudo_rope: str = VIRTUAL
    iha_window_virtual: int | None = None
    pseudo_causal: str = VIRTUAL
    pseudo_window: str = VIRTUAL
    qk_norm: str = "none"
    qk_norm_weight: str | None = None
    qk_scale: float = 1.0
    collapse: str = "full"
    head_gate_channels: int | None = None
    block_norm: str = "before"
    window_rope_parameters: dict[str, Any] | None = None
    num_experts: int | None = None
    num_experts_per_tok: int | None = None
    moe_intermediate_size: int | None = None
    norm_topk_prob: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        _check_unknown(self, kwargs)
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]
        if self.iha_layer_types is None:
            self.iha_layer_types = ["iha_global"] * self.num_hidden_layers
        _check_heads(self)
        _check_pseudo_heads(self)
        _check_kinds(self)
        _check_window(self)
        _check_virtual_window(self)
        _check_choices(self)
        _check_norm(self)
        _check_numbers(self)
        _check_rope("rope_parameters", self.rope_parameters or {})
        _check_window_rope(self.window_rope_parameters)

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
        """W of one layer in tokens, rounded up, or None where the layer sees everything."""
        if self.layer_kinds[layer] not in WINDOWED_KINDS:
            return None
        slots = self.window_slots(layer)
        if slots is not None:
            return -(-slots // self.num_pseudo_heads)
        window = self.iha_window
        return window[layer] if isinstance(window, list) else window

    def rotating(self, layer: int) -> "IHAConfig":
        """This, with the `rope_parameters` of one layer."""
        if self.window_rope_parameters is None or self.window(layer) is None:
            return self
        own = copy.copy(self)
        own.rope_parameters, own.window_rope_parameters = self.window_rope_parameters, None
        return own

    def window_slots(self, layer: int) -> int | None:
        """The window in virtual tokens where `iha_window_virtual` says it, else None."""
        return self.iha_window_virtual if self.layer_kinds[layer] == "iha_sliding" else None

    @property
    def narrowest_window(self) -> int | None:
        """Tokens that every query sees in every layer, itself included; None for all of them."""
        masks = [self.recipe(layer).mask for layer in range(self.num_hidden_layers)]
        reaches = [mask.kernel_window // mask.pseudo_heads for mask in masks if mask.kernel_window]
        return min(reaches, default=None)

    def recipe(self, layer: int) -> LayerRecipe:
        """What one layer does between its projections."""
        pseudo, window = self.pseudo_heads(layer), self.window(layer)
        is_iha = self.layer_kinds[layer] in IHA_KINDS
        mask = VirtualMask(pseudo, window, self.window_slots(layer))
        if pseudo > 1:
            # At P = 1 they say the same, and there they are called by the usual name.
            edge = VIRTUAL if window is None else self.pseudo_window
            mask = VirtualMask(pseudo, window, mask.slots, self.pseudo_causal, edge)
        return LayerRecipe(
            is_iha=is_iha,
            mask=mask,
            rope=self.pseudo_rope if is_iha else TOKEN,
            qk_norm=self.qk_norm,
            qk_norm_weight=self.qk_norm_weight,
            scale=self.qk_scale**2 * self.head_width**-0.5,
            collapse=self.collapse,
            gate_channels=self.head_gate_channels or 0,
        )

    def variants(self) -> dict[str, Any]:
        """Fields of `variant_fields` that are not the default."""
        named = {name: getattr(self, name) for name in self.variant_fields}
        return {name: value for name, value in named.items() if value != getattr(type(self), name)}

    def to_diff_dict(self) -> dict[str, Any]:
        """What `config.json` holds: `IHA_FIELDS` always, `variants` where there are any."""
        usual = set(self.variant_fields) - self.variants().keys()
        fields = super().to_diff_dict() | {name: getattr(self, name) for name in IHA_FIELDS}
        return {name: value for name, value in fields.items() if name not in usual}


class IHANanoChatConfig(IHAConfig):
    """nanochat's decoder with IHA: norms without weights, squared ReLU, capped logits.

    The embedding is normed before the first layer, and rotary embedding turns the other way. The
    fields after the first two are of later forms of nanochat and of what was made of it.

    Attributes:
        hidden_act: "relu2" for `mlp.fc1` and `mlp.fc2`, "silu" for Llama's gated MLP.
        final_logit_softcapping: c, where logits are c * tanh(logits / c); None for none.
        value_embedding: "none"; or an embedding is added to values "before_mixing", or to those of
            all pseudo-heads of a token "after_mixing".
        value_embedding_source: "token" for a row of a table (`self_attn.value_embed.weight`
            [vocabulary, G*d]), "embedding" for a product with what the first layer takes in
            ([G*d, D]).
        value_embedding_layers: the layers that have one.
        value_gate_channels: each head of it is multiplied by `value_gate_scale` times the sigmoid
            of a product of its weights (`self_attn.value_embed.gate` [G, c]) with the first c
            numbers of the attention's input.
        value_gate_scale: see there.
        residual_lambdas: whether layer i takes in `residual_lambdas[i]` of what the layer before
            gives and `embedding_lambdas[i]` of what the first one takes in.
        skips: pairs [i, j]; what layer i gives, times a lambda of `skip_lambdas`, is added to what
            comes to layer j, before its residual lambdas; j is the number of layers for the last
            norm.
        smear_channels: c, where a token's normed embedding gets that of the token before, times
            `smear_lambda` and the sigmoid of a product of `smear_gate.weight` [1, c] with its own
            first c numbers; None without.

    Raises:
        ConfigError: as `IHAConfig`.
    """

    model_type: ClassVar[str] = "iha_nanochat"
    architecture: ClassVar[str] = "IHANanoChatForCausalLM"
    rope_sign: ClassVar[int] = -1
    variant_fields: ClassVar[tuple[str, ...]] = VARIANT_FIELDS + NANOCHAT_FIELDS
    # All public code has the defaults.
    required_fields: ClassVar[tuple[str, ...]] = ()

    hidden_act: str = "relu2"
    qk_norm: str = "pseudo_head_after_rope"
    final_logit_softcapping: float | None = 15.0
    value_embedding: str = "none"
    value_embedding_source: str = TOKEN
    value_embedding_layers: list[int] | None = None
    value_gate_channels: int | None = None
    value_gate_scale: float | None = None
    residual_lambdas: bool = False
    skips: list[list[int]] | None = None
    smear_channels: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        _check_decoder(self)
        _check_value_embedding(self)
        _check_skips(self)

    def recipe(self, layer: int) -> LayerRecipe:
        """What one layer does between its projections."""
        own = super().recipe(layer)
        if layer not in (self.value_embedding_layers or ()):
            return own
        assert self.value_gate_channels is not None
        assert self.value_gate_scale is not None
        is_table = self.value_embedding_source == TOKEN
        inputs = self.vocab_size if is_table else self.hidden_size
        after = self.value_embedding == "after_mixing"
        values = ValueRecipe(
            is_table, inputs, self.value_gate_channels, self.value_gate_scale, after
        )
        return replace(own, values=values)

    def skips_into(self, layer: int) -> list[tuple[int, int]]:
        """Index of each lambda of what is added to a layer's input, and the layer it comes from."""
        pairs = enumerate(self.skips or ())
        return [(index, source) for index, (source, target) in pairs if target == layer]


#: By `model_type`.
CONFIGS = {kind.model_type: kind for kind in (IHAConfig, IHANanoChatConfig)}


def _check_unknown(config: IHAConfig, others: Mapping[str, Any]) -> None:
    """Of what is no field, refuse what would change a model that had it, or hide what we compute.

    Transformers keeps every other name as an attribute, and nothing reads it.
    """
    own = {*vars(IHAConfig), *vars(IHANanoChatConfig)} - {"model_type", *OF_OTHERS}
    for name, value in others.items():
        if name in OF_OTHERS and not _does_nothing(name, value):
            raise ConfigError(
                f"{name} is {value!r}, which a model of type {config.model_type} does not have: "
                "remove it."
            )
        if name in own:
            raise ConfigError(f"{name} is {value!r}, and is no field: remove it.")
        plain = name.lower().replace("-", "_")
        likeness = 0.0 if plain.startswith("iha_") else 0.85
        fields = (*IHA_FIELDS, *config.variant_fields)
        if near := difflib.get_close_matches(plain, fields, 1, likeness):
            raise ConfigError(
                f"{name} is {value!r}, and is no field: write {near[0]} if that is meant, or "
                "remove it."
            )


def _does_nothing(name: str, value: object) -> bool:
    """Whether a field of another type's models changes nothing there at this value."""
    if name == "layer_types" and isinstance(value, list):
        return all(kind == "full_attention" for kind in value)
    is_one = value == 1 and value is not True
    return value in (None, False, "none", []) or (name in MULTIPLIERS and is_one)


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
    kinds, window = config.layer_kinds, config.iha_window
    # Where `iha_window_virtual` speaks for the IHA layers, only plain ones need this.
    needing = ("sliding",) if config.iha_window_virtual is not None else WINDOWED_KINDS
    windowed = sorted(set(kinds) & set(needing))
    if isinstance(window, list):
        _check_windows(config, window, needing)
    elif windowed and not _is_count(window):
        raise ConfigError(
            f"iha_window is {window!r}, but iha_layer_types has {' and '.join(windowed)} layers: "
            "set it to their window in tokens, a whole number of at least 1."
        )
    elif not windowed and window is not None:
        raise ConfigError(
            f"iha_window is {window!r}, but iha_layer_types has no windowed layer"
            f"{' that iha_window_virtual leaves to it' * (needing != WINDOWED_KINDS)}: set it to "
            "null, or make a layer iha_sliding or sliding."
        )


def _check_windows(config: IHAConfig, windows: list[Any], needing: tuple[str, ...]) -> None:
    if len(windows) != config.num_hidden_layers:
        raise ConfigError(
            f"iha_window has {len(windows)} entries, but num_hidden_layers is "
            f"{config.num_hidden_layers}: give one entry for each layer, or one number for all."
        )
    for index, (kind, window) in enumerate(zip(config.layer_kinds, windows, strict=True)):
        if kind in needing and not _is_count(window):
            raise ConfigError(
                f"iha_window[{index}] is {window!r}, but that layer is {kind}: set it to its "
                "window in tokens, a whole number of at least 1."
            )
        if kind not in needing and window is not None:
            raise ConfigError(
                f"iha_window[{index}] is {window!r}, but that layer ({kind}) takes no window from "
                "it: set it to null."
            )


def _check_virtual_window(config: IHAConfig) -> None:
    slots = config.iha_window_virtual
    if slots is None:
        return
    if not _is_count(slots):
        raise ConfigError(
            f"iha_window_virtual is {slots!r}: set it to the window of iha_sliding layers in "
            "virtual tokens, a whole number of at least 1, or to null."
        )
    if "iha_sliding" not in config.layer_kinds:
        raise ConfigError(
            f"iha_window_virtual is {slots}, but iha_layer_types has no iha_sliding layer: set it "
            "to null, or make a layer iha_sliding."
        )
    if config.pseudo_window != VIRTUAL:
        raise ConfigError(
            f"iha_window_virtual is {slots}, but pseudo_window {config.pseudo_window!r} counts "
            "whole tokens: set iha_window in its place."
        )


def _check_choices(config: IHAConfig) -> None:
    """Fields that have one of few values."""
    for name, values in (
        ("pseudo_rope", PSEUDO_ROPES),
        ("pseudo_causal", (VIRTUAL, TOKEN)),
        ("pseudo_window", (VIRTUAL, TOKEN)),
        ("qk_norm", QK_NORMS),
        ("collapse", COLLAPSES),
        ("block_norm", BLOCK_NORMS),
    ):
        value = getattr(config, name)
        if value not in values:
            *others, last = (repr(choice) for choice in values)
            raise ConfigError(f"{name} is {value!r}: use {', '.join(others)} or {last}.")
    # A nanochat checks its own.
    if config.hidden_act != "silu" and config.model_type == IHAConfig.model_type:
        raise ConfigError(
            f"hidden_act is {config.hidden_act!r}: a model of type {config.model_type} takes "
            "'silu', which is all that is served."
        )
    windowed = "iha_sliding" in config.layer_kinds
    if windowed and (config.pseudo_causal, config.pseudo_window) == (TOKEN, VIRTUAL):
        raise ConfigError(
            "pseudo_causal is 'token' and pseudo_window is 'virtual', a mask that no engine has a "
            "layout for: set pseudo_window to 'token', or make iha_sliding layers iha_global."
        )
    channels = config.head_gate_channels
    if channels is not None and (not _is_count(channels) or channels > config.hidden_size):
        raise ConfigError(
            f"head_gate_channels is {channels!r}: set it to the numbers of the layer's input that "
            f"a gate reads, from 1 to hidden_size ({config.hidden_size}), or to null."
        )


def _check_norm(config: IHAConfig) -> None:
    weight = config.qk_norm_weight
    weights: dict[str, tuple[str, ...]] = {
        "head_before_mixing": ("shared", "per_head"),
        "projection_before_mixing": ("projection",),
    }
    wanted = weights.get(config.qk_norm, (None,))
    if weight not in wanted:
        raise ConfigError(
            f"qk_norm_weight is {weight!r}, but qk_norm is {config.qk_norm!r}: set it to "
            f"{' or '.join(repr(value) if value else 'null' for value in wanted)}."
        )
    scale: Any = config.qk_scale
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < 1e6:
        raise ConfigError(f"qk_scale is {scale!r}: set it to a number above 0, 1 for none.")


def _check_numbers(config: IHAConfig) -> None:
    _check_positive("rms_norm_eps", config.rms_norm_eps)
    names = ("num_experts", "num_experts_per_tok", "moe_intermediate_size")
    experts = [getattr(config, name) for name in names]
    counts = all(map(_is_count, experts)) and experts[1] <= experts[0] <= MOST_EXPERTS
    if experts != [None] * 3 and not counts:
        raise ConfigError(
            f"{', '.join(names)} are {', '.join(map(repr, experts))}: set all three to whole "
            f"numbers, with at most {MOST_EXPERTS:,} experts and no more for a token than there "
            "are, or all to null."
        )
    if config.norm_topk_prob not in ((False, True) if counts else (False,)):
        raise ConfigError(
            f"norm_topk_prob is {config.norm_topk_prob!r}: set it to true or false with experts, "
            "and leave it out without."
        )
    if not _is_count(config.max_position_embeddings):
        raise ConfigError(
            f"max_position_embeddings is {config.max_position_embeddings!r}: set it to the longest "
            "sequence in tokens, a whole number of at least 1."
        )


def _check_positive(name: str, value: object) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < float("inf"):  # type: ignore[operator]
        raise ConfigError(f"{name} is {value!r}: set it to a finite number above 0.")


def _check_rope(name: str, parameters: Mapping[str, Any]) -> None:
    _check_positive("rope_theta", parameters.get("rope_theta", 1.0))
    if any(isinstance(value, dict) for value in parameters.values()):
        raise ConfigError(
            f"{name} has one mapping for each kind of layer: move rope_theta and the rest up, and "
            "write those of windowed layers into window_rope_parameters."
        )
    kind = parameters.get("rope_type", "default")
    if kind not in ROPE_TYPES:
        raise ConfigError(
            f"{name} has rope_type {kind!r}, whose frequencies depend on the running "
            f"length: use one of {', '.join(ROPE_TYPES)}."
        )
    if parameters.get("partial_rotary_factor", 1.0) != 1.0:
        raise ConfigError(
            f"partial_rotary_factor is {parameters['partial_rotary_factor']}, but IHA rotates "
            "whole heads: remove it or set it to 1.0."
        )


def _check_window_rope(parameters: object) -> None:
    """What Transformers checks of `rope_parameters`, and not of a field that it does not know."""
    name = "window_rope_parameters"
    if parameters is None:
        return
    if not isinstance(parameters, dict):
        raise ConfigError(f"{name} is {parameters!r}: give a mapping as rope_parameters, or null.")
    _check_rope(name, parameters)
    scaled = parameters.get("rope_type", "default") != "default"
    needed = ("rope_type", "rope_theta", "factor") if scaled else ("rope_type", "rope_theta")
    lacking = [field for field in needed if field not in parameters]
    if lacking:
        raise ConfigError(f"{name} lacks {' and '.join(lacking)}: add what rope_parameters has.")


def _check_decoder(config: IHANanoChatConfig) -> None:
    """What of the decoder around attention has one of few values."""
    for name, values in (
        ("hidden_act", ("relu2", "silu")),
        ("value_embedding", ("none", "before_mixing", "after_mixing")),
        ("value_embedding_source", (TOKEN, "embedding")),
        ("block_norm", ("before",)),
        ("num_experts", (None,)),
        ("mlp_bias", (False,)),
        ("residual_lambdas", (False, True)),
    ):
        value = getattr(config, name)
        if value not in values:
            known = " or ".join(repr(choice) if choice is not None else "null" for choice in values)
            raise ConfigError(f"{name} is {value!r}: a model of type iha_nanochat takes {known}.")
    if config.final_logit_softcapping is not None:
        _check_positive("final_logit_softcapping", config.final_logit_softcapping)
    for name in ("smear_channels", "value_gate_channels"):
        channels = getattr(config, name)
        if channels is not None and (not _is_count(channels) or channels > config.hidden_size):
            raise ConfigError(
                f"{name} is {channels!r}: set it to the numbers that its gate reads, from 1 to "
                f"hidden_size ({config.hidden_size}), or to null."
            )


def _check_value_embedding(config: IHANanoChatConfig) -> None:
    names = ("value_embedding_layers", "value_gate_channels", "value_gate_scale")
    given = [getattr(config, name) for name in names]
    if config.value_embedding == "none":
        if given != [None] * 3:
            raise ConfigError(f"value_embedding is 'none': set {', '.join(names)} to null.")
        return
    layers, _, scale = given
    known = range(config.num_hidden_layers)
    whole = isinstance(layers, list) and layers and all(type(n) is int for n in layers)
    if not whole or not set(layers) <= set(known) or len(set(layers)) < len(layers):
        raise ConfigError(
            f"value_embedding_layers is {layers!r}: list the layers with a value embedding, from 0 "
            f"to {config.num_hidden_layers - 1}."
        )
    if None in given:
        raise ConfigError(
            f"value_embedding is {config.value_embedding!r}: set {' and '.join(names)}."
        )
    _check_positive("value_gate_scale", scale)


def _check_skips(config: IHANanoChatConfig) -> None:
    layers, skips = config.num_hidden_layers, config.skips
    if skips is not None and not isinstance(skips, list):
        raise ConfigError(f"skips is {skips!r}: give a list of pairs of layers, or null.")
    for pair in skips or ():
        known = isinstance(pair, list) and len(pair) == 2 and all(type(n) is int for n in pair)
        if not known or not 0 <= pair[0] < pair[1] <= layers:
            raise ConfigError(
                f"skips has {pair!r}: give pairs of a layer and a later one that its output is "
                f"added to, at most {layers} for the last norm."
            )
