"""What the fused pass computes, step by step in plain PyTorch.

For: being read, and being what `kernel.py` is compared with; every intermediate is a tensor of its
own, in float32 or wider. Not for: speed: the cache is written row by row.
"""

import torch
from torch import Tensor

from model_adapters.naive import interleave, mix
from model_adapters.vllm.fused.mixing import MixingMatrices


def mix_rotate(
    qkv: Tensor, positions: Tensor, table: Tensor, mixing: MixingMatrices
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of the virtual tokens.

    Args:
        qkv: [T, (H + 2G) * d], a token's queries, keys and values side by side.
        positions: [T], tokens' positions in their sequences.
        table: [positions, d], cosines in the first half of a row and sines in the second.
        mixing: the layer's matrices.

    Returns:
        [T*P, H, d], [T*P, G, d] and [T*P, G, d], in float32 or qkv's wider type.
    """
    wide = torch.promote_types(qkv.dtype, torch.float32)
    sizes = [mixing.heads, mixing.kv_heads, mixing.kv_heads]
    parts = qkv.to(wide).unflatten(1, (-1, mixing.width)).split(sizes, dim=1)
    alphas = (mixing.alpha_q, mixing.alpha_k, mixing.alpha_v)
    query, key, value = (
        # [T, M, d] to [M, T*P, d]
        interleave(mix(states, _as_stored(alpha.to(wide), mixing.pseudo_heads)))
        for states, alpha in zip(parts, alphas, strict=True)
    )
    rows = table.to(wide)[virtual_rows(positions, mixing)]
    query, key, value = (
        states.transpose(0, 1) for states in (_rotate(query, rows), _rotate(key, rows), value)
    )
    return query, key, value


def write(states: Tensor, slots: Tensor, cache: Tensor) -> None:
    """Put virtual tokens where the cache has a slot for them.

    Args:
        states: [L, G, d], keys or values.
        slots: [up to L]; slot s is state s % B of block s // B, and a negative one is padding.
        cache: [blocks, B, G, d], a view with any strides, written in place.
    """
    size = cache.shape[1]
    for row, slot in enumerate(slots.tolist()):
        if slot >= 0:
            cache[slot // size, slot % size] = states[row].to(cache.dtype)


def mix_rotate_cache(
    qkv: Tensor,
    positions: Tensor,
    slots: Tensor,
    table: Tensor,
    mixing: MixingMatrices,
    key_cache: Tensor,
    value_cache: Tensor,
) -> Tensor:
    """Mix, rotate, write keys and values into the cache, return the queries.

    Args:
        qkv: [T, (H + 2G) * d], rows of any stride.
        positions: [T].
        slots: [up to T*P], one for every virtual token that is not padding, see `write`.
        table: [positions, d], see `mix_rotate`.
        mixing: the layer's matrices.
        key_cache: [blocks, B, G, d], written in place.
        value_cache: likewise.

    Returns:
        [T*P, H*d] in qkv's type.
    """
    query, key, value = mix_rotate(qkv, positions, table, mixing)
    write(key, slots, key_cache)
    write(value, slots, value_cache)
    return query.flatten(1).to(qkv.dtype)


def virtual_rows(positions: Tensor, mixing: MixingMatrices) -> Tensor:
    """Row of the rotary table for each virtual token, [T] to [T*P]."""
    pseudo_heads = mixing.pseudo_heads
    if not mixing.virtual:
        return positions.repeat_interleave(pseudo_heads)
    offsets = torch.arange(pseudo_heads, device=positions.device)
    return (positions.unsqueeze(1) * pseudo_heads + offsets).flatten()


def _as_stored(alpha: Tensor, pseudo_heads: int) -> Tensor:
    """[P*M, M] to the checkpoint's [M, M, P]."""
    split: Tensor = alpha.unflatten(0, (pseudo_heads, -1))
    return split.permute(2, 1, 0)


def _rotate(states: Tensor, rows: Tensor) -> Tensor:
    """Llama's halves convention: [M, L, d] by the table's rows [L, d]."""
    cos, sin = rows.chunk(2, dim=-1)
    first, second = states.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
