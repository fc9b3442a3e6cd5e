"""Reading the four tensors of each IHA layer, whatever files they are in."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import MIXED, tiny_model

from model_adapters import CheckpointError
from model_adapters.inspection import magnitudes, read_layers

PLACE = "model.layers.0.self_attn."


def test_iha_layers_of_a_sharded_checkpoint_in_order(tmp_path: Path) -> None:
    kinds = ["full", *["iha_global"] * 11]
    model = tiny_model(kinds).bfloat16()
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 3
    (tmp_path / "consolidated.safetensors").write_bytes(b"passed over, as loaders do")
    found = read_layers(tmp_path)
    # By number, not by name: 10 comes after 9.
    assert [layer.layer for layer in found] == list(range(1, 12))
    for layer in found:
        attention = model.model.layers[layer.layer].self_attn
        assert layer.pseudo_heads == 2
        for name, alpha in layer.alphas.items():
            assert torch.equal(alpha, getattr(attention, name).double())
        assert torch.equal(layer.collapse, attention.collapse.double())


def test_a_plain_checkpoint_has_none(tmp_path: Path) -> None:
    tiny_model(["full"]).save_pretrained(tmp_path)
    assert read_layers(tmp_path) == []


def test_half_a_layer_is_named(tmp_path: Path) -> None:
    save_file({f"{PLACE}alpha_q": torch.zeros(2, 2, 1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="layer 0 lacks alpha_k, alpha_v, collapse: save"):
        read_layers(tmp_path)


def test_a_torn_file_is_named(tmp_path: Path) -> None:
    tiny_model(MIXED).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"model.safetensors is not a whole .* copy it again"):
        read_layers(tmp_path)


def test_magnitudes_leave_out_signs_and_the_axis_of_pseudo_heads() -> None:
    alpha = torch.tensor([[[3.0, -4.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 2.0]]])
    assert magnitudes(alpha) == [[3.536, 0.0], [1.0, 1.414]]
    collapse = torch.tensor([[1.0, -2.0, 0.0, 0.5], [0.0, 0.0, 0.0, 1 / 3]])
    assert magnitudes(collapse) == [[1.0, 2.0, 0.0, 0.5], [0.0, 0.0, 0.0, 0.3333]]
