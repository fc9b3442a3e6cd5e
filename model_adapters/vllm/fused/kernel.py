"""The fused pass as a Triton kernel: q, k and v are read once, queries and cache written once.

For: CUDA devices, through `packed.py`. Not for: quantized caches, or heads dealt out over ranks.
`naive.py` is the same in plain PyTorch. Products are summed in float32, and nothing is rounded
before it is stored.

Plain operations move 3 + 11P times the states of a token (G = H): mixing reads them and writes P
times as many, rotary embedding reads and writes two of three parts again, and so does the cache's
write. This moves 3 + 3P.
"""

# A kernel's parameters are addresses and numbers, typed when it is compiled.
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls

from typing import Any

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor

from model_adapters.vllm.fused.launch import Launch
from model_adapters.vllm.fused.mixing import MixingMatrices


@triton.jit
def _halves(states, row_stride, column, token, part, known, heads, width, depth: tl.constexpr):
    """First and second halves of all heads of the tile's tokens, each [depth, tokens * half]."""
    head = tl.arange(0, depth)
    at = states + token[None, :] * row_stride + head[:, None] * width + column[None, :]
    seen = (head < heads)[:, None] & known[None, :]
    first = tl.load(at, mask=seen, other=0.0)
    second = tl.load(at + part, mask=seen, other=0.0)
    return first, second


@triton.jit
def _product(alpha, first, second, p, row, heads, depth: tl.constexpr, wide: tl.constexpr):
    """Pseudo-head p of the heads in `row`, in float32: two of [rows, tokens * half]."""
    head = tl.arange(0, depth)
    at = alpha + (p * heads + row[:, None]) * heads + head[None, :]
    weights = tl.load(at, mask=(row < heads)[:, None] & (head < heads)[None, :], other=0.0)
    if wide:
        weights = weights.to(tl.float32)
        first = first.to(tl.float32)
        second = second.to(tl.float32)
    return (
        tl.dot(weights, first, input_precision="ieee"),
        tl.dot(weights, second, input_precision="ieee"),
    )


@triton.jit
def _angles(table, position, p, column, part, known, width, pseudo_heads, virtual: tl.constexpr):
    """Cosines and sines of the tile's columns, in float32."""
    at = position
    if virtual:
        at = position * pseudo_heads + p
    cos = tl.load(table + at * width + column, mask=known, other=0.0)
    sin = tl.load(table + at * width + part + column, mask=known, other=0.0)
    return cos.to(tl.float32), sin.to(tl.float32)


@triton.jit
def _rotated(first, second, cos, sin):
    """Both halves turned: two of [rows, tokens * half]."""
    cos, sin = cos[None, :], sin[None, :]
    return first * cos - second * sin, second * cos + first * sin


@triton.jit
def _queries(
    qkv,
    qkv_stride,
    position,
    table,
    alpha,
    query,
    token,
    column,
    known,
    block,
    begin,
    heads: tl.constexpr,
    width: tl.constexpr,
    pseudo_heads: tl.constexpr,
    rows: tl.constexpr,
    depth: tl.constexpr,
    each: tl.constexpr,
    virtual: tl.constexpr,
    wide: tl.constexpr,
):
    """A block of heads' queries, `each` pseudo-heads of them."""
    part: tl.constexpr = width // 2
    kind = query.dtype.element_ty
    row = block * rows + tl.arange(0, rows)
    kept = (row < heads)[:, None] & known[None, :]
    first, second = _halves(qkv, qkv_stride, column, token, part, known, heads, width, depth)
    for step in range(each):
        p = begin + step
        a, b = _product(alpha, first, second, p, row, heads, depth, wide)
        cos, sin = _angles(table, position, p, column, part, known, width, pseudo_heads, virtual)
        a, b = _rotated(a, b, cos, sin)
        at = (
            query
            + (token * pseudo_heads + p)[None, :] * (heads * width)
            + row[:, None] * width
            + column[None, :]
        )
        tl.store(at, a.to(kind), mask=kept)
        tl.store(at + part, b.to(kind), mask=kept)


