"""A foreign state dict becomes the checkpoint it was made of, or is refused."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from plain_models import plain_config, same_tensors, save_plain, stored
from safetensors.torch import save_file

from model_adapters import AdapterError, checkpoint
from model_adapters.convert import (
    ConversionError,
    MapMixing,
    NameMap,
    Recipe,
    Rule,
    StateDictMap,
    from_state_dict,
    upcycle,
)

# Each example writes folders: shrinking one would take minutes.
FEW = settings(
    max_examples=5, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate]
)
LAYER = "model.layers.{layer}."
PLAIN = (
    Rule("wte", "model.embed_tokens.weight"),
    Rule("ln", "model.norm.weight"),
    Rule("{layer}.ln_in", f"{LAYER}input_layernorm.weight"),
    Rule("{layer}.ln_post", f"{LAYER}post_attention_layernorm.weight"),
)
HEAD = Rule("out", "lm_head.weight")


def iha(folder: Path, **shape: Any) -> Path:
    """A checkpoint of both kinds of layers, or of one IHA layer."""
    base = save_plain(folder / "base", **shape)
    one = shape["num_hidden_layers"] == 1
    upcycle(base, folder / "iha", Recipe(3, "iha_global" if one else "full,iha_global"))
    return folder / "iha"


class Scrambled:
    """A state dict of foreign layout, and the map that undoes it.

    Args:
        weights: ours.
        shape: G, H, d and so on.
        style: what is done to them.
    """

    def __init__(
        self, weights: dict[str, torch.Tensor], shape: dict[str, Any], style: dict[str, Any]
    ) -> None:
        self.shape, self.style = shape, style
        self.tensors: dict[str, torch.Tensor] = {}
        flip = style["transpose"]
        mlp = Rule("{layer}.mlp.{kind}", f"{LAYER}mlp.{{kind}}_proj.weight", transpose=flip)
        stack = Rule(
            "{layer}.gu", f"{LAYER}mlp.{{part}}_proj.weight", split=("up", "gate"), transpose=flip
        )
        rules = [
            *PLAIN,
            Rule(
                "{layer}.qkv",
                f"{LAYER}self_attn.{{part}}_proj.weight",
                split=style["parts"],
                grouped=style["grouped"],
                rope=style["rope"],
                transpose=flip,
            ),
            Rule("{layer}.o", f"{LAYER}self_attn.o_proj.weight", transpose=flip),
            mlp,
            stack,
        ]
        self._simple(weights)
        for layer in range(shape["num_hidden_layers"]):
            self._layer(weights, layer)
        if any("alpha" in name for name in weights):
            order = style["axes"]
            rules += [
                Rule("{layer}.{kind}_mix", f"{LAYER}self_attn.alpha_{{kind}}", axes=order),
                Rule("{layer}.r", f"{LAYER}self_attn.collapse", axes=f"({order})"),
            ]
        rules += [HEAD] * ("out" in self.tensors)
        self.tensors["freqs"] = torch.ones(2)
        self.names = NameMap(
            tuple(rules), ignore=("fr*",), strip_prefix=("m.",), first_layer=style["first"]
        )

    def _put(self, name: str, tensor: torch.Tensor) -> None:
        self.tensors[f"m.m.{name}"] = tensor.contiguous()

    def _simple(self, weights: dict[str, torch.Tensor]) -> None:
        self._put("wte", weights["model.embed_tokens.weight"])
        self._put("ln", weights["model.norm.weight"])
        if self.style["keep_head"] or not self.shape["tie_word_embeddings"]:
            head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
            self.tensors["out"] = head.clone()

    def _layer(self, weights: dict[str, torch.Tensor], layer: int) -> None:
        held = {
            name.removeprefix(f"model.layers.{layer}."): tensor
            for name, tensor in weights.items()
            if name.startswith(f"model.layers.{layer}.")
        }
        at = layer + self.style["first"]
        self._put(f"{at}.ln_in", held["input_layernorm.weight"])
        self._put(f"{at}.ln_post", held["post_attention_layernorm.weight"])
        self._put(f"{at}.qkv", self._flipped(self._stacked(held)))
        self._put(f"{at}.o", self._flipped(held["self_attn.o_proj.weight"]))
        both = torch.cat([held["mlp.up_proj.weight"], held["mlp.gate_proj.weight"]])
        self._put(f"{at}.gu", self._flipped(both))
        self._put(f"{at}.mlp.down", self._flipped(held["mlp.down_proj.weight"]))
        for kind in "qkv":
            if (alpha := held.get(f"self_attn.alpha_{kind}")) is not None:
                order = [("m", "h", "p").index(letter) for letter in self.style["axes"]]
                self._put(f"{at}.{kind}_mix", alpha.permute(order))
        if (collapse := held.get("self_attn.collapse")) is not None:
            order = [("h", "m", "p").index(letter) for letter in self.style["axes"]]
            cube = collapse.reshape(len(collapse), len(collapse), -1)
            self._put(f"{at}.r", cube.permute(order).flatten())

    def _flipped(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.T if self.style["transpose"] else tensor

    def _stacked(self, held: dict[str, torch.Tensor]) -> torch.Tensor:
        width, groups = self.shape["head_dim"], self.shape["num_key_value_heads"]
        parts = {}
        for part in "qkv":
            heads = held[f"self_attn.{part}_proj.weight"].unflatten(0, (-1, width))
            if self.style["rope"] == "pairs" and part != "v":
                order = [i // 2 + i % 2 * (width // 2) for i in range(width)]
                heads = heads[:, order]
            parts[part] = heads
        if not self.style["grouped"]:
            return torch.cat([parts[part].flatten(0, 1) for part in self.style["parts"]])
        per = {part: len(heads) // groups for part, heads in parts.items()}
        rows = [
            parts[part][group * per[part] : (group + 1) * per[part]].flatten(0, 1)
            for group in range(groups)
            for part in self.style["parts"]
        ]
        return torch.cat(rows)


STYLES = st.fixed_dictionaries(
    {
        "transpose": st.booleans(),
        "parts": st.permutations("qkv").map(tuple),
        "grouped": st.booleans(),
        "rope": st.sampled_from(["halves", "pairs"]),
        "axes": st.permutations("mhp").map("".join),
        "first": st.integers(0, 1),
        "keep_head": st.booleans(),
    }
)
SHAPES = st.builds(
    lambda groups, per, layers, tied, width: {
        "num_key_value_heads": groups,
        "num_attention_heads": groups * per,
        "hidden_size": 4 * groups * per,
        "head_dim": width,
        "num_hidden_layers": layers,
        "tie_word_embeddings": tied,
    },
    *[st.integers(1, 3)] * 3,
    st.booleans(),
    st.sampled_from([2, 6, 8]),
)


@given(shape=SHAPES, style=STYLES, pickled=st.booleans(), sharded=st.booleans())
@FEW
def test_a_scrambled_checkpoint_comes_back_to_the_bit(
    shape: dict[str, Any],
    style: dict[str, Any],
    pickled: bool,
    sharded: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("foreign")
    source = iha(folder, **shape)
    torch.manual_seed(0)
    weights = {name: torch.randn(tensor.shape) for name, tensor in stored(source).items()}
    scrambled = Scrambled(weights, shape, style)
    if pickled:
        torch.save(scrambled.tensors, file := folder / "a.pt")
    else:
        save_file(scrambled.tensors, file := folder / "a.safetensors")
    plan = StateDictMap(scrambled.names)
    size = 9_000 if sharded else 10**9
    made = from_state_dict(file, source, folder / "out", plan, shard_bytes=size)
    assert same_tensors(stored(folder / "out"), weights)
    config = json.loads((folder / "out" / "config.json").read_text())
    assert config == json.loads((source / "config.json").read_text())
    assert len(list((folder / "out").glob("*.safetensors"))) == 1 or sharded
    moved = [row for row in made.moves if row[1] != "-"]
    assert {target for _, target, _ in moved} == weights.keys()
    assert {name for name, _, _ in made.moves} == set(scrambled.tensors)


def simple(folder: Path, **shape: Any) -> tuple[dict[str, torch.Tensor], Path]:
    """Tensors of a small checkpoint of two IHA layers under our names, and its folder."""
    base = save_plain(folder / "base", num_hidden_layers=2, **shape)
    upcycle(base, folder / "iha", Recipe(2, init="noisy"))
    return stored(folder / "iha"), folder / "iha"


SAME = NameMap((), same_names=True)


def convert(folder: Path, tensors: dict[str, torch.Tensor], shape: Path, **options: Any) -> Any:
    torch.save(tensors, folder / "a.pt")
    plan = StateDictMap(**{"names": SAME, "orientation": "source-destination"} | options)
    return from_state_dict(folder / "a.pt", shape, folder / "out", plan)


@pytest.mark.parametrize("as_file", [True, False], ids=["file", "folder"])
def test_a_plain_shape_and_what_it_lacks(as_file: bool, tmp_path: Path) -> None:
    """Schedule, window and the rest come from the map, and the type from the weights."""
    tensors, _ = simple(tmp_path)
    (tmp_path / "base" / "LICENSE").write_text("terms")
    shape = tmp_path / "base" / "config.json" if as_file else tmp_path / "base"
    mixing = MapMixing(2, "virtual", "iha_sliding,iha_global", train_length=64)
    halved = {name: tensor.bfloat16() for name, tensor in tensors.items()}
    told: list[tuple[str, int, int]] = []
    torch.save(halved, tmp_path / "a.pt")
    made = from_state_dict(
        tmp_path / "a.pt",
        shape,
        tmp_path / "out",
        StateDictMap(SAME, mixing=mixing, orientation="source-destination"),
        progress=lambda *all_of_it: told.append(all_of_it),
    )
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["iha_layer_types"] == ["iha_sliding", "iha_global"]
    assert (config["iha_window"], config["pseudo_rope"], config["dtype"]) == (
        8,
        "virtual",
        "bfloat16",
    )
    assert made.copied == ["LICENSE", "generation_config.json"]
    size = 2 * made.made.num_parameters
    whole = (tmp_path / "out" / checkpoint.SINGLE).stat().st_size
    assert told == [("writing", 0, size), ("writing", size, size), ("reading back", 0, whole)]
    assert made.made.fingerprint == checkpoint.read(tmp_path / "out").fingerprint
    note = json.loads((tmp_path / "out" / "iha_conversion.json").read_text())
    assert note["conversion"] == "from-state-dict"
    assert [tuple(row) for row in note["options"]["moves"]] == made.moves


def test_shards_are_counted_in_the_index(tmp_path: Path) -> None:
    tensors, shape = simple(tmp_path)
    torch.save(tensors, tmp_path / "a.pt")
    made = from_state_dict(
        tmp_path / "a.pt",
        shape,
        tmp_path / "out",
        StateDictMap(SAME, orientation="source-destination"),
        shard_bytes=9000,
    )
    sums = json.loads((tmp_path / "out" / checkpoint.INDEX).read_text())["metadata"]
    count = made.made.num_parameters
    assert sums == {"total_size": 4 * count, "total_parameters": count}
    for file in (tmp_path / "out").glob("*.safetensors"):
        assert file.stat().st_size < 12_000


def test_a_tied_output_is_stored_once_and_told(tmp_path: Path) -> None:
    tensors, shape = simple(tmp_path, tie_word_embeddings=True)
    made = convert(
        tmp_path, tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"]}, shape
    )
    row = ("lm_head.weight", "-", "the same as model.embed_tokens.weight, not stored twice")
    assert row in made.moves
    assert "lm_head.weight" not in stored(tmp_path / "out")


QUERY = "model.layers.1.self_attn.q_proj.weight"
ALPHA = "model.layers.1.self_attn.alpha_q"
COLLAPSE = "model.layers.1.self_attn.collapse"
Tensors = dict[str, torch.Tensor]
BAD: dict[str, tuple[Callable[[Tensors], object], tuple[Rule, ...], str]] = {
    "missing": (lambda t: t.pop(QUERY), (), f"nothing becomes {QUERY}"),
    "not mapped": (lambda t: t.update(x=torch.ones(1)), (), "no rule fits x"),
    "whole numbers": (
        lambda t: t.update({QUERY: torch.ones(32, 32).int()}),
        (),
        f"{QUERY} is of type int32",
    ),
    "other shape": (
        lambda t: t.update({QUERY: torch.ones(32, 30)}),
        (),
        r"\[32, 30\], but the configuration asks for \[32, 32\]: mend the map",
    ),
    "not transposed": (
        lambda t: t.update({"model.layers.1.mlp.up_proj.weight": torch.ones(32, 48)}),
        (),
        "set transpose: true",
    ),
    "cannot be transposed": (
        lambda t: t.update(w=t.pop(QUERY)[None]),
        (Rule("w", QUERY, transpose=True),),
        r"w: it has shape \[1, 32, 32\], and transpose needs two axes",
    ),
    "collapse without axes": (
        lambda t: t.update(w=t.pop(COLLAPSE)),
        (Rule("w", COLLAPSE),),
        f"which way round w lies, which becomes {COLLAPSE}: add a rule with axes",
    ),
    "alpha of another shape": (
        lambda t: t.update(w=t.pop(ALPHA)),
        (Rule("w", ALPHA, axes="hpm"),),
        r"w: it has shape \[4, 4, 2\], but axes 'hpm'",
    ),
    "axes for a projection": (
        lambda t: t.update(w=t.pop(QUERY)),
        (Rule("w", QUERY, axes="mhp"),),
        "has axes, but .* is no alpha",
    ),
    "stack of another size": (
        lambda t: t.update(w=torch.cat([t.pop(QUERY.replace("q_", f"{p}_")) for p in "qk"])),
        (Rule("w", QUERY.replace("q_", "{part}_"), split=("q", "k", "v")),),
        r"q 32 \+ k 16 \+ v 16 asks for 64 outputs",
    ),
    "heads of another width": (
        lambda t: t.update(w=t.pop(QUERY)[:30]),
        (Rule("w", QUERY, rope="pairs"),),
        "not a multiple of the head's width 8",
    ),
    "sparse": (
        lambda t: t.update({QUERY: t[QUERY].to_sparse()}),
        (),
        f"{QUERY} is a sparse_coo tensor, and only ordinary ones",
    ),
    "without values": (
        lambda t: t.update({QUERY: t[QUERY].to("meta")}),
        (),
        f"{QUERY} is a meta .* tensor",
    ),
    "not a number": (lambda t: t[ALPHA].fill_(float("nan")), (), "out: .*alpha_q has 32 values"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_state_dict_that_does_not_fit(name: str, tmp_path: Path) -> None:
    change, rules, words = BAD[name]
    tensors, shape = simple(tmp_path)
    change(tensors)
    if name == "stack of another size":
        tensors.pop(QUERY.replace("q_", "v_"))
    with pytest.raises(ConversionError, match=words):
        convert(tmp_path, tensors, shape, names=NameMap(rules, same_names=True))
    assert {path.name for path in tmp_path.iterdir()} == {"base", "iha", "a.pt"}


@pytest.mark.parametrize("pseudo", [1, 2])
def test_an_alpha_that_could_be_transposed_is_refused(pseudo: int, tmp_path: Path) -> None:
    """Unless it is said which way round it lies, or both are the same."""
    base = save_plain(tmp_path / "base", num_hidden_layers=2)
    upcycle(base, tmp_path / "iha", Recipe(pseudo, init="noisy"))
    tensors, shape = stored(tmp_path / "iha"), tmp_path / "iha"
    if pseudo == 1:
        # As much of a collapse of one pseudo-head as can be told.
        tensors |= {name: t.diag().diag() for name, t in tensors.items() if "collapse" in name}
    turned = {
        name: tensor.transpose(0, 1) if "alpha" in name else tensor
        for name, tensor in tensors.items()
    }
    with pytest.raises(ConversionError, match=r"nothing says which way round .*alpha_q lies"):
        convert(tmp_path, turned, shape, orientation=None)
    renamed = {name.replace("alpha_q", "q_mix"): t.squeeze(-1) for name, t in turned.items()}
    rule = Rule("model.layers.{layer}.self_attn.q_mix", ALPHA.replace("1", "{layer}"))
    names = NameMap((rule,), same_names=True)
    with pytest.raises(ConversionError, match=r"nothing says which way round .*q_mix lies"):
        convert(tmp_path, renamed, shape, names=names, orientation=None)
    twice = NameMap((replace(rule, transpose=True),), same_names=True)
    with pytest.raises(ConversionError, match="has transpose, and --orientation says the same"):
        convert(tmp_path, renamed, shape, names=twice, orientation="destination-source")
    convert(tmp_path, renamed, shape, names=names, orientation="destination-source")
    made = stored(tmp_path / "out")
    assert all(torch.equal(made[name], tensor) for name, tensor in tensors.items())
    shutil.rmtree(tmp_path / "out")
    alike = {n: t + t.transpose(0, 1) if "alpha" in n else t for n, t in tensors.items()}
    convert(tmp_path, alike, shape, orientation=None)
    made = stored(tmp_path / "out")
    assert all(torch.equal(made[name], tensor) for name, tensor in alike.items())


def test_a_square_collapse_that_could_be_transposed_is_refused(tmp_path: Path) -> None:
    base = save_plain(tmp_path / "base", num_hidden_layers=2)
    upcycle(base, tmp_path / "iha", Recipe(1))
    tensors = stored(tmp_path / "iha")
    tensors[COLLAPSE] = torch.arange(16.0).view(4, 4)
    with pytest.raises(ConversionError, match=r"nothing says which way round .*collapse lies"):
        convert(tmp_path, tensors, tmp_path / "iha")
    names = NameMap((Rule(COLLAPSE, COLLAPSE, axes="h(mp)"),), same_names=True)
    convert(tmp_path, tensors, tmp_path / "iha", names=names)
    assert torch.equal(stored(tmp_path / "out")[COLLAPSE], tensors[COLLAPSE])


def test_a_tied_output_that_differs(tmp_path: Path) -> None:
    tensors, shape = simple(tmp_path, tie_word_embeddings=True)
    other = {"lm_head.weight": tensors["model.embed_tokens.weight"] + 1}
    with pytest.raises(ConversionError, match=r"lm_head\.weight differs .* set it to false"):
        convert(tmp_path, tensors | other, shape)


@pytest.mark.parametrize(
    ("plain", "mixing", "words"),
    [
        (True, None, "add iha with pseudo_heads"),
        (False, MapMixing(2, "token"), "remove iha from the map"),
        (True, MapMixing(2, "tokens"), "pseudo_rope is 'tokens'"),
        (True, MapMixing(2, "token", "4:1"), "has 2"),
    ],
    ids=["not said", "said twice", "rope", "schedule"],
)
def test_a_shape_and_a_map_that_do_not_go_together(
    plain: bool, mixing: MapMixing | None, words: str, tmp_path: Path
) -> None:
    tensors, shape = simple(tmp_path)
    with pytest.raises(AdapterError, match=words):
        convert(tmp_path, tensors, tmp_path / "base" if plain else shape, mixing=mixing)


def test_shapes_that_are_none(tmp_path: Path) -> None:
    tensors, shape = simple(tmp_path)
    other = tmp_path / "small.json"
    other.write_text(json.dumps(plain_config().to_dict()))
    with pytest.raises(ConversionError, match=r"small\.json is not called config\.json"):
        convert(tmp_path, tensors, other)
    file = shape / "config.json"
    raw = json.loads(file.read_text()) | {"quantization_config": {"quant_method": "fp8"}}
    file.write_text(json.dumps(raw))
    with pytest.raises(ConversionError, match="quantization_config, and a state dict holds plain"):
        convert(tmp_path, tensors, shape)
