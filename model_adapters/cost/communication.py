"""What tensor-parallel ranks send each other for a token in one layer, from a configuration alone.

For: planning over how many GPUs a model is served; held against a count in a running engine.
Not for: seconds, which depend on the links and on how many tokens share a call.

Mixing needs every head of a token, so projected heads are gathered (q, k and v in one call), and
the collapsed heads are summed over ranks and dealt out again, unless each takes in its own
pseudo-heads alone. Both are as large whatever P is. A layer whose alphas and collapse are folded
into the projections does neither.
"""

from dataclasses import dataclass

from model_adapters.config import IHA_KINDS, IHAConfig


@dataclass(frozen=True)
class Exchange:
    """What one layer exchanges for one token over n ranks, in numbers of the compute dtype.

    Attributes:
        ranks: N.
        all_reduced: Length of what the output projection and the MLP each sum over all ranks.
        gathered: Length of the projected heads, every rank's, copies included; 0 if none are.
        scattered: Length of the collapsed heads that are summed and dealt out; 0 if none are.
    """

    ranks: int
    all_reduced: int
    gathered: int
    scattered: int

    @property
    def calls(self) -> int:
        """Collective calls."""
        return 2 + bool(self.gathered) + bool(self.scattered)

    @property
    def sent(self) -> float:
        """Numbers that each rank sends with ring algorithms: an all-reduce is two passes."""
        ring = (self.ranks - 1) / self.ranks
        return ring * (2 * 2 * self.all_reduced + self.gathered + self.scattered)


def exchange(config: IHAConfig, layer: int, ranks: int, *, folded: bool = False) -> Exchange:
    """What a layer exchanges.

    Args:
        config: The model's.
        layer: Its index.
        ranks: tensor-parallel ranks; `serving_rules.check_parallelism` says which do.
        folded: Whether alphas and collapse are folded into the projections.
    """
    plain = config.layer_kinds[layer] not in IHA_KINDS
    if ranks == 1 or plain or folded:
        return Exchange(ranks, config.hidden_size, 0, 0)
    # Ranks beyond the number of key heads hold copies, which are gathered too.
    heads, kv_heads = config.num_attention_heads, max(config.kv_heads, ranks)
    width = config.head_width
    scattered = 0 if config.collapse == "per_head" else heads * width
    return Exchange(ranks, config.hidden_size, (heads + 2 * kv_heads) * width, scattered)