@triton.jit
def _cached(
    states,
    qkv_stride,
    position,
    table,
    alpha,
    cache,
    slots,
    slot_tokens,
    block_size,
    block_stride,
    slot_stride,
    head_stride,
    token,
    column,
    known,
    block,
    begin,
    rotate: tl.constexpr,
    kv_heads: tl.constexpr,
    width: tl.constexpr,
    pseudo_heads: tl.constexpr,
    rows: tl.constexpr,
    depth: tl.constexpr,
    each: tl.constexpr,
    virtual: tl.constexpr,
    wide: tl.constexpr,
):
    """A block of heads' keys or values, `each` pseudo-heads of them, where they have a slot."""
    part: tl.constexpr = width // 2
    kind = cache.dtype.element_ty
    row = block * rows + tl.arange(0, rows)
    first, second = _halves(states, qkv_stride, column, token, part, known, kv_heads, width, depth)
    for step in range(each):
        p = begin + step
        slot = tl.load(slots + token * pseudo_heads + p, mask=token < slot_tokens, other=-1).to(
            tl.int64
        )
        kept = (row < kv_heads)[:, None] & (known & (slot >= 0))[None, :]
        a, b = _product(alpha, first, second, p, row, kv_heads, depth, wide)
        if rotate:
            cos, sin = _angles(
                table, position, p, column, part, known, width, pseudo_heads, virtual
            )
            a, b = _rotated(a, b, cos, sin)
        at = slot // block_size * block_stride + slot % block_size * slot_stride + column
        at = cache + at[None, :] + row[:, None] * head_stride
        tl.store(at, a.to(kind), mask=kept)
        tl.store(at + part, b.to(kind), mask=kept)


# One compiled kernel for batches of every size: or 1 token, multiples of 16 and all other numbers
# would each have its own, compiled while somebody waits.
@triton.jit(do_not_specialize=["tokens", "slot_tokens"])
def _mix_rotate_cache(
    qkv,  # [T, (H + 2G) * d]
    positions,  # [T]
    slots,  # [slot_tokens * P]
    table,  # [positions, d]
    alpha_q,  # [P*H, H]
    alpha_k,  # [P*G, G]
    alpha_v,  # [P*G, G]
    query,  # [T*P, H*d]
    key_cache,  # [blocks, B, G, d]
    value_cache,  # [blocks, B, G, d]
    tokens,
    slot_tokens,
    block_size,
    qkv_stride,
    k_block_stride,
    k_slot_stride,
    k_head_stride,
    v_block_stride,
    v_slot_stride,
    v_head_stride,
    heads: tl.constexpr,
    kv_heads: tl.constexpr,
    width: tl.constexpr,
    pseudo_heads: tl.constexpr,
    tile: tl.constexpr,
    half: tl.constexpr,
    query_rows: tl.constexpr,
    query_depth: tl.constexpr,
    kv_rows: tl.constexpr,
    kv_depth: tl.constexpr,
    each: tl.constexpr,
    virtual: tl.constexpr,
    wide: tl.constexpr,
):
    part: tl.constexpr = width // 2
    groups: tl.constexpr = pseudo_heads // each
    query_blocks: tl.constexpr = (heads + query_rows - 1) // query_rows
    place = tl.arange(0, tile * half)
    # Offsets pass 2^31 in long prefills and in any real cache.
    token = tl.program_id(0).to(tl.int64) * tile + place // half
    column = place % half
    known = (token < tokens) & (column < part)
    position = tl.load(positions + token, mask=token < tokens, other=0).to(tl.int64)
    block = tl.program_id(1) // groups
    begin = tl.program_id(1) % groups * each

    if block < query_blocks:
        _queries(
            qkv,
            qkv_stride,
            position,
            table,
            alpha_q,
            query,
            token,
            column,
            known,
            block,
            begin,
            heads,
            width,
            pseudo_heads,
            query_rows,
            query_depth,
            each,
            virtual,
            wide,
        )
    else:
        _cached(
            qkv + heads * width,
            qkv_stride,
            position,
            table,
            alpha_k,
            key_cache,
            slots,
            slot_tokens,
            block_size,
            k_block_stride,
            k_slot_stride,
            k_head_stride,
            token,
            column,
            known,
            block - query_blocks,
            begin,
            True,
            kv_heads,
            width,
            pseudo_heads,
            kv_rows,
            kv_depth,
            each,
            virtual,
            wide,
        )
        _cached(
            qkv + (heads + kv_heads) * width,
            qkv_stride,
            position,
            table,
            alpha_v,
            value_cache,
            slots,
            slot_tokens,
            block_size,
            v_block_stride,
            v_slot_stride,
            v_head_stride,
            token,
            column,
            known,
            block - query_blocks,
            begin,
            False,
            kv_heads,
            width,
            pseudo_heads,
            kv_rows,
            kv_depth,
            each,
            virtual,
            wide,
        )


