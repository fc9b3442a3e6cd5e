"""The attention layers that are compared: multi-head, interleaved and simplicial.

For: training on short sequences, where every token sees every token. Not for: serving, or masks.

Multi-head attention and IHA run through the functions of `model_adapters/naive.py` themselves,
which are written for one sequence: mixing, interleaving and collapse under `torch.vmap`, attention
with the heads of all sequences as its heads. Rotary positions are left out (a choice): tokens are
places of a matrix. Simplicial attention is third-order: a query weighs pairs of tokens by the sum
of the products of query, first and second key, softmax over all pairs, and adds the products of
the pairs' values.
"""

import math

import torch
from torch import Tensor, nn

from model_adapters import naive

# Scores at a time: what a core's cache holds, and what a GPU fills its units with.
_CPU_SCORES, _GPU_SCORES = 2**20, 2**28
# Noise on IHA's identities at the start, as in `model_adapters/modeling.py`.
_NOISE = 0.02


class MultiHead(nn.Module):
    """Multi-head attention without a mask.

    Args:
        hidden: D.
        heads: H, which divides D.
    """

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (
            nn.Linear(hidden, hidden, bias=False) for _ in range(4)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, N, D] to [B, N, D]."""
        states = (project(tokens) for project in (self.query, self.key, self.value))
        query, key, value = (
            one.unflatten(-1, (self.heads, -1)).transpose(1, 2).flatten(0, 1) for one in states
        )
        attended = _attend(query, key, value).unflatten(0, (len(tokens), -1))
        return self.output(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Interleaved(MultiHead):
    """Interleaved Head Attention without a mask.

    Args:
        hidden: D.
        heads: H.
        pseudo_heads: P.
    """

    def __init__(self, hidden: int, heads: int, pseudo_heads: int) -> None:
        super().__init__(hidden, heads)
        own = torch.eye(heads)
        self.alpha_q, self.alpha_k, self.alpha_v = (
            _near(own[:, :, None].expand(-1, -1, pseudo_heads)) for _ in range(3)
        )
        self.collapse = _near(own.repeat_interleave(pseudo_heads, dim=1) / pseudo_heads)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, N, D] to [B, N, D]."""
        alphas = (self.alpha_q, self.alpha_k, self.alpha_v)
        query, key, value = (
            torch.vmap(_virtual, in_dims=(0, None))(
                project(tokens).unflatten(-1, (self.heads, -1)), alpha
            ).flatten(0, 1)
            for project, alpha in zip((self.query, self.key, self.value), alphas, strict=True)
        )
        attended = _attend(query, key, value).unflatten(0, (len(tokens), -1))
        heads = torch.vmap(naive.collapse, in_dims=(0, None))(attended, self.collapse)
        return self.output(heads.flatten(2))  # type: ignore[no-any-return]


class Simplicial(nn.Module):
    """Third-order (2-simplicial) attention: every query weighs all pairs of tokens.

    Args:
        hidden: D.
        heads: H.
    """

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        # Query, first and second key, first and second value.
        self.inputs = nn.ModuleList(nn.Linear(hidden, hidden, bias=False) for _ in range(5))
        self.output = nn.Linear(hidden, hidden, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, N, D] to [B, N, D]."""
        query, *others = (
            project(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2).flatten(0, 1)
            for project in self.inputs
        )
        count, scores = tokens.shape[1], _scores_at_a_time(tokens)
        # Whole heads as many as fit, or one head and as many of its queries.
        heads, rows = max(1, scores // count**3), max(1, scores // count**2)
        groups = zip(*(one.split(heads) for one in (query, *others)), strict=True)
        attended = torch.cat(
            [
                torch.cat([third_order(part, *pairs) for part in some.split(rows, dim=1)], dim=1)
                for some, *pairs in groups
            ]
        )
        attended = attended.unflatten(0, (len(tokens), -1))
        return self.output(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def third_order(
    query: Tensor, first_key: Tensor, second_key: Tensor, first_value: Tensor, second_value: Tensor
) -> Tensor:
    """Simplicial attention of some queries over all pairs (j, k) of N tokens.

    Weights are the softmax over pairs of d^-1/2 sum_e q_e k_je k'_ke, the output is the weighted
    sum of v_j * v'_k. Scores are laid out with k first, in which small products are fastest.

    Args:
        query: [H, Q, d].
        first_key: [H, N, d].
        second_key: [H, N, d].
        first_value: [H, N, d].
        second_value: [H, N, d].

    Returns:
        [H, Q, d].
    """
    heads, queries, width = query.shape
    count = first_key.shape[1]
    # [H, d, Q*N]: query times first key for every query and every j.
    pairs = (query.mT[:, :, :, None] * first_key.mT[:, :, None, :]).flatten(2)
    scores = (second_key / math.sqrt(width) @ pairs).view(heads, count, queries, count)
    highest = scores.detach().amax(dim=(1, 3), keepdim=True)
    weights = (scores - highest).exp()
    total = weights.sum(dim=(1, 3))
    inner = (second_value.mT @ weights.flatten(2)).view(heads, width, queries, count)
    summed = (inner * first_value.mT[:, :, None, :]).sum(dim=3)
    return (summed / total[:, None, :]).mT


def _virtual(states: Tensor, alpha: Tensor) -> Tensor:
    return naive.interleave(naive.mix(states, alpha))


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`naive.attend` on heads [B*H, L, d], some at a time, with nothing hidden."""
    length = query.shape[1]
    mask = torch.ones(length, length, dtype=torch.bool, device=query.device)
    at_a_time = max(1, _scores_at_a_time(query) // length**2)
    parts = zip(*(one.split(at_a_time) for one in (query, key, value)), strict=True)
    return torch.cat([naive.attend(q, k, v, mask, _open_softmax) for q, k, v in parts])


def _open_softmax(scores: Tensor, _mask: Tensor) -> Tensor:
    """Softmax where the mask hides nothing, without a pass over it."""
    return scores.softmax(dim=-1)


def _scores_at_a_time(tensor: Tensor) -> int:
    return _GPU_SCORES if tensor.is_cuda else _CPU_SCORES


def _near(start: Tensor) -> nn.Parameter:
    return nn.Parameter(start + _NOISE * torch.randn(start.shape))
