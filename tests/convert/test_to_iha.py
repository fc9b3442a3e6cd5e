"""Plain to IHA: the function is kept where that is said, and so are all other bytes."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from plain_models import exact_logits, logits, same_tensors, save_plain, stored

from model_adapters import checkpoint
from model_adapters.convert import Outcome, Recipe, to_llama, upcycle
from model_adapters.layout import IHA_TENSORS

# Each example writes folders: shrinking one would take minutes.
FEW = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)
ROPES: list[dict[str, Any]] = [
    {"rope_type": "default", "rope_theta": 5000.0},
    {"rope_type": "linear", "rope_theta": 5000.0, "factor": 3.0},
    {
        "rope_type": "llama3",
        "rope_theta": 5000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
    {
        "rope_type": "yarn",
        "rope_theta": 5000.0,
        "factor": 4.0,
        "original_max_position_embeddings": 64,
    },
]


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, Any]:
    """What a base may look like; heads that share keys, heads wider than hidden / heads."""
    groups, per_group = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    heads = groups * per_group
    bias = draw(st.booleans())
    return {
        "num_key_value_heads": groups,
        "num_attention_heads": heads,
        "head_dim": draw(st.sampled_from([2, 4, 10])),
        "hidden_size": heads * draw(st.sampled_from([4, 6])),
        "num_hidden_layers": draw(st.integers(1, 4)),
        "tie_word_embeddings": draw(st.booleans()),
        "attention_bias": bias,
        "mlp_bias": bias,
        "rope_parameters": dict(draw(st.sampled_from(ROPES))),
        "shard": draw(st.sampled_from(["1GB", "30KB"])),
    }


@given(
    shape=shapes(),
    pseudo_heads=st.integers(1, 4),
    schedule=st.sampled_from(["all", "full,iha_global", "iha_global*2,full"]),
)
@FEW
def test_exact_keeps_the_function_and_the_way_back_every_byte(
    shape: dict[str, Any],
    pseudo_heads: int,
    schedule: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("exact")
    base = save_plain(folder / "base", **shape)
    layers = shape["num_hidden_layers"]
    pattern = ",".join((schedule.replace("all", "iha_global").split(","))[:layers])
    pattern = pattern if layers > 2 else "iha_global"
    upcycle(base, folder / "iha", Recipe(pseudo_heads, pattern))
    wanted, found = exact_logits(base), exact_logits(folder / "iha")
    assert wanted.std() > 0.1
    torch.testing.assert_close(found, wanted, atol=1e-10, rtol=0)
    torch.testing.assert_close(logits(folder / "iha"), logits(base), atol=1e-4, rtol=0)
    to_llama(folder / "iha", folder / "back")
    files = {file.name: file.read_bytes() for file in base.iterdir()}
    back = {file.name: file.read_bytes() for file in (folder / "back").iterdir()}
    assert "iha_conversion.json" in back
    assert {name: content for name, content in back.items() if name in files} == files
    assert len(back) == len(files) + 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_exact_in_the_types_models_come_in(dtype: torch.dtype, tmp_path: Path) -> None:
    """Alphas are of the base's type, and float32 arithmetic differs by rounding alone."""
    base = save_plain(tmp_path / "base", dtype=dtype)
    upcycle(base, tmp_path / "iha", Recipe(3))
    made = stored(tmp_path / "iha")
    assert {tensor.dtype for tensor in made.values()} == {dtype}
    plain = {name: tensor for name, tensor in made.items() if not name.endswith(IHA_TENSORS)}
    assert same_tensors(plain, stored(base))
    found, wanted = (logits(one) for one in (tmp_path / "iha", base))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def test_a_windowed_layer_keeps_the_function_up_to_its_window(tmp_path: Path) -> None:
    """And beyond it is the plain layer of the same window."""
    base = save_plain(tmp_path / "base")
    made = upcycle(base, tmp_path / "iha", Recipe(2, "iha_sliding*2,full", window=8))
    upcycle(base, tmp_path / "plain", Recipe(2, "sliding*2,full", window=8))
    wanted, found = exact_logits(base), exact_logits(tmp_path / "iha")
    torch.testing.assert_close(found[:8], wanted[:8], atol=1e-10, rtol=0)
    assert (found[8:] - wanted[8:]).abs().max() > 1e-3
    torch.testing.assert_close(found, exact_logits(tmp_path / "plain"), atol=1e-10, rtol=0)
    assert made.notes == [
        "init 'exact' keeps the base's function up to 8 tokens; beyond, the 2 windowed layers no "
        "longer see everything, and the model has to be trained."
    ]


@pytest.mark.parametrize(
    ("recipe", "rope", "note"),
    [
        (Recipe(2), "token", "keeps the base's function, up to rounding"),
        (Recipe(2, init="paper"), "virtual", "virtual positions and the mean"),
        (Recipe(2, init="noisy", noise=0.25), "token", "by noise of 0.25"),
    ],
    ids=["exact", "paper", "noisy"],
)
def test_the_other_starts_change_the_function_and_say_so(
    recipe: Recipe, rope: str, note: str, tmp_path: Path
) -> None:
    base = save_plain(tmp_path / "base")
    made = upcycle(base, tmp_path / "iha", recipe)
    config = json.loads((tmp_path / "iha" / "config.json").read_text())
    assert config["pseudo_rope"] == rope
    assert note in made.notes[0]
    changed = (logits(tmp_path / "iha") - logits(base)).abs().max() > 1e-3
    assert changed == (recipe.init != "exact")


