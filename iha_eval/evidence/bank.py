"""Attention layers whose heads hold the powers of a matrix: one a head, or a sqrt of that many.

For: the paper's constructions for polynomial filters and, with a cyclic shift as the matrix, for
CPM-3. Not for: layers that are trained.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from model_adapters import naive


@dataclass(frozen=True)
class Mixing:
    """What IHA adds to a layer of H heads, P pseudo-heads each.

    Attributes:
        alpha_q: [H, H, P], source head, destination head, pseudo-head.
        alpha_k: [H, H, P].
        alpha_v: [H, H, P].
        collapse: R, [H, H*P].
    """

    alpha_q: Tensor
    alpha_k: Tensor
    alpha_v: Tensor
    collapse: Tensor


@dataclass(frozen=True)
class Layer:
    """One attention layer in which every token sees every token; heads are concatenated.

    Attributes:
        query: [H, F, w], from F features of a token to queries of width w.
        key: [H, F, w].
        value: [H, F, v]; values may have a width of their own.
        mixing: None for multi-head attention.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mixing: Mixing | None = None

    @property
    def heads(self) -> int:
        """H."""
        return len(self.query)

    @property
    def parameters(self) -> int:
        """Entries of all tensors, zeros among them, as a trained layer would have them."""
        tensors = [self.query, self.key, self.value]
        if self.mixing is not None:
            tensors += vars(self.mixing).values()
        return sum(tensor.numel() for tensor in tensors)

    def __call__(self, tokens: Tensor, weigh: naive.Scores) -> Tensor:
        """Run the layer through the project's definition of the attention.

        Args:
            tokens: [N, F].
            weigh: Linear, hard or softmax attention.

        Returns:
            [N, H*v].
        """
        projections = (self.query, self.key, self.value)
        states = [torch.einsum("nf,hfw->nhw", tokens, weight) for weight in projections]
        if self.mixing is None:
            mixed = [state.unsqueeze(2) for state in states]
        else:
            alphas = (self.mixing.alpha_q, self.mixing.alpha_k, self.mixing.alpha_v)
            mixed = [naive.mix(state, alpha) for state, alpha in zip(states, alphas, strict=True)]
        query, key, value = (naive.interleave(state) for state in mixed)
        everything = torch.ones(query.shape[1], key.shape[1], dtype=torch.bool)
        attended = naive.attend(query, key, value, everything, weigh)
        if self.mixing is None:
            return attended.transpose(0, 1).flatten(1)
        return naive.collapse(attended, self.mixing.collapse).flatten(1)


def with_positions(features: Tensor) -> Tensor:
    """Tokens of a bank: their features [N, d] and their position, one-hot, as [N, d+N]."""
    return torch.cat([features, torch.eye(len(features), dtype=features.dtype)], dim=1)


def square_side(count: int) -> int:
    """c, the least whole number whose square is at least `count`."""
    return math.isqrt(count - 1) + 1


def multi_head_bank(matrix: Tensor, count: int, width: int) -> Layer:
    """Multi-head attention with `count` heads whose output is [X, AX, .., A^(count-1) X].

    Args:
        matrix: A, [N, N].
        count: K, the number of powers.
        width: D, features of a token besides its position.
    """
    patterns = powers(matrix, count)
    value = torch.eye(width + len(matrix), width, dtype=matrix.dtype)
    return patterned(patterns, value.expand(count, -1, -1))


def interleaved_bank(matrix: Tensor, count: int, width: int, value_scale: float = 1.0) -> Layer:
    """IHA with c = ceil(sqrt(count)) heads and pseudo-heads whose output begins with that bank.

    Query head h carries A^(h c); key head j carries the transpose of A^j, and is pseudo-head j of
    every head. Value head j puts X into the j-th of c blocks, so that the sum over all virtual keys
    of a head lays A^(h c + j) X for all j side by side. The output holds c^2 powers, in order.

    Args:
        matrix: A, [N, N].
        count: K, the number of powers that are wanted.
        width: D.
        value_scale: Factor on the values; hard attention shares its weight among c keys.
    """
    side = square_side(count)
    coarse = powers(torch.linalg.matrix_power(matrix, side), side)
    blocks = torch.zeros(side, width + len(matrix), side * width, dtype=matrix.dtype)
    for block in range(side):
        columns = slice(block * width, (block + 1) * width)
        blocks[block, :width, columns] = value_scale * torch.eye(width, dtype=matrix.dtype)
    own = torch.eye(side, dtype=matrix.dtype)
    # [m, h, p]: the head's own query in every pseudo-head; key and value head p in pseudo-head p.
    from_own = own[:, :, None].expand(-1, -1, side)
    from_index = own[:, None, :].expand(-1, side, -1)
    # All pseudo-queries of a head are equal: R takes the first.
    picked = torch.kron(own, own[:1])
    plain = patterned(coarse, blocks, powers(matrix, side))
    return Layer(
        plain.query, plain.key, plain.value, Mixing(from_own, from_index, from_index, picked)
    )


def patterned(patterns: Tensor, value: Tensor, second: Tensor | None = None) -> Layer:
    """Multi-head attention whose scores, times N^-1/2 in `attend`, are the given patterns.

    Args:
        patterns: [H, N, N], what the queries carry.
        value: [H, d+N, v].
        second: [H, N, N], what the keys carry, transposed; None for the identity.
    """
    heads, tokens, _ = patterns.shape
    width = value.shape[1] - tokens
    if second is None:
        second = torch.eye(tokens, dtype=patterns.dtype).expand(heads, -1, -1)
    # The projections read the position, which stands behind the d features.
    queries, keys = (
        torch.cat([carried.new_zeros(heads, width, tokens), carried], dim=1)
        for carried in (patterns * math.sqrt(tokens), second.transpose(1, 2))
    )
    return Layer(queries, keys, value)


def powers(matrix: Tensor, count: int) -> Tensor:
    """The matrix to the powers 0, 1, .. count - 1, as [count, N, N]."""
    powers_so_far = [torch.eye(len(matrix), dtype=matrix.dtype)]
    while len(powers_so_far) < count:
        powers_so_far.append(powers_so_far[-1] @ matrix)
    return torch.stack(powers_so_far)


def parameter_formula(tokens: int, width: int, count: int) -> tuple[int, int]:
    """The paper's counts for multi-head attention and IHA (section on expressive power).

    2 N (N+d) k + d (N+d) k, and with c = ceil(sqrt k) 2 N (N+d) c + d (N+d) c^2 + 4 c^3.

    Args:
        tokens: N.
        width: D.
        count: K.
    """
    side, features = square_side(count), tokens + width
    multi_head = 2 * tokens * features * count + width * features * count
    interleaved = 2 * tokens * features * side + width * features * side**2 + 4 * side**3
    return multi_head, interleaved
