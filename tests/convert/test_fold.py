"""IHA to plain: the same function, or a refusal that names the layer and the reason."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from plain_models import exact_logits, plain_config, save_plain, stored
from safetensors.torch import save_file

from model_adapters import IHAConfig, IHALlamaForCausalLM
from model_adapters.checkpoint import SINGLE
from model_adapters.convert import ConversionError, Recipe, to_llama, to_plain, upcycle

# Each example writes folders: shrinking one would take minutes.
FEW = settings(
    max_examples=4, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate]
)


def iha(folder: Path, recipe: Recipe, **shape: Any) -> Path:
    """An IHA checkpoint in float64, with noise in every mixing tensor if the recipe says so."""
    base = save_plain(folder / "base", dtype=torch.float64, **shape)
    upcycle(base, folder / "iha", recipe)
    return folder / "iha"


def edit(folder: Path, **changes: torch.Tensor) -> None:
    """Put tensors into layer 1."""
    weights = stored(folder)
    for name, tensor in changes.items():
        weights[f"model.layers.1.self_attn.{name}"] = tensor.double().contiguous()
    save_file(weights, folder / SINGLE, metadata={"format": "pt"})


@given(
    groups=st.integers(1, 3),
    per_group=st.integers(1, 3),
    bias=st.booleans(),
    sharded=st.booleans(),
    init=st.sampled_from(["noisy", "paper"]),
)
@FEW
def test_one_pseudo_head_folds_into_the_projections(
    groups: int,
    per_group: int,
    bias: bool,
    sharded: bool,
    init: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Whatever the alphas, with either rotary embedding, as mixing comes before rotation."""
    folder = tmp_path_factory.mktemp("fold")
    heads = groups * per_group
    shape = {
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "hidden_size": 4 * heads,
        "num_hidden_layers": 2,
        "attention_bias": bias,
        "shard": "30KB" if sharded else "1GB",
    }
    source = iha(folder, Recipe(1, "all", init=init, noise=0.7, seed=heads), **shape)
    made = to_llama(source, folder / "plain")
    wanted = exact_logits(source)
    assert (wanted - exact_logits(folder / "base")).abs().max() > 1e-3
    torch.testing.assert_close(exact_logits(folder / "plain"), wanted, atol=1e-10, rtol=0)
    assert "the mixing of 2 layers went into their projections" in made.notes[0]
    assert made.facts == {"layers": "2 plain, 2 of them IHA before"}


def test_more_pseudo_heads_fold_while_keys_are_alike_and_the_last_is_taken(tmp_path: Path) -> None:
    """Queries of the last, values as their mean; other queries are never read."""
    source = iha(tmp_path, Recipe(3))
    torch.manual_seed(1)
    last = torch.zeros(4, 4, 3)
    last[..., -1] = torch.randn(4, 4)
    edit(
        source,
        alpha_q=torch.randn(4, 4, 3),
        alpha_k=torch.randn(2, 2, 1).expand(2, 2, 3),
        alpha_v=torch.randn(2, 2, 3),
        collapse=last.flatten(1),
    )
    made = to_llama(source, tmp_path / "plain")
    wanted = exact_logits(source)
    torch.testing.assert_close(exact_logits(tmp_path / "plain"), wanted, atol=1e-10, rtol=0)
    assert "the mixing of 1 layers" in made.notes[0]


def test_unmixed_weights_stay_to_the_bit_and_shards_of_mixing_alone_go(tmp_path: Path) -> None:
    source = iha(tmp_path, Recipe(2))
    weights = stored(source)
    mixing = {k: weights.pop(k) for k in list(weights) if "alpha" in k or "collapse" in k}
    parts = {
        "model-00001-of-00002.safetensors": weights,
        "model-00002-of-00002.safetensors": mixing,
    }
    (source / SINGLE).unlink()
    for name, tensors in parts.items():
        save_file(tensors, source / name)
    places = {key: name for name, tensors in parts.items() for key in tensors}
    (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    made = to_llama(source, tmp_path / "plain")
    files = {file.name for file in (tmp_path / "plain").glob("*.safetensors")}
    assert files == {"model-00001-of-00002.safetensors"}
    before = stored(tmp_path / "base")
    after = stored(tmp_path / "plain")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert made.notes[0].startswith("no projection was changed")


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (Recipe(2, "full,iha_sliding"), ["layer 1", "'iha_sliding' with a window of 32 tokens"]),
        (Recipe(1, "full*2,sliding"), ["layer 2", "'sliding' with a window of 128 tokens"]),
        (Recipe(2, init="paper"), ["layer 0", "pseudo_rope is 'virtual'", "2 pseudo-heads"]),
        (Recipe(2, "full,iha_global", init="noisy"), ["layer 1", "alpha_k differs"]),
    ],
    ids=["windowed IHA", "windowed plain", "virtual", "trained keys"],
)
def test_what_has_no_plain_form(recipe: Recipe, words: list[str], tmp_path: Path) -> None:
    source = iha(tmp_path, recipe)
    with pytest.raises(ConversionError) as caught:
        to_llama(source, tmp_path / "plain")
    assert all(word in str(caught.value) for word in [*words, "has no plain form"])
    assert {path.name for path in tmp_path.iterdir()} == {"base", "iha"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"iha_window": [8, None]}, r"layer 0 .* iha_window is a list, where olmo3 has one width"),
        (
            {"iha_window": None, "iha_window_virtual": 9},
            r"layer 0 .* counted in virtual tokens \(iha_window_virtual\)",
        ),
    ],
)
def test_a_base_with_windows_does_not_have_all_kinds(
    fields: dict[str, Any], words: str, tmp_path: Path
) -> None:
    own = {
        "num_pseudo_heads": 1,
        "iha_layer_types": ["iha_sliding", "iha_global"],
        "iha_window": 8,
        "qk_norm": "projection_before_mixing",
        "qk_norm_weight": "projection",
        "block_norm": "after",
    }
    stated = plain_config(num_hidden_layers=2).to_dict() | {"model_type": "iha_llama"}
    IHALlamaForCausalLM(IHAConfig(**stated | own | fields)).save_pretrained(tmp_path / "iha")
    with pytest.raises(ConversionError, match=words):
        to_plain(tmp_path / "iha", tmp_path / "plain")


def test_a_collapse_of_other_pseudo_heads_has_no_plain_form(tmp_path: Path) -> None:
    source = iha(tmp_path, Recipe(2))
    edit(source, collapse=torch.eye(4).repeat_interleave(2, dim=1) / 2)
    with pytest.raises(ConversionError, match=r"layer 1 .* more than the last pseudo-head"):
        to_llama(source, tmp_path / "plain")


def test_plain_layers_need_no_folding(tmp_path: Path) -> None:
    """A model whose IHA layers are none is plain in all but name, virtual positions or not."""
    source = iha(tmp_path, Recipe(2, "full", init="paper"))
    to_llama(source, tmp_path / "plain")
    assert (tmp_path / "plain" / SINGLE).read_bytes() == (tmp_path / "base" / SINGLE).read_bytes()


def test_a_plain_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="plain already"):
        to_llama(save_plain(tmp_path / "base"), tmp_path / "plain")
