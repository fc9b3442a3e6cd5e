"""Small products in either type against the sum spelled out."""

import pytest
import torch

from model_adapters.vllm import small_products
from model_adapters.vllm.small_products import FEW_PRODUCTS, times, widened


@pytest.mark.parametrize("tokens", [1, 8, 63, 129, 1000])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_products_are_those_of_the_definition(tokens: int, dtype: torch.dtype) -> None:
    """Both sides of the border: 32 x 16 times 16 wide states, up to 64 tokens in float32."""
    generator = torch.Generator().manual_seed(tokens)
    matrix = torch.randn(32, 16, generator=generator).to(dtype)
    states = torch.randn(tokens, 16, 16, generator=generator).to(dtype)
    found = times(matrix, widened(matrix), states)
    want = torch.einsum("mn,tnd->tmd", matrix.double(), states.double())
    assert found.dtype == dtype
    torch.testing.assert_close(found, want.to(dtype), rtol=2e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("tokens", "wide"), [(1, True), (64, True), (65, False)], ids=["one", "few", "many"]
)
def test_few_tokens_are_multiplied_in_float32(
    tokens: int, wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = torch.zeros(32, 256, dtype=torch.bfloat16)
    assert 64 * matrix.numel() == FEW_PRODUCTS
    types: list[torch.dtype] = []
    product = torch.bmm

    def watched(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        types.append(one.dtype)
        return product(one, other)

    monkeypatch.setattr(small_products.torch, "bmm", watched)
    times(matrix, widened(matrix), torch.zeros(tokens, 256, 1, dtype=torch.bfloat16))
    assert types == [torch.float32 if wide else torch.bfloat16]


def test_there_is_nothing_to_widen_in_float32_and_off_the_cpu() -> None:
    assert widened(torch.zeros(2, 2)) is None
    assert widened(torch.zeros(2, 2, dtype=torch.bfloat16, device="meta")) is None
