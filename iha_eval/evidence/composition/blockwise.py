"""Softmax attention without a mask, block by block, with gradients that keep no scores.

For: training the compared layers, whose time goes into scores of heads four numbers wide.
Not for: masks, and not the definition, which is `attend` in `model_adapters/naive.py`; the tests
hold outputs and gradients against it.

What makes it cheap on a CPU: a block of scores stays in the cache and is computed again for the
gradients; a product with the values has the long side last (a matrix product with four columns
takes six times as long as one with four rows); powers of 2 instead of e; sums of weights, and the
terms that are subtracted in the gradients, ride along as one more number a head.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Scores at a time: what a core's cache holds, and what a GPU fills its units with.
_CPU_SCORES, _GPU_SCORES = 2**18, 2**28


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of every head, in which every query sees every key, scale d^-1/2.

    Args:
        query: [H, Q, d].
        key: [H, K, d].
        value: [H, K, d].

    Returns:
        [H, Q, d], as `naive.attend` gives it with a mask that hides nothing.
    """
    attended: Tensor = _Attention.apply(query, key, value)  # type: ignore[no-untyped-call]
    return attended


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attended values; query and logarithms of the sums are kept to base 2."""
        width = query.shape[-1]
        query = query * (math.log2(math.e) / math.sqrt(width))
        keys, values = key.mT.contiguous(), _with_row(value.mT, 1)
        summed = query.new_empty(query.shape[0], width + 1, query.shape[1])
        highest = query.new_empty(*query.shape[:2], 1)
        for heads, rows in _blocks(query, key):
            scores = query[heads, rows] @ keys[heads]
            highest[heads, rows] = scores.amax(dim=-1, keepdim=True)
            weights = scores.sub_(highest[heads, rows]).exp2_()
            summed[heads, :, rows] = values[heads] @ weights.mT
        total = summed[:, width:]
        attended = (summed[:, :width] / total).mT
        ctx.save_for_backward(query, keys, values, attended, highest + total.mT.log2())
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of query, key and value; every block of weights is computed again."""
        query, keys, values, attended, total = ctx.saved_tensors
        (gradient,) = gradients
        width = query.shape[-1]
        towards = (gradient * attended).sum(dim=-1, keepdim=True)
        less_total = torch.cat([query, -total], dim=-1)
        less_towards = torch.cat([gradient, -towards], dim=-1)
        queries, gradient = query.mT.contiguous(), gradient.mT.contiguous()
        of_query = torch.empty_like(queries)
        of_key, of_value = torch.zeros_like(keys), torch.zeros_like(keys)
        keys_and_one = _with_row(keys, 1)
        for heads, rows in _blocks(query, keys.mT):
            weights = (less_total[heads, rows] @ keys_and_one[heads]).exp2_()
            of_value[heads] += gradient[heads, :, rows] @ weights
            of_scores = (less_towards[heads, rows] @ values[heads]).mul_(weights)
            of_key[heads] += queries[heads, :, rows] @ of_scores
            of_query[heads, :, rows] = keys[heads] @ of_scores.mT
        return of_query.mT / math.sqrt(width), of_key.mT * math.log(2), of_value.mT


def _blocks(query: Tensor, key: Tensor) -> Iterator[tuple[slice, slice]]:
    """Heads and queries whose scores are computed together.

    Whole heads as many as fit, or one head and as many of its queries, at least one.
    """
    at_a_time = _GPU_SCORES if query.is_cuda else _CPU_SCORES
    count, queries = query.shape[:2]
    heads = max(1, at_a_time // (queries * key.shape[1]))
    rows = min(queries, max(1, at_a_time // key.shape[1]))
    for head in range(0, count, heads):
        for row in range(0, queries, rows):
            yield slice(head, head + heads), slice(row, row + rows)


def _with_row(states: Tensor, number: float) -> Tensor:
    """[H, d, L] to [H, d+1, L], the last row of them all the number."""
    row = states.new_full((states.shape[0], 1, states.shape[2]), number)
    return torch.cat([states, row], dim=1)
