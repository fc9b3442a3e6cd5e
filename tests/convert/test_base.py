"""Bases that cannot be converted: one sentence each, and nothing left behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_models import exact_logits, plain_config, save_plain, stored
from safetensors.torch import save_file
from transformers import MistralConfig, MistralForCausalLM

from model_adapters import AdapterError
from model_adapters.checkpoint import INDEX, SINGLE
from model_adapters.convert import Recipe, upcycle

Change = Callable[[Path], object]
QUERY = "model.layers.1.self_attn.q_proj.weight"


def fields(**changes: Any) -> Change:
    """A change of config.json."""

    def apply(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return apply


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    """A change of the weights."""

    def apply(folder: Path) -> None:
        held = stored(folder)
        change(held)
        save_file({name: one.contiguous() for name, one in held.items()}, folder / SINGLE)

    return apply


def rope(**changes: Any) -> Change:
    return fields(rope_parameters={"rope_theta": 1e4, **changes})


def cut(folder: Path) -> None:
    content = (folder / SINGLE).read_bytes()
    (folder / SINGLE).write_bytes(content[:-100])


def pickled(folder: Path) -> None:
    torch.save(stored(folder), folder / "pytorch_model.bin")
    (folder / SINGLE).unlink()


def shard_missing(folder: Path) -> None:
    (folder / SINGLE).unlink()
    places = {"model.norm.weight": "model-00002-of-00002.safetensors"}
    (folder / INDEX).write_text(json.dumps({"weight_map": places}))


def mistral(folder: Path) -> None:
    fields(model_type="mistral", architectures=["MistralForCausalLM"], sliding_window=None)(folder)


def small_floats(held: dict[str, torch.Tensor]) -> None:
    for name, tensor in held.items():
        held[name] = tensor.to(torch.float8_e4m3fn)


BAD: dict[str, tuple[Change, list[str]]] = {
    "another architecture": (
        fields(model_type="qwen2", architectures=["Qwen2ForCausalLM"]),
        ["model_type is 'qwen2'", "olmo2, olmo3 or nanochat"],
    ),
    "no language model": (
        fields(architectures=["LlamaForSequenceClassification"]),
        ["LlamaForSequenceClassification", "LlamaForCausalLM"],
    ),
    "architecture as a text": (
        fields(architectures="LlamaForCausalLM"),
        ["architectures is 'LlamaForCausalLM' and no list", 'write ["LlamaForCausalLM"]'],
    ),
    "quantized": (
        fields(quantization_config={"quant_method": "gptq", "bits": 4}),
        ["quantized", "before quantization"],
    ),
    "code of its own": (
        fields(auto_map={"AutoModelForCausalLM": "modeling.Own"}),
        ["auto_map", "remove the field"],
    ),
    "another activation": (fields(hidden_act="gelu"), ["hidden_act is 'gelu'", "'silu'"]),
    "windowed Mistral": (
        lambda folder: (mistral(folder), fields(sliding_window=16)(folder)),
        ["sliding_window is 16", "set it to null"],
    ),
    "Mistral without a tensor": (
        lambda folder: (mistral(folder), weights(lambda held: held.pop(QUERY))(folder)),
        ["lack", QUERY],
    ),
    "dynamic rotary embedding": (
        rope(rope_type="dynamic", factor=2.0),
        ["rope_type 'dynamic'", "default, linear, llama3, yarn"],
    ),
    "longrope": (
        rope(
            rope_type="longrope",
            short_factor=[1.0] * 4,
            long_factor=[2.0] * 4,
            original_max_position_embeddings=64,
        ),
        ["rope_type 'longrope'"],
    ),
    "heads rotated in part": (
        rope(rope_type="default", partial_rotary_factor=0.5),
        ["partial_rotary_factor is 0.5"],
    ),
    "IHA already": (
        lambda folder: fields(
            model_type="iha_llama",
            num_pseudo_heads=2,
            iha_layer_types=["full"] * 3,
            iha_window=None,
            pseudo_rope="token",
        )(folder),
        ["IHA checkpoint already", "--to-plain"],
    ),
    "heads that keys do not divide": (fields(num_key_value_heads=3), ["num_key_value_heads is 3"]),
    "odd head": (fields(head_dim=7), ["config.json is not understood"]),
    "missing projection": (weights(lambda held: held.pop(QUERY)), ["lack", QUERY]),
    "renamed tensor": (
        weights(lambda held: held.update({"model.layers.1.wq": held.pop(QUERY)})),
        [QUERY, "model.layers.1.wq"],
    ),
    "extra tensor": (
        weights(lambda held: held.update({"score.weight": torch.ones(2)})),
        ["score.weight"],
    ),
    "transposed embedding": (
        weights(lambda h: h.update({"lm_head.weight": h["lm_head.weight"].T})),
        ["lm_head.weight", "[32, 61]", "[61, 32]"],
    ),
    "stray alpha": (
        weights(
            lambda held: held.update({"model.layers.0.self_attn.alpha_q": torch.ones(4, 4, 2)})
        ),
        ["alpha_q", "iha_llama"],
    ),
    "not a number": (
        weights(lambda held: held[QUERY].view(-1)[:3].fill_(float("nan"))),
        [QUERY, "3 values", "not finite"],
    ),
    "tied, but apart": (fields(tie_word_embeddings=True), ["tie_word_embeddings", "differs"]),
    "eight-bit floats": (weights(small_floats), ["float8_e4m3fn", "float32, bfloat16, float16"]),
    "file cut short": (cut, ["not a whole safetensors file"]),
    "pickled": (pickled, ["pickled", "save_pretrained"]),
    "shard missing": (shard_missing, ["model-00002-of-00002", "lacks"]),
    "stale file beside": (
        lambda folder: shutil.copy(folder / SINGLE, folder / "old.safetensors"),
        ["old.safetensors", "stale"],
    ),
    "no weights": (lambda folder: (folder / SINGLE).unlink(), ["neither"]),
    "no config": (lambda folder: (folder / "config.json").unlink(), ["no config.json"]),
    "config cut short": (
        lambda folder: (folder / "config.json").write_text('{"model_type"'),
        ["config.json", "JSON"],
    ),
    "no folder": (shutil.rmtree, ["is not a folder"]),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound base."""
    return save_plain(tmp_path_factory.mktemp("good") / "base")