def test_noise_does_not_depend_on_sharding(tmp_path: Path) -> None:
    one, many = (save_plain(tmp_path / size, shard=size) for size in ("1GB", "9KB"))
    for base in (one, many):
        upcycle(base, base.with_suffix(".iha"), Recipe(2, init="noisy", seed=3))
    made = [checkpoint.read(base.with_suffix(".iha")) for base in (one, many)]
    assert made[0].fingerprint == made[1].fingerprint
    upcycle(one, tmp_path / "other", Recipe(2, init="noisy", seed=4))
    assert checkpoint.read(tmp_path / "other").fingerprint != made[0].fingerprint


def test_a_hybrid_and_what_is_said_of_it(tmp_path: Path) -> None:
    base = save_plain(tmp_path / "base", num_hidden_layers=5)
    made = upcycle(base, tmp_path / "iha", Recipe(2, "4:1"))
    config = json.loads((tmp_path / "iha" / "config.json").read_text())
    assert config["iha_layer_types"] == ["iha_sliding"] * 4 + ["full"]
    assert config["iha_window"] == 32
    assert made.facts == {
        "layers": "4 iha_sliding, 1 full",
        "pseudo-heads": "2",
        "pseudo_rope": "token",
        "init": "exact",
        "window": "32 tokens = 256 / (2 * 2^2)",
    }
    # 4 layers of H^2 P + 2 G^2 P + H^2 P, H = 4, G = 2, P = 2.
    assert made.source is not None
    assert made.made.num_parameters - made.source.num_parameters == 4 * (32 + 16 + 32)
    given = upcycle(base, tmp_path / "given", Recipe(2, "4:1", window=3, init="paper", noise=0.1))
    assert given.facts["window"] == "3 tokens"
    assert given.facts["init"] == "paper, noise 0.1, seed 0"


def test_what_goes_along_and_what_stays(tmp_path: Path) -> None:
    base = save_plain(tmp_path / "base")
    going = ["LICENSE", "chat_template.jinja", "generation_config.json", "tokenizer.json"]
    staying = ["README.md", "optimizer.pt"]
    for name in [*going, *staying, ".gitattributes"]:
        (base / name).write_text(name)
    (base / "tokenizer_old").mkdir()
    made = upcycle(base, tmp_path / "iha", Recipe(2))
    assert made.copied == going
    assert made.left == ["README.md", "optimizer.pt", "tokenizer_old/"]
    names = {file.name for file in (tmp_path / "iha").iterdir()}
    assert names == {*going, "config.json", "model.safetensors", "iha_conversion.json"}
    assert (tmp_path / "iha" / "LICENSE").read_text() == "LICENSE"
    # As readable as any file, not only by its owner.
    modes = {file.stat().st_mode for file in (tmp_path / "iha").iterdir()}
    assert len(modes) == 1


def test_where_a_checkpoint_came_from_is_noted_and_no_part_of_it(tmp_path: Path) -> None:
    base = save_plain(tmp_path / "base")
    made = upcycle(base, tmp_path / "iha", Recipe(2))
    note = json.loads((tmp_path / "iha" / "iha_conversion.json").read_text())
    assert note["conversion"] == "upcycle"
    assert note["source"] == {"name": "base", "fingerprint": checkpoint.read(base).fingerprint}
    assert note["options"]["pseudo_heads"] == 2
    shutil.copytree(tmp_path / "iha", tmp_path / "bare")
    (tmp_path / "bare" / "iha_conversion.json").unlink()
    assert checkpoint.read(tmp_path / "bare").fingerprint == made.made.fingerprint
    assert made.made.path == tmp_path / "iha"


def test_the_index_counts_what_was_added(tmp_path: Path) -> None:
    base = save_plain(tmp_path / "base", shard="9KB")
    made: Outcome = upcycle(base, tmp_path / "iha", Recipe(2))
    index = json.loads((tmp_path / "iha" / checkpoint.INDEX).read_text())
    assert index["metadata"]["total_parameters"] == made.made.num_parameters
    assert index["metadata"]["total_size"] == 4 * made.made.num_parameters
    places = index["weight_map"]
    for layer in range(3):
        prefix = f"model.layers.{layer}.self_attn."
        homes = {places[f"{prefix}{name}"] for name in (*IHA_TENSORS, "q_proj.weight")}
        assert len(homes) == 1
    # Sums that a foreign index lacks are not made up.
    (base / checkpoint.INDEX).write_text(json.dumps({"weight_map": index["weight_map"]}))
    plain = {k: v for k, v in index["weight_map"].items() if not k.endswith(IHA_TENSORS)}
    (base / checkpoint.INDEX).write_text(json.dumps({"weight_map": plain}))
    upcycle(base, tmp_path / "again", Recipe(2))
    again = json.loads((tmp_path / "again" / checkpoint.INDEX).read_text())
    assert again == {"metadata": {}, "weight_map": places}


def test_phases_are_told_with_their_sizes_and_shards_as_they_are_written(tmp_path: Path) -> None:
    base = save_plain(tmp_path / "base", shard="9KB")
    for name, convert in (
        ("iha", lambda out, tell: upcycle(base, out, Recipe(2), progress=tell)),
        ("back", lambda out, tell: to_llama(tmp_path / "iha", out, progress=tell)),
    ):
        told: list[tuple[str, int, int]] = []
        source = base if name == "iha" else tmp_path / "iha"
        convert(tmp_path / name, lambda *what, told=told: told.append(what))
        files = sorted(source.glob("*.safetensors"))
        sizes = [file.stat().st_size for file in files]
        made = sum(file.stat().st_size for file in (tmp_path / name).glob("*.safetensors"))
        assert len(sizes) > 2
        assert told == [
            ("checking", 0, sum(sizes)),
            ("writing", 0, sum(sizes)),
            *(("writing", size, sum(sizes)) for size in sizes),
            ("reading back", 0, made),
        ]
