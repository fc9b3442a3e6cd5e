"""The sizes that costs follow from: parameters, KV states, and FLOPs per token.

For: IHA configurations and those of `bases/`; a multiply-add is 2 FLOPs.
Not for: any other architecture, which is refused; for seconds; nor for how an engine lays states
out in memory (`blocks.py`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from transformers import PretrainedConfig

from model_adapters.bases import BASES, plain_as_iha
from model_adapters.config import (
    CONFIGS,
    IHA_KINDS,
    TOKEN,
    VIRTUAL,
    IHANanoChatConfig,
    VirtualMask,
)
from model_adapters.errors import ConfigError


@dataclass(frozen=True)
class LayerShape:
    """One layer's kind.

    Attributes:
        kind: One of `model_adapters.config.LAYER_KINDS`.
        pseudo_heads: P, cache states per token; 1 in a plain layer.
        window: W in tokens, or None where the layer sees everything.
        slots: The window in virtual tokens where it is not W * P.
        causal: As in `VirtualMask`.
        edge: As in `VirtualMask`.
    """

    kind: str = "full"
    pseudo_heads: int = 1
    window: int | None = None
    slots: int | None = None
    causal: str = VIRTUAL
    edge: str = VIRTUAL

    @property
    def mask(self) -> VirtualMask:
        """What its virtual tokens see."""
        return VirtualMask(self.pseudo_heads, self.window, self.slots, self.causal, self.edge)

    @property
    def is_iha(self) -> bool:
        """Whether it has mixing weights and a collapse, be it with one pseudo-head."""
        return self.kind in IHA_KINDS

    def states(self, context: int) -> int:
        """KV states that the next token can see after `context` tokens: min(N, W) * P."""
        slots, states = self.mask.kernel_window, context * self.pseudo_heads
        return states if slots is None else min(states, slots)

    def pairs(self, context: int) -> int:
        """Query-key pairs, a head, of a whole prompt of `context` tokens, causal and windowed."""
        pseudo = self.pseudo_heads
        if VIRTUAL == self.causal == self.edge:
            return _triangle(context * pseudo, self.states(context))
        # Pairs of tokens, each of P * P virtual ones; or of a token's own P * (P + 1) / 2.
        pairs = _triangle(context, self.states(context) // pseudo) * pseudo**2
        own = 0 if self.causal == TOKEN else pseudo * (pseudo - 1) // 2
        return pairs - context * own

    def last_pairs(self, context: int) -> int:
        """Query-key pairs, a head, of the last of `context` tokens."""
        return self.pairs(context) - self.pairs(context - 1)


def _triangle(queries: int, reach: int) -> int:
    """Pairs of so many queries, each of which sees itself and so many in all at most."""
    # The first ones see less than a whole window.
    return reach * (reach + 1) // 2 + (queries - reach) * reach


@dataclass(frozen=True)
class ModelShape:
    """A model's sizes.

    Attributes:
        hidden: D.
        heads: H.
        kv_heads: G.
        head_dim: D.
        intermediate: Width of the MLP.
        vocabulary: Rows of the embedding.
        tied: Whether the output shares the embedding.
        attention_bias: Whether the four projections have biases.
        mlp_bias: Whether the MLP's three have.
        layers: One entry a layer.
        collapse: "full" or "per_head".
        head_parameters: Parameters of a layer's norms of heads and its gates.
        experts: Gated MLPs a layer behind a router; 0 for one MLP without.
        experts_taken: How many of them a token takes.
        mlp_products: Products of an MLP, 3 where it is gated.
        norms_weigh: Whether norms of hidden states have weights.
        added_tables: Parameters of value embeddings that are looked up by token.
        added: All other parameters beside the layers and the embedding.
    """

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool
    attention_bias: bool
    mlp_bias: bool
    layers: tuple[LayerShape, ...]
    collapse: str = "full"
    head_parameters: int = 0
    experts: int = 0
    experts_taken: int = 0
    mlp_products: int = 3
    norms_weigh: bool = True
    added_tables: int = 0
    added: int = 0

    @property
    def baseline(self) -> "ModelShape":
        """The plain model of the same shape: every layer full attention."""
        return replace(self, layers=(LayerShape(),) * len(self.layers))

    @property
    def projection_parameters(self) -> int:
        """Parameters of a layer's query, key, value and output projections."""
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        bias = query + 2 * key + self.hidden if self.attention_bias else 0
        return 2 * self.hidden * (query + key) + bias

    @property
    def mlp_parameters(self) -> int:
        """Parameters of a layer's gated MLP, or of all its experts and their router."""
        return max(1, self.experts) * self._one_mlp + self.experts * self.hidden

    @property
    def _one_mlp(self) -> int:
        bias = 2 * self.intermediate + self.hidden if self.mlp_bias else 0
        return self.mlp_products * self.hidden * self.intermediate + bias

    def mixing_parameters(self, layer: LayerShape) -> int:
        """Parameters of alpha and collapse: 2 H^2 P + 2 G^2 P, which is 4 H^2 P where G = H.

        A collapse per head has H P in place of H^2 P.
        """
        if not layer.is_iha:
            return 0
        collapse = self.heads ** (1 if self.collapse == "per_head" else 2)
        return (self.heads**2 + 2 * self.kv_heads**2 + collapse) * layer.pseudo_heads

    def layer_parameters(self, layer: LayerShape) -> int:
        """Parameters of a whole layer, its norms included."""
        plain = self.projection_parameters + self.mlp_parameters + 2 * self._norm
        return plain + self.head_parameters + self.mixing_parameters(layer)

    @property
    def _norm(self) -> int:
        return self.hidden if self.norms_weigh else 0

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the embedding, and as many of the output where it is not shared."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """Parameters of the whole model; a shared embedding counts once."""
        tables = self.embedding_parameters * (1 if self.tied else 2)
        added = self.added + self.added_tables
        return sum(map(self.layer_parameters, self.layers)) + tables + self._norm + added

    @property
    def parameters_read(self) -> int:
        """Parameters that a decoding step reads at least.

        An embedding that is not the output is not read, nor are experts that no token takes.
        """
        idle = (self.experts - self.experts_taken) * self._one_mlp * len(self.layers)
        idle += self.added_tables
        return self.parameters - idle - (0 if self.tied else self.embedding_parameters)

    def state_bytes(self, item: int) -> int:
        """Bytes of one KV state of one layer: key and value of every key head.

        Args:
            item: Bytes per number.
        """
        return 2 * self.kv_heads * self.head_dim * item

    def kv_bytes(self, context: int, item: int) -> int:
        """Bytes of the KV states that are seen at a context, not rounded to blocks.

        Args:
            context: N in tokens.
            item: Bytes per number.
        """
        return sum(layer.states(context) for layer in self.layers) * self.state_bytes(item)


def model_shape(config: PretrainedConfig) -> ModelShape:
    """The sizes of a configuration.

    Raises:
        ConfigError: It is of an architecture whose costs are not known here.
    """
    known = [base.model_type for base in BASES.values() if base.is_written]
    if config.model_type not in (*known, *CONFIGS):
        *names, last = map(repr, (*known, *CONFIGS))
        raise ConfigError(
            f"model_type is {config.model_type!r}, whose costs are not known: inspect a checkpoint "
            f"of model_type {', '.join(names)} or {last}."
        )
    plain = getattr(config, "hidden_act", None) == "relu2"
    added = _added(config) if isinstance(config, IHANanoChatConfig) else (0, 0)
    experts = getattr(config, "num_experts", None) or 0
    return ModelShape(
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=_head_dim(config),
        intermediate=(config.moe_intermediate_size if experts else config.intermediate_size),
        vocabulary=config.vocab_size,
        tied=bool(config.tie_word_embeddings),
        attention_bias=bool(config.attention_bias),
        mlp_bias=bool(getattr(config, "mlp_bias", False)),
        layers=tuple(_layers(config)),
        collapse=getattr(config, "collapse", "full"),
        head_parameters=_head_parameters(config),
        experts=experts,
        experts_taken=config.num_experts_per_tok if experts else 0,
        mlp_products=2 if plain else 3,
        norms_weigh=not plain and not isinstance(config, IHANanoChatConfig),
        added_tables=added[0],
        added=added[1],
    )


def _added(config: IHANanoChatConfig) -> tuple[int, int]:
    """Parameters of tables of value embeddings, and of all else that Llama has not."""
    layers, skips = config.num_hidden_layers, len(config.skips or ())
    smear = 0 if config.smear_channels is None else config.smear_channels + 1
    tables, others = 0, 2 * layers * config.residual_lambdas + skips + smear
    for values in (config.recipe(index).values for index in range(layers)):
        if values is not None:
            weight = values.inputs * config.kv_heads * config.head_width
            tables += weight * values.is_table
            others += weight * (not values.is_table) + config.kv_heads * values.channels
    return tables, others


def _head_dim(config: PretrainedConfig) -> int:
    own = getattr(config, "head_dim", None)
    return int(own or config.hidden_size // config.num_attention_heads)


def _head_parameters(config: PretrainedConfig) -> int:
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    base = BASES.get(config.model_type)
    variant = vars(config) if base is None else base.variant
    each = heads + kv_heads
    counts = {None: 0, "shared": 2, "per_head": each, "projection": each}
    norms = counts[variant.get("qk_norm_weight")] * _head_dim(config)
    return int(norms + heads * (variant.get("head_gate_channels") or 0))


def _layers(config: PretrainedConfig) -> Sequence[LayerShape]:
    known = plain_as_iha(config)
    if known is None:
        return [LayerShape()] * config.num_hidden_layers
    return [
        LayerShape(kind, **asdict(known.recipe(index).mask))
        for index, kind in enumerate(known.layer_kinds)
    ]


@dataclass(frozen=True)
class Flops:
    """FLOPs per token.

    Attributes:
        projections: Query, key, value and output, and of value embeddings.
        mixing: Alpha and collapse.
        attention: Scores and weighted values, over the pairs that a query may see.
        mlp: The MLP's products, or those of the experts taken, and the router's.
        head: Logits of one token; an engine computes them for a prompt's last token alone.
    """

    projections: float = 0
    mixing: float = 0
    attention: float = 0
    mlp: float = 0
    head: float = 0

    @property
    def total(self) -> float:
        """All of it."""
        return self.projections + self.mixing + self.attention + self.mlp + self.head

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(
            self.projections + other.projections,
            self.mixing + other.mixing,
            self.attention + other.attention,
            self.mlp + other.mlp,
            self.head + other.head,
        )


def layer_flops(model: ModelShape, layer: LayerShape, pairs: float) -> Flops:
    """FLOPs per token of one layer.

    Args:
        model: The sizes.
        layer: The layer.
        pairs: query-key pairs per head and token.
    """
    width = model.heads * model.head_dim
    kv_width = model.kv_heads * model.head_dim
    mlps = max(1, model.experts_taken)
    return Flops(
        projections=4 * model.hidden * (width + kv_width),
        # Each weight of alpha and collapse multiplies d numbers.
        mixing=2 * model.mixing_parameters(layer) * model.head_dim,
        attention=4 * width * pairs,
        mlp=2 * model.hidden * (model.mlp_products * model.intermediate * mlps + model.experts),
    )


def prefill_flops(model: ModelShape, context: int) -> Flops:
    """FLOPs per token of a prompt, on average over its tokens.

    Args:
        model: The sizes.
        context: N in tokens, at least 1.
    """
    return _sum(model, [layer.pairs(context) / context for layer in model.layers])


def decode_flops(model: ModelShape, context: int) -> Flops:
    """FLOPs of one token that is the last of `context`.

    Args:
        model: The sizes.
        context: N in tokens, at least 1; the token itself is one of them.
    """
    return _sum(model, [layer.last_pairs(context) for layer in model.layers])


def _sum(model: ModelShape, pairs: list[float]) -> Flops:
    total = Flops(projections=2 * model.added, head=2 * model.embedding_parameters)
    for layer, count in zip(model.layers, pairs, strict=True):
        total += layer_flops(model, layer, count)
    return total