@pytest.mark.parametrize("name", BAD)
def test_a_base_that_cannot_be_converted(name: str, good: Path, tmp_path: Path) -> None:
    change, words = BAD[name]
    base = tmp_path / "base"
    shutil.copytree(good, base)
    change(base)
    with pytest.raises(AdapterError) as caught:
        upcycle(base, tmp_path / "new" / "iha", Recipe(2))
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in [*words, str(base)])
    assert {path.name for path in tmp_path.iterdir()} <= {"base"}


def test_mistral_without_a_window(tmp_path: Path) -> None:
    """Its defaults differ from Llama's: none may be lost, those left out of its file included."""
    shape = plain_config().to_dict()
    torch.manual_seed(0)
    config = MistralConfig(
        sliding_window=None,
        rms_norm_eps=0.01,
        **{
            name: shape[name]
            for name in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
        },
        num_attention_heads=16,
        head_dim=2,
        initializer_range=0.3,
        rope_parameters={"rope_type": "default", "rope_theta": 777.0},
        architectures=["MistralForCausalLM"],
    )
    MistralForCausalLM(config).save_pretrained(tmp_path / "base")
    file = tmp_path / "base" / "config.json"
    raw = json.loads(file.read_text())
    # Mistral's own default, 8, where Llama's is as many as there are heads.
    assert raw.pop("num_key_value_heads") == 8
    file.write_text(json.dumps(raw))
    upcycle(tmp_path / "base", tmp_path / "iha", Recipe(2))
    wanted = exact_logits(tmp_path / "base")
    torch.testing.assert_close(exact_logits(tmp_path / "iha"), wanted, atol=1e-10, rtol=0)
    made = json.loads((tmp_path / "iha" / "config.json").read_text())
    assert (made["num_key_value_heads"], made["rms_norm_eps"]) == (8, 0.01)
    assert made["rope_parameters"]["rope_theta"] == 777.0
    assert made["dtype"] == "float32"


def test_old_ways_of_writing_rotary_scaling(good: Path, tmp_path: Path) -> None:
    """`rope_theta` and `rope_scaling` with `type`, as Llama 2 and 3 were published."""
    base = tmp_path / "base"
    shutil.copytree(good, base)
    raw = json.loads((base / "config.json").read_text())
    del raw["rope_parameters"]
    raw |= {"rope_theta": 333.0, "rope_scaling": {"type": "linear", "factor": 5.0}}
    (base / "config.json").write_text(json.dumps(raw))
    upcycle(base, tmp_path / "iha", Recipe(2))
    wanted = exact_logits(base)
    assert (wanted - exact_logits(good)).abs().max() > 1e-3
    torch.testing.assert_close(exact_logits(tmp_path / "iha"), wanted, atol=1e-10, rtol=0)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (Recipe(0), "pseudo-heads is 0: give a number from 1 to 1,024"),
        (Recipe(10**9), "pseudo-heads is 1,000,000,000: give a number from 1 to 1,024"),
        (Recipe(2, "4:1"), "5 layers"),
        (Recipe(5, "iha_sliding"), "2 \\* 5\\^2"),
        (Recipe(2, init="warm"), "init is 'warm'"),
    ],
    ids=["no pseudo-heads", "too many pseudo-heads", "schedule", "window", "init"],
)
def test_recipes_that_do_not_go_with_the_base(
    recipe: Recipe, words: str, good: Path, tmp_path: Path
) -> None:
    with pytest.raises(AdapterError, match=words):
        upcycle(good, tmp_path / "iha", recipe)
    assert list(tmp_path.iterdir()) == []
