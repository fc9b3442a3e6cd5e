"""The attention layers that are compared: multi-head, interleaved and simplicial.

For: training on short sequences, where every token sees every token. Not for: serving, or masks.

Mixing, interleaving and collapse are the functions of `model_adapters/naive.py` themselves: they
work token by token, so that the tokens of all sequences are given as those of one. Attention over
each sequence is `blockwise.attend`, which computes what `naive.attend` does without a mask. Rotary
positions are left out (a choice): tokens are places of a matrix. Simplicial attention is
third-order: a query weighs pairs of tokens by the sum of the products of query, first and second
key, softmax over all pairs, and adds the products of the pairs' values; it is attention over pairs,
whose keys and values are these products.
"""

import torch
from torch import Tensor, nn

from iha_eval.evidence.composition import blockwise
from model_adapters import naive

# Noise on IHA's identities at the start, as in `model_adapters/hf/modeling.py`.
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
        projections = (self.query, self.key, self.value)
        query, key, value = (_heads(project, tokens, self.heads) for project in projections)
        attended = _attend(query, key, value, len(tokens))
        return _output(self.output, attended.transpose(0, 1), tokens)


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
        projections = (self.query, self.key, self.value)
        query, key, value = (
            naive.interleave(naive.mix(_heads(project, tokens, self.heads).transpose(0, 1), alpha))
            for project, alpha in zip(projections, alphas, strict=True)
        )
        attended = _attend(query, key, value, len(tokens))
        return _output(self.output, naive.collapse(attended, self.collapse), tokens)


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
        query, *others = (_heads(project, tokens, self.heads) for project in self.inputs)
        first_key, second_key, first_value, second_value = others
        sequences = len(tokens)
        key, value = (
            _pairs(first, second, sequences)
            for first, second in ((first_key, second_key), (first_value, second_value))
        )
        attended = _attend(query, key, value, sequences)
        return _output(self.output, attended.transpose(0, 1), tokens)


def _heads(project: nn.Module, tokens: Tensor, heads: int) -> Tensor:
    """Projected tokens of all sequences [H, B*N, d] from tokens [B, N, D]."""
    states: Tensor = project(tokens)
    split: Tensor = states.flatten(0, 1).unflatten(-1, (heads, -1))
    return split.transpose(0, 1)


def _attend(query: Tensor, key: Tensor, value: Tensor, sequences: int) -> Tensor:
    """Attention within each of B sequences, [H, B*L, d] from [H, B*L, d] and [H, B*K, d]."""
    parts = (states.unflatten(1, (sequences, -1)).flatten(0, 1) for states in (query, key, value))
    attended: Tensor = blockwise.attend(*parts)
    return attended.reshape(query.shape)


def _pairs(first: Tensor, second: Tensor, sequences: int) -> Tensor:
    """Products of all pairs (j, k) of each sequence: [H, B*N*N, d] from two [H, B*N, d]."""
    left, right = (states.unflatten(1, (sequences, -1)) for states in (first, second))
    products: Tensor = left[:, :, :, None] * right[:, :, None, :]
    return products.flatten(1, 3)


def _output(project: nn.Module, heads: Tensor, tokens: Tensor) -> Tensor:
    """[B, N, D] from heads [B*N, H, d]."""
    projected: Tensor = project(heads.flatten(1))
    return projected.view(tokens.shape)


def _near(start: Tensor) -> nn.Parameter:
    return nn.Parameter(start + _NOISE * torch.randn(start.shape))
