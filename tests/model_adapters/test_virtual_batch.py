"""Numbers of a batch in virtual tokens, and which layout of decoding reads less."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from model_adapters import naive
from model_adapters.config import VirtualMask
from model_adapters.vllm.virtual_batch import (
    APART,
    NARROWED,
    ONE_ROW,
    TOGETHER,
    DecodeKernel,
    VirtualCounts,
    first_rows,
    layout,
)

FLASH_2 = DecodeKernel("FLASH_ATTN", 2, 32, 8, 2, 108)
TRITON = DecodeKernel("TRITON_ATTN", 0, 20, 20, 2, 132, split_limit=8)


def batch(starts: list[int], lengths: list[int]) -> Any:
    starts_tensor = torch.tensor(starts, dtype=torch.int32)
    return SimpleNamespace(
        query_start_loc=starts_tensor,
        query_start_loc_cpu=starts_tensor.clone(),
        seq_lens=torch.tensor(lengths, dtype=torch.int32),
        seq_lens_cpu_upper_bound=torch.tensor(lengths, dtype=torch.int32),
        num_actual_tokens=len(lengths),
        num_reqs=len(lengths),
        max_query_len=1,
        max_seq_len=max(lengths),
        positions=torch.arange(len(lengths)),
    )


def test_rows_apart_see_what_their_place_in_the_token_lets_them() -> None:
    """A token at length 5 and one at length 1, and a padded request without any."""
    made = VirtualCounts(3, 4, "cpu").of(batch([0, 1, 2, 2], [5, 1, 0]), 1, apart=True)
    assert made["seq_lens"].tolist() == [13, 14, 15, 1, 2, 3, 0, 0, 0]
    assert made["query_start_loc"].tolist() == [0, 1, 2, 3, 4, 5, 6, 6, 6, 6]
    assert made["query_start_loc_cpu"].tolist() == [0, 1, 2, 3, 4, 5, 6, 6, 6, 6]
    assert (made["num_reqs"], made["num_actual_tokens"]) == (9, 9)
    assert (made["max_query_len"], made["max_seq_len"]) == (1, 15)
    assert made["seq_lens_cpu_upper_bound"] is None
    assert made["positions"] is None


@pytest.mark.parametrize("size", [1, 63, 129, 1000])
def test_rows_apart_are_the_last_rows_of_naive_attention_s_mask(size: int) -> None:
    """The p-th row of the newest token sees as many states as the mask lets it."""
    made = VirtualCounts(2, 1, "cpu").of(batch([0, 1], [size]), 1, apart=True)
    seen = naive.visible(size, 2, None)[-2:].sum(1)
    assert made["seq_lens"].tolist() == seen.tolist()


@pytest.mark.parametrize("chunk", [1, 2, 63, 129, 1000])
def test_rows_of_a_chunk_are_those_of_naive_attention_s_token_mask(chunk: int) -> None:
    """A prompt's chunk after 7 tokens beside a decoding request, over whose blocks they run."""
    pseudo, length = 3, 7 + chunk
    tokens = batch([0, chunk, chunk + 1], [length, 20])
    tokens.num_actual_tokens, tokens.max_query_len = chunk + 1, chunk
    counts = VirtualCounts(pseudo, 4, "cpu", by_token=True)
    made = counts.of(tokens, 1, apart=True)
    seen = naive.visible(length, pseudo, None, causal="token")[7 * pseudo :].sum(1).tolist()
    assert made["seq_lens"].tolist() == [*seen, 60, 60, 60]
    rows = pseudo * (chunk + 1)
    assert made["query_start_loc"].tolist() == list(range(rows + 1))
    assert (made["num_reqs"], made["num_actual_tokens"], made["max_query_len"]) == (rows, rows, 1)
    if chunk > 1:
        assert counts.requests_of_rows is not None
        assert counts.requests_of_rows.tolist() == [0] * (rows - pseudo) + [1] * pseudo
    # Decoding alone, whose rows keep their addresses.
    made = counts.of(batch([0, 1, 2, 2], [5, 1, 0]), 1, apart=True)
    assert made["seq_lens"].tolist() == [15, 15, 15, 3, 3, 3, 0, 0, 0]
    assert counts.requests_of_rows is None


@pytest.mark.parametrize(
    ("mask", "decodes", "wanted"),
    [
        (VirtualMask(2), True, APART),
        (VirtualMask(2), False, TOGETHER),
        (VirtualMask(2, 5), False, TOGETHER),
        (VirtualMask(2, 5, edge="token"), True, NARROWED),
        (VirtualMask(2, 5, edge="token"), False, NARROWED),
        (VirtualMask(2, 5, causal="token", edge="token"), False, ONE_ROW),
        (VirtualMask(2, causal="token"), True, ONE_ROW),
    ],
    ids=str,
)
def test_a_layout_for_each_mask(mask: VirtualMask, decodes: bool, wanted: str) -> None:
    """FlashAttention 2 of few requests with grouped heads decodes the virtual mask apart."""
    assert layout(mask, FLASH_2, 1, decodes=decodes) == wanted


