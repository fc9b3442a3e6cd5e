"""Map files: read key by key, the example among them."""

import json
from pathlib import Path

import pytest
import torch
from plain_models import same_tensors, save_plain, stored
from safetensors.torch import save_file

from iha_eval.cli._convert_map import read_map
from iha_eval.errors import UserError
from model_adapters.convert import MapMixing, NameMap, Recipe, Rule, StateDictMap, upcycle
from model_adapters.convert.foreign import from_state_dict

EXAMPLE = Path(__file__).parents[2] / "examples" / "map.yaml"


def read(folder: Path, text: str) -> StateDictMap:
    (folder / "map.yaml").write_text(text)
    return read_map(folder / "map.yaml")[0]


def test_every_key(tmp_path: Path) -> None:
    text = """
inside: [state, model]
strip_prefix: module.
first_layer: 1
same_names: true
iha: {pseudo_heads: 2, pseudo_rope: token, schedule: "4:1", window: 8, train_length: 64}
tensors:
  - {from: a, to: b, transpose: true, split: [q, k, v], grouped: true, rope: pairs}
  - {regex: c, to: d, axes: hp}
ignore: ["x*", y]
"""
    assert read(tmp_path, text) == StateDictMap(
        names=NameMap(
            rules=(
                Rule("a", "b", transpose=True, split=("q", "k", "v"), grouped=True, rope="pairs"),
                Rule("c", "d", regex=True, axes="hp"),
            ),
            ignore=("x*", "y"),
            strip_prefix=("module.",),
            first_layer=1,
            same_names=True,
        ),
        inside=("state", "model"),
        mixing=MapMixing(2, "token", "4:1", window=8, train_length=64),
    )


def test_what_need_not_be_said(tmp_path: Path) -> None:
    assert read(tmp_path, "same_names: true") == StateDictMap(NameMap((), same_names=True))
    made = read(tmp_path, "tensors: [{from: a, to: b}]\niha: {pseudo_heads: 1, pseudo_rope: token}")
    assert made == StateDictMap(NameMap((Rule("a", "b"),)), mixing=MapMixing(1, "token"))