def mix_rotate_cache(
    qkv: Tensor,
    positions: Tensor,
    slots: Tensor,
    table: Tensor,
    mixing: MixingMatrices,
    key_cache: Tensor,
    value_cache: Tensor,
    launch: Launch,
) -> Tensor:
    """`naive.mix_rotate_cache` in one launch; the arguments are the same but for the last.

    Args:
        qkv: [T, (H + 2G) * d]; a row's numbers side by side, rows of any stride.
        positions: [T], int64, contiguous.
        slots: [up to T*P], int64, contiguous; virtual tokens beyond them have none.
        table: [positions, d], contiguous.
        mixing: the layer's matrices, contiguous.
        key_cache: [blocks, B, G, d] with any strides but the last, which is 1. vLLM's FLASH_ATTN
            and TRITON_ATTN keep [blocks, G, B, 2*d]: see `packed.cache_views`.
        value_cache: likewise.
        launch: the block sizes, see `launch.plan`.

    Returns:
        [T*P, H*d] in qkv's type.
    """
    tokens, pseudo_heads = len(qkv), mixing.pseudo_heads
    query = qkv.new_empty((tokens * pseudo_heads, mixing.heads * mixing.width))
    if not tokens:
        return query
    _mix_rotate_cache[launch.grid](
        qkv,
        positions,
        slots,
        table,
        mixing.alpha_q,
        mixing.alpha_k,
        mixing.alpha_v,
        query,
        key_cache,
        value_cache,
        tokens,
        len(slots) // pseudo_heads,
        key_cache.shape[1],
        qkv.stride(0),
        *key_cache.stride()[:3],
        *value_cache.stride()[:3],
        **constants(mixing, launch, wide=qkv.dtype == torch.bfloat16 and interpreted()),
        num_warps=launch.warps,
    )
    return query


def constants(mixing: MixingMatrices, launch: Launch, wide: bool = False) -> dict[str, Any]:
    """What the kernel is compiled for.

    Args:
        mixing: the layer's matrices.
        launch: the block sizes.
        wide: turn operands to float32 before they are multiplied.
    """
    return {
        "heads": mixing.heads,
        "kv_heads": mixing.kv_heads,
        "width": mixing.width,
        "pseudo_heads": mixing.pseudo_heads,
        "tile": launch.tokens,
        "half": launch.half,
        "query_rows": launch.query_rows,
        "query_depth": launch.query_heads,
        "kv_rows": launch.kv_rows,
        "kv_depth": launch.kv_heads,
        "each": launch.pseudo_heads,
        "virtual": mixing.virtual,
        "wide": wide,
    }


def interpreted() -> bool:
    """Whether Triton's interpreter runs the kernel; it multiplies bfloat16 as if it were bits."""
    return not isinstance(_mix_rotate_cache, triton.JITFunction)