@pytest.mark.parametrize(
    ("heads", "pseudo", "wanted"),
    [(8, 2, ONE_ROW), (8, 8, ONE_ROW), (32, 2, ONE_ROW), (32, 3, APART), (24, 4, APART)],
)
def test_a_processor_s_rows_have_up_to_eight_heads_of_a_key_head(
    heads: int, pseudo: int, wanted: str
) -> None:
    kernel = DecodeKernel("CPU_ATTN", 0, heads, 8, pseudo, 0)
    for decodes in (True, False):
        assert layout(VirtualMask(pseudo, causal="token"), kernel, 3, decodes=decodes) == wanted


@pytest.mark.parametrize("chunk", [1, 2, 63, 129, 1000])
def test_one_row_a_token_is_as_long_as_the_last_of_its_rows(chunk: int) -> None:
    pseudo, length = 3, 7 + chunk
    tokens = batch([0, chunk, chunk + 1], [length, 20])
    tokens.num_actual_tokens, tokens.max_query_len = chunk + 1, chunk
    counts = VirtualCounts(pseudo, 4, "cpu", by_token=True, rows=1)
    made = counts.of(tokens, 1, apart=True)
    seen = naive.visible(length, pseudo, None, causal="token")[7 * pseudo :].sum(1).tolist()
    assert made["seq_lens"].tolist() == [*seen[::pseudo], 60]
    assert made["query_start_loc"].tolist() == list(range(chunk + 2))
    assert (made["num_reqs"], made["num_actual_tokens"]) == (chunk + 1, chunk + 1)
    if chunk > 1:
        assert counts.requests_of_rows is not None
        assert counts.requests_of_rows.tolist() == [0] * chunk + [1]
    # Decoding alone, a padded request beside.
    made = counts.of(batch([0, 1, 2, 2], [5, 1, 0]), 1, apart=True)
    assert made["seq_lens"].tolist() == [15, 3, 0]
    assert made["query_start_loc"].tolist() == [0, 1, 2, 2]
    assert counts.requests_of_rows is None


def test_too_many_rows_are_an_error() -> None:
    with pytest.raises(RuntimeError, match="3 rows of slots, but 2 were planned"):
        first_rows(torch.zeros(2, 4), 3, "slots")


@pytest.mark.parametrize(
    ("kernel", "requests", "apart"),
    [
        # 20 of 132 processors read once, or all of them twice.
        (TRITON, 1, True),
        (TRITON, 2, True),
        # 80 of 132 are busy: reading once is better.
        (TRITON, 4, False),
        (TRITON, 64, False),
        # From vLLM 0.33 on rows are split together.
        (DecodeKernel("TRITON_ATTN", 0, 20, 20, 2, 132, 8, 8), 1, False),
        (DecodeKernel("TRITON_ATTN", 0, 8, 8, 20, 132, 8, 16), 1, False),
        # Eight query heads a key head and P = 4 are two tiles; four rows are four.
        (DecodeKernel("TRITON_ATTN", 0, 64, 8, 4, 132, 1, 16), 1, True),
        (DecodeKernel("TRITON_ATTN", 0, 64, 8, 4, 132, 1, 16), 16, False),
        # FlashAttention 2 reads four times or twice.
        (FLASH_2, 1, True),
        (FLASH_2, 256, True),
        (DecodeKernel("FLASH_ATTN", 2, 32, 8, 4, 108), 2, True),
        (DecodeKernel("FLASH_ATTN", 2, 32, 8, 4, 108), 4, False),
        (DecodeKernel("FLASH_ATTN", 2, 20, 20, 2, 108), 1, False),
        (DecodeKernel("FLASH_ATTN", 3, 32, 8, 2, 132), 1, False),
        (DecodeKernel("FLASH_ATTN", 3, 20, 20, 4, 132), 64, False),
        (DecodeKernel("CPU_ATTN", 0, 32, 8, 2, 0), 1, False),
        (DecodeKernel("FLASH_ATTN", 2, 32, 8, 1, 108), 1, False),
    ],
    ids=str,
)
def test_the_layout_that_costs_less_is_taken(
    kernel: DecodeKernel, requests: int, apart: bool
) -> None:
    assert kernel.decodes_apart(requests) is apart


def test_what_is_read() -> None:
    """By the table in the docstring."""
    assert TRITON.reads(1, apart=False) == (1, 20)
    assert TRITON.reads(1, apart=True) == (2, 2 * 20 * 16)
    assert TRITON.reads(64, apart=True) == (2, 64 * 2 * 20)
    assert FLASH_2.reads(3, apart=False) == (4, 96)
    assert FLASH_2.reads(3, apart=True) == (2, 108)