@pytest.mark.parametrize(
    ("line", "shape"),
    [
        ("", None),
        ("config: ../shape", "../shape"),
        ("config: /shape/config.json", "/shape/config.json"),
    ],
    ids=["not said", "beside the map", "anywhere"],
)
def test_the_shape_that_a_map_names(line: str, shape: str | None, tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text(f"same_names: true\n{line}")
    assert read_map(tmp_path / "map.yaml")[1] == (shape and tmp_path / shape)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("same_names: true\nconfig: [a]", "config is .* write the path of a config.json"),
        ("tensor: []", "map.yaml: tensor is not a setting: did you mean 'tensors'?"),
        ("[]", "give a mapping of config, inside"),
        ("tensors: []\ntensors: []", "the key 'tensors' stands there twice"),
        ("{}", "tensors is empty: write a list of rules"),
        ("tensors: {a: b}", "write a list of rules"),
        ("tensors: [{from: a, to: b, axis: hp}]", r"tensors\[0\].axis .* did you mean 'axes'?"),
        ("tensors: [a]", r"tensors\[0\] is 'a': give a mapping of from"),
        ("tensors: [{to: b}]", r"tensors\[0\] has to have one of from and regex"),
        ("tensors: [{from: a, regex: a, to: b}]", "one of from and regex"),
        ("tensors: [{from: a}]", "to is missing: write our name"),
        ("tensors: [{from: a, to: b, split: [q, q]}]", "each of q, k, v, gate and up at most once"),
        ("tensors: [{from: a, to: b, split: [q, o]}]", "each of q, k, v, gate and up at most once"),
        (
            "tensors: [{from: a, to: b, split: [q, k], grouped: true}]",
            "only q, k and v together are stacked per group",
        ),
        ("tensors: [{from: a, to: b, grouped: true}]", "split is empty: only q, k and v"),
        ("tensors: [{from: a, to: b, rope: whole}]", "rope is 'whole': write halves or pairs"),
        ("tensors: [{from: a, to: b, axes: hx}]", "axes: axes 'hx' is no order of axes"),
        ("tensors: [{from: a, to: b, transpose: 1}]", "transpose is 1: write true or false"),
        ("same_names: true\nfirst_layer: -1", "first_layer is -1: .* at least 0"),
        ("same_names: true\nfirst_layer: true", "first_layer is True: .* whole number"),
        ("same_names: true\niha: {pseudo_rope: token}", "iha.pseudo_heads is missing"),
        ("same_names: true\niha: {pseudo_heads: 0, pseudo_rope: token}", "at least 1"),
        ("same_names: true\niha: {pseudo_heads: 2}", "iha.pseudo_rope is missing"),
        (
            "same_names: true\niha: {pseudo_heads: 2, pseudo_rope: token, schedule: 4:1}",
            "schedule is 241: write it in quotes",
        ),
    ],
)
def test_a_map_that_cannot_be_meant(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        read(tmp_path, text)


def test_no_map(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"map\.yaml is not there: .* examples/map\.yaml"):
        read_map(tmp_path / "map.yaml")


def foreign(ours: dict[str, torch.Tensor], layers: int) -> dict[str, torch.Tensor]:
    """A state dict as the example describes it, H = 4, G = 2, d = 8, P = 2."""

    def pairs(weight: torch.Tensor) -> torch.Tensor:
        return torch.stack([weight.unflatten(0, (-1, 2, 4))[:, i] for i in (0, 1)], 2).flatten(0, 2)

    made = {
        "tok_embeddings.weight": ours["model.embed_tokens.weight"],
        "output.weight": ours["lm_head.weight"],
        "norm.weight": ours["model.norm.weight"],
    }
    for layer in range(layers):
        ln, name = f"model.layers.{layer}.", f"module.blocks.{layer}."
        made[f"{name}norm1.weight"] = ours[f"{ln}input_layernorm.weight"]
        made[f"{name}norm2.weight"] = ours[f"{ln}post_attention_layernorm.weight"]
        query, key, value = (ours[f"{ln}self_attn.{part}_proj.weight"] for part in "qkv")
        made[f"{name}attn.qkv.weight"] = torch.cat([pairs(query), pairs(key), value])
        made[f"{name}attn.out.weight"] = ours[f"{ln}self_attn.o_proj.weight"]
        made[f"{name}rope.freqs"] = torch.ones(4)
        for kind in ("gate", "up", "down"):
            made[f"{name}mlp.{kind}"] = ours[f"{ln}mlp.{kind}_proj.weight"].T.contiguous()
        if f"{ln}self_attn.alpha_q" in ours:
            for kind in "qkv":
                alpha = ours[f"{ln}self_attn.alpha_{kind}"]
                made[f"{name}attn.mix_{kind}"] = alpha.permute(1, 2, 0).contiguous()
            diagonal = ours[f"{ln}self_attn.collapse"].unflatten(1, (4, 2)).diagonal(dim1=0, dim2=1)
            made[f"{name}attn.merge"] = diagonal.T.contiguous()
    return made


def test_the_example_converts_what_it_describes(tmp_path: Path) -> None:
    save_plain(tmp_path / "base", num_hidden_layers=5, max_position_embeddings=8192)
    upcycle(tmp_path / "base", tmp_path / "iha", Recipe(2, "4:1", init="paper"))
    torch.manual_seed(0)
    wanted = {name: torch.randn(tensor.shape) for name, tensor in stored(tmp_path / "iha").items()}
    heads = torch.arange(4)
    for name in wanted:
        if name.endswith("collapse"):
            full = torch.zeros(4, 4, 2)
            full[heads, heads] = torch.randn(4, 2)
            wanted[name] = full.flatten(1)
    save_file(foreign(wanted, 5), tmp_path / "model.safetensors")
    plan, _ = read_map(EXAMPLE)
    from_state_dict(tmp_path / "model.safetensors", tmp_path / "base", tmp_path / "out", plan)
    assert same_tensors(stored(tmp_path / "out"), wanted)
    made, like = (
        json.loads((tmp_path / name / "config.json").read_text()) for name in ("out", "iha")
    )
    assert made == like
