"""The served model's virtual positions; the angles are tested with the whole model."""

import pytest
import torch
from tiny_models import tiny_config
from vllm.config import VllmConfig, set_current_vllm_config

from model_adapters.vllm.rotary import VirtualRotaryEmbedding


def rotary(rope: str) -> VirtualRotaryEmbedding:
    with set_current_vllm_config(VllmConfig()):
        config = tiny_config(num_pseudo_heads=3, pseudo_rope=rope)
        return VirtualRotaryEmbedding(config, 8, torch.float32)


@pytest.mark.parametrize(
    ("rope", "want", "rows"),
    [("virtual", [6, 7, 8, 15, 16, 17], 24), ("token", [2, 2, 2, 5, 5, 5], 8)],
)
def test_a_token_has_p_positions(rope: str, want: list[int], rows: int) -> None:
    """And the table reaches the last token's last one."""
    made = rotary(rope)
    assert made.virtual_positions(torch.tensor([2, 5])).tolist() == want
    assert len(made.cos_sin_cache) == rows


def test_layers_of_a_step_share_positions_and_steps_do_not() -> None:
    """The next step may write new positions into the same memory, even into the same object."""
    made, positions = rotary("virtual"), torch.tensor([2, 5])
    first = made.virtual_positions(positions)
    assert made.virtual_positions(positions) is first
    positions += 1
    made.begin_step()
    assert made.virtual_positions(positions).tolist() == [9, 10, 11, 18, 19, 20]
    assert made.virtual_positions(positions.clone()) is not first
