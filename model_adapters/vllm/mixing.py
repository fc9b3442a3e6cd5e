"""Heads to pseudo-heads and back in the served model: alpha, collapse, and ways to apply them.

Norms of heads and gates stand beside them, because ranks share them out by heads too.

For: `model.py`, whose attention layer these parameters belong to.
Not for: what comes between (rotation, cache, attention), nor for folding alpha and collapse into
the projections, which does away with this (`folding.py`).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from vllm import envs
from vllm.distributed import (
    get_tensor_model_parallel_rank,
    get_tensor_model_parallel_world_size,
    tensor_model_parallel_all_gather,
    tensor_model_parallel_all_reduce,
    tensor_model_parallel_reduce_scatter,
)

from model_adapters.config import IHAConfig
from model_adapters.mixing import HeadGate, HeadNorm, ValueEmbedding, head_norm
from model_adapters.vllm.folding import check_shape

# Up to here one product with zeros in it beats three without: calls cost more than arithmetic.
FEW_TOKENS = 64
# Multiply-adds up to which a CPU is done sooner in float32: getting a product in a narrow type
# under way costs more than its arithmetic.
FEW_PRODUCTS = 2**19
NARROW = (torch.bfloat16, torch.float16)


class PseudoHeads(nn.Module):
    """The parameters of one IHA layer, split over tensor-parallel ranks by heads.

    Mixing needs every head of a token, so the projected heads are gathered; each rank makes
    the pseudo-heads of its own heads, and its part of the collapsed sum over all of them. A
    collapse per head needs none but a rank's own, and nothing is exchanged after attention.

    Args:
        heads: H.
        kv_heads: G.
        width: d.
        pseudo_heads: P.
        collapse_per_head: whether the collapse is [H, P].
    """

    def __init__(
        self,
        heads: int,
        kv_heads: int,
        width: int,
        pseudo_heads: int,
        *,
        collapse_per_head: bool = False,
    ) -> None:
        super().__init__()
        self.collapse_per_head = collapse_per_head
        self.ranks = get_tensor_model_parallel_world_size()
        self.all_heads, self.all_kv_heads = heads, kv_heads
        self.head_dim, self.pseudo_heads = width, pseudo_heads
        self.heads = heads // self.ranks
        # Ranks beyond the number of key heads hold copies.
        self.kv_heads = max(1, kv_heads // self.ranks)
        self.kv_replicas = max(1, self.ranks // kv_heads)
        # Whether all batches are mixed the same way, whatever their size, so that rounding is too.
        # On a CPU the engine's worker says so; elsewhere this is how vLLM is told.
        self.one_way = bool(envs.VLLM_BATCH_INVARIANT)
        self.sizes = [self.heads * width] + [self.kv_heads * width] * 2

    @property
    def own_heads(self) -> slice:
        """This rank's heads among all."""
        rank = get_tensor_model_parallel_rank()
        return slice(rank * self.heads, (rank + 1) * self.heads)

    @property
    def own_kv_heads(self) -> slice:
        """This rank's key heads among all."""
        first = get_tensor_model_parallel_rank() // self.kv_replicas * self.kv_heads
        return slice(first, first + self.kv_heads)

    def add_norms_and_gate(self, config: IHAConfig, layer: int) -> None:
        """What the recipe has beside mixing; each rank loads the rows of its own heads."""
        recipe, eps = config.recipe(layer), config.rms_norm_eps
        self.q_norm: HeadNorm | None = head_norm(recipe, self.heads, self.head_dim, eps)
        self.k_norm: HeadNorm | None = head_norm(recipe, self.kv_heads, self.head_dim, eps)
        self.head_gate = (
            HeadGate(self.heads, recipe.gate_channels) if recipe.gate_channels else None
        )
        for module, mine, total in (
            (self.q_norm, self.own_heads, self.all_heads),
            (self.k_norm, self.own_kv_heads, self.all_kv_heads),
            (self.head_gate, self.own_heads, self.all_heads),
        ):
            weight = None if module is None else module.weight
            across = isinstance(module, HeadNorm) and module.across
            if isinstance(module, HeadNorm) and self.ranks > 1 and module.across:
                module.over_ranks = self._mean_over_ranks
            if weight is not None and (across or weight.dim() == 2):
                weight.weight_loader = _rows_loader(mine, total)  # type: ignore[attr-defined]
        if recipe.values is not None:
            self.value_embed = ValueEmbedding(recipe.values, self.kv_heads, self.head_dim)
            for weight, axis in (
                (self.value_embed.weight, int(recipe.values.is_table)),
                (self.value_embed.gate, 0),
            ):
                weight.weight_loader = _rows_loader(  # type: ignore[attr-defined]
                    self.own_kv_heads, self.all_kv_heads, axis
                )

    def _mean_over_ranks(self, values: Tensor) -> Tensor:
        # Key heads that several ranks hold copies of count equally often each.
        total: Tensor = tensor_model_parallel_all_reduce(values)
        mean: Tensor = total / self.ranks
        return mean

    def add_mixing(self) -> None:
        """Parameters in the order the products want: pseudo-head, then local head.

        alpha becomes [P * local heads, all heads], the collapse [all heads, P * local heads], or
        [P, local heads] where it is per head.
        `block_alpha` repeats the three alphas as blocks on a diagonal, [P * (h + 2g), H + 2G].
        """
        heads, pseudo = self.all_heads, self.pseudo_heads
        own, kv_own = self.own_heads, self.own_kv_heads
        local, total = self.heads + 2 * self.kv_heads, heads + 2 * self.all_kv_heads
        self.block_alpha: Tensor
        self.register_buffer("block_alpha", torch.zeros(pseudo * local, total), persistent=False)
        # Of block_alpha and collapse, for few tokens.
        self.wide_alpha: Tensor | None = None
        self.wide_collapse: Tensor | None = None
        # Each alpha with the row and column of its block.
        self.places: list[tuple[nn.Parameter, int, int]] = []

        def alpha(row: int, column: int, total: int, mine: slice) -> nn.Parameter:
            count = mine.stop - mine.start
            parameter = nn.Parameter(torch.empty(pseudo * count, total), requires_grad=False)
            self.places.append((parameter, row, column))

            # vLLM finds the parameter among the arguments by this name when it reloads.
            def load(param: Tensor, stored: Tensor) -> None:
                check_shape("alpha", stored, (total, total, pseudo))
                param.data.copy_(stored[:, mine].permute(2, 1, 0).reshape(param.shape))

            parameter.weight_loader = load  # type: ignore[attr-defined]
            return parameter

        def load_collapse(param: Tensor, stored: Tensor) -> None:
            if self.collapse_per_head:
                check_shape("collapse", stored, (heads, pseudo))
                param.data.copy_(stored[own].T)
                return
            check_shape("collapse", stored, (heads, heads * pseudo))
            mine = stored.unflatten(1, (heads, pseudo))[:, own]
            param.data.copy_(mine.transpose(1, 2).reshape(param.shape))

        kv = self.all_kv_heads
        self.alpha_q = alpha(0, 0, heads, own)
        self.alpha_k = alpha(self.heads, heads, kv, kv_own)
        self.alpha_v = alpha(self.heads + self.kv_heads, heads + kv, kv, kv_own)
        rows = (pseudo, self.heads) if self.collapse_per_head else (heads, pseudo * self.heads)
        self.collapse = nn.Parameter(torch.empty(rows), requires_grad=False)
        self.collapse.weight_loader = load_collapse  # type: ignore[attr-defined]

    def fill_blocks(self) -> None:
        """Repeat what is kept in a second form; to be called whenever weights have been loaded."""
        blocks = self.block_alpha.view(self.pseudo_heads, -1, self.block_alpha.shape[1])
        for alpha, row, column in self.places:
            rows, total = len(alpha) // self.pseudo_heads, alpha.shape[1]
            block = blocks[:, row : row + rows, column : column + total]
            block.copy_(alpha.data.view_as(block))
        self.wide_alpha = widened(self.block_alpha)
        self.wide_collapse = None if self.collapse_per_head else widened(self.collapse.data)

    def mix(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pseudo-heads of queries, keys and values, from every rank's heads.

        Args:
            qkv: [T, (h + 2g) * d] as projected, h and g being the rank's own heads.

        Returns:
            [T*P, h*d], [T*P, g*d] and [T*P, g*d].
        """
        if self.ranks == 1 and self._may_choose() and len(qkv) <= FEW_TOKENS:
            return self.mix_at_once(qkv)
        return self.mix_one_by_one(qkv)

    def _may_choose(self) -> bool:
        """Whether the size of a batch may decide; a compiled graph is one for all of them."""
        return not self.one_way and not torch.compiler.is_compiling()

    def mix_at_once(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`mix` in one product, for one rank; the results are columns of one tensor."""
        heads = qkv.unflatten(1, (-1, self.head_dim))
        mixed = times_each(self.block_alpha, self.wide_alpha, heads)
        query, key, value = mixed.view(len(qkv) * self.pseudo_heads, -1).split(self.sizes, dim=-1)
        return query, key, value

    def mix_one_by_one(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`mix` in three products, each without zeros, after one exchange between ranks."""
        query, key, value = self._every_head(qkv)
        return (
            self._product(self.alpha_q, query),
            self._product(self.alpha_k, key),
            self._product(self.alpha_v, value),
        )

    def _every_head(self, qkv: Tensor) -> tuple[Tensor, ...]:
        """[T, H, d] and twice [T, G, d]."""
        counts = [self.heads, self.kv_heads, self.kv_heads]
        if self.ranks == 1:
            own: tuple[Tensor, ...] = qkv.unflatten(1, (-1, self.head_dim)).split(counts, dim=1)
            return own
        gathered = tensor_model_parallel_all_gather(qkv.contiguous())
        ranks = gathered.unflatten(1, (self.ranks, -1, self.head_dim))
        query, key, value = ranks.split(counts, dim=2)
        copies = self.kv_replicas
        return query.flatten(1, 2), key[:, ::copies].flatten(1, 2), value[:, ::copies].flatten(1, 2)

    def _product(self, alpha: Tensor, heads: Tensor) -> Tensor:
        """[T, M, d] to [T*P, h*d]."""
        mixed = times_each(alpha, None, heads)
        return mixed.view(len(heads) * self.pseudo_heads, -1)

    def collapsed(self, attended: Tensor) -> Tensor:
        """[T*P, h*d] to [T, h*d], summed over every rank's heads."""
        if self.collapse_per_head:
            own = attended.view(-1, self.pseudo_heads, self.heads, self.head_dim)
            return (self.collapse.unsqueeze(-1) * own).sum(1).flatten(1)
        stacked = attended.reshape(-1, self.collapse.shape[1], self.head_dim)
        wide = self.wide_collapse if self._may_choose() else None
        heads = times_each(self.collapse, wide, stacked).flatten(1)
        if self.ranks > 1:
            heads = tensor_model_parallel_reduce_scatter(heads)
        return heads


def _rows_loader(mine: slice, total: int, axis: int = 0) -> Callable[[Tensor, Tensor], None]:
    """Loads what belongs to some heads of a parameter one of whose axes goes head by head."""

    # vLLM finds the parameter among the arguments by this name when it reloads.
    def load(param: Tensor, stored: Tensor) -> None:
        own, shape = mine.stop - mine.start, list(param.shape)
        rows = shape[axis] // own
        shape[axis] = total * rows
        check_shape("a parameter of each head", stored, tuple(shape))
        param.data.copy_(stored.narrow(axis, mine.start * rows, own * rows))

    return load


def widened(matrix: Tensor) -> Tensor | None:
    """The matrix in float32 where that can be of use, on a CPU and from a narrow type."""
    if matrix.device.type != "cpu" or matrix.dtype not in NARROW:
        return None
    return matrix.float()


def times_each(matrix: Tensor, wide: Tensor | None, states: Tensor) -> Tensor:
    """The product with each token's states.

    Args:
        matrix: [m, n].
        wide: what `widened` made of it.
        states: [T, n, d].

    Returns:
        [T, m, d] in the states' type.
    """
    tokens, _, width = states.shape
    if wide is None or matrix.numel() * tokens * width > FEW_PRODUCTS:
        # Spelled as a batch, or the states would be transposed in memory, there and back.
        return torch.bmm(matrix.expand(tokens, -1, -1), states)
    return torch.bmm(wide.expand(tokens, -1, -1), states.float()).to(states.dtype)
