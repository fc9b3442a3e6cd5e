"""The plain version is the mechanism: mixed, interleaved, rotated as `model_adapters.naive`."""

from typing import Any

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from model_adapters import IHAConfig
from model_adapters import naive as mechanism
from model_adapters.vllm.fused import MixingMatrices, naive

TOKENS = 7


@pytest.mark.parametrize("rope", ["virtual", "token"])
@pytest.mark.parametrize(("heads", "kv_heads", "pseudo"), [(4, 4, 2), (6, 2, 3)], ids=str)
def test_states(heads: int, kv_heads: int, pseudo: int, rope: str) -> None:
    width = 16
    config = IHAConfig(
        hidden_size=heads * width,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=width,
        num_hidden_layers=1,
        num_pseudo_heads=pseudo,
        pseudo_rope=rope,
    )
    embedding = LlamaRotaryEmbedding(config)
    angles = torch.outer(torch.arange(TOKENS * pseudo).double(), embedding.inv_freq.double())
    table = torch.cat([angles.cos(), angles.sin()], dim=1)
    counts = (heads, kv_heads, kv_heads)
    stored = [torch.randn(count, count, pseudo).double() for count in counts]
    served = [alpha.permute(2, 1, 0).flatten(0, 1) for alpha in stored]
    mixing = MixingMatrices(*served, width=width, virtual=rope == "virtual")
    assert mixing.sizes == (heads, kv_heads, width, pseudo)
    qkv = torch.randn(TOKENS, mixing.packed_width).double()

    made = naive.mix_rotate(qkv, torch.arange(TOKENS), table, mixing)

    positions = mechanism.virtual_positions(TOKENS, pseudo, rope)
    parts = qkv.unflatten(1, (-1, width)).split(counts, dim=1)
    for index, (part, alpha) in enumerate(zip(parts, stored, strict=True)):
        wanted = mechanism.interleave(mechanism.mix(part, alpha))
        if index < 2:
            wanted = mechanism.rotate(wanted, positions, embedding.inv_freq.double())
        torch.testing.assert_close(made[index].transpose(0, 1), wanted, rtol=0, atol=1e-12)


def test_only_slots_are_written(make_batch: Any) -> None:
    """Slot s is state s % B of block s // B; the key stands before the value."""
    batch = make_batch(3, 2, 1, 64, 2, padding=1)
    _, cache = batch.run(naive.mix_rotate_cache)
    _, keys, values = naive.mix_rotate(batch.qkv, batch.positions, batch.table, batch.mixing)
    for row, slot in enumerate(batch.slots.tolist()[:-1]):
        state = cache[slot // batch.BLOCK, 0, slot % batch.BLOCK]
        torch.testing.assert_close(state, torch.cat([keys[row, 0], values[row, 0]]))
    assert (cache != batch.UNWRITTEN).any(dim=-1).sum() == 5
