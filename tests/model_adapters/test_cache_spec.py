"""How a layer's cache is described to vLLM's scheduler, and back to a kernel."""

from fractions import Fraction

import pytest
import torch
from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend
from vllm.v1.kv_cache_interface import FullAttentionSpec, SlidingWindowSpec

from model_adapters import BackendError
from model_adapters.vllm import cache_spec
from model_adapters.vllm.cache_spec import CacheShape, block_tokens


def full_spec(block: int = 128) -> FullAttentionSpec:
    return FullAttentionSpec(block_size=block, num_kv_heads=2, head_size=32, dtype=torch.bfloat16)


def sliding_spec(window: int) -> SlidingWindowSpec:
    return SlidingWindowSpec(
        block_size=32, num_kv_heads=2, head_size=32, dtype=torch.bfloat16, sliding_window=window
    )


@pytest.mark.parametrize("pseudo", [1, 2, 3, 4, 20])
def test_a_page_holds_p_states_per_token(pseudo: int) -> None:
    """Bytes grow with P, tokens per block do not; and the way back is exact."""
    shape = CacheShape(pseudo, None)
    spec = shape.for_scheduler(full_spec(), 64)
    assert spec.block_size == 64
    assert spec.page_size_bytes == 64 * pseudo * 2 * 2 * 32 * 2
    kernel = shape.for_kernel(spec)
    assert (kernel.block_size, kernel.num_kv_heads) == (64 * pseudo, 2)
    assert kernel.page_size_bytes == spec.page_size_bytes


@pytest.mark.parametrize(("pseudo", "kept"), [(1, 17), (2, 18), (4, 18)])
def test_the_scheduler_keeps_one_token_more_than_the_window(pseudo: int, kept: int) -> None:
    """W + 1 tokens with pseudo-heads, W without; the kernel sees W * P virtual tokens."""
    shape = CacheShape(pseudo, 17)
    spec = shape.for_scheduler(sliding_spec(17 * pseudo), 32)
    assert spec.sliding_window == kept
    assert shape.for_kernel(spec).sliding_window == 17 * pseudo


@pytest.mark.parametrize(
    ("block", "pseudo", "mixed", "want"),
    [
        (128, 2, False, (128, 128)),
        (128, 2, True, (128, 64)),
        (128, 4, True, (128, 32)),
        (128, 3, True, (192, 64)),
        (128, 20, True, (160, 8)),
        (16, 2, False, (16, 16)),
        (128, 1, True, (128, 128)),
    ],
)
def test_pages_of_plain_and_iha_layers_are_of_one_size(
    block: int, pseudo: int, mixed: bool, want: tuple[int, int]
) -> None:
    """Tokens per block differ by P, bytes do not, and states stay what the kernel needs."""
    plain, iha = block_tokens(CPUAttentionBackend, block, pseudo, mixed)
    assert (plain, iha) == want
    assert iha * pseudo % 32 == 0
    if mixed:
        assert plain == iha * pseudo


def test_a_block_that_the_kernel_cannot_run_is_refused() -> None:
    """The sentence says which block sizes would do."""
    with pytest.raises(BackendError, match=r"block_size is 16.*P=3.*multiple of 32"):
        block_tokens(CPUAttentionBackend, 16, 3, False)


def test_tokens_per_state_is_a_fraction_where_it_exists() -> None:
    """The pinned release has it."""
    assert cache_spec.HAS_TOKENS_PER_STATE
    assert CacheShape(4, None).for_scheduler(full_spec(), 32).tokens_per_state == Fraction(1, 4)
