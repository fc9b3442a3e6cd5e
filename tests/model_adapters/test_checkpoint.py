"""Bad checkpoints give one clear sentence; good ones a fingerprint that means the model."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import tiny_model
from transformers import LlamaConfig, LlamaForCausalLM

from model_adapters import AdapterError, checkpoint
from model_adapters.checkpoint import INDEX, SINGLE

ATTENTION = "model.layers.0.self_attn."
Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound checkpoint of all four kinds, P = 3."""
    folder = tmp_path_factory.mktemp("good")
    tiny_model(num_pseudo_heads=3).save_pretrained(folder)
    return folder


def tensors(change: Callable[[dict[str, torch.Tensor]], None]) -> Change:
    """A change of the weights."""

    def apply(folder: Path) -> None:
        weights = load_file(folder / SINGLE)
        change(weights)
        save_file({k: v.contiguous() for k, v in weights.items()}, folder / SINGLE)

    return apply


def fields(**changes: Any) -> Change:
    """A change of config.json; None removes the field."""

    def apply(folder: Path) -> None:
        raw = json.loads((folder / "config.json").read_text())
        for name, value in changes.items():
            raw[name] = value
            if value == "absent":
                del raw[name]
        (folder / "config.json").write_text(json.dumps(raw))

    return apply


def without(ending: str) -> Change:
    """Weights without the tensors whose names end so."""

    def apply(weights: dict[str, torch.Tensor]) -> None:
        for name in [name for name in weights if name.endswith(ending)]:
            del weights[name]

    return tensors(apply)


def poison(name: str, value: float) -> Change:
    return tensors(lambda w: w[name].view(-1)[:2].fill_(value))


def cut(folder: Path) -> None:
    content = (folder / SINGLE).read_bytes()
    (folder / SINGLE).write_bytes(content[: len(content) // 2])


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / SINGLE), folder / "pytorch_model.bin")
    (folder / SINGLE).unlink()


def index_without_shard(folder: Path) -> None:
    (folder / SINGLE).unlink()
    names = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}
    (folder / INDEX).write_text(json.dumps(names))


def stored_twice(folder: Path) -> None:
    shutil.copy(folder / SINGLE, folder / "copy.safetensors")
    names = {"weight_map": {"a": SINGLE, "b": "copy.safetensors"}}
    (folder / INDEX).write_text(json.dumps(names))


def stale_neighbor(folder: Path) -> None:
    shutil.copy(folder / SINGLE, folder / "ema.safetensors")


def index_beside_single(folder: Path) -> None:
    shutil.copy(folder / SINGLE, folder / "model-00001-of-00001.safetensors")
    names = dict.fromkeys(load_file(folder / SINGLE), "model-00001-of-00001.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": names}))


BAD: dict[str, tuple[Change, list[str]]] = {
    "missing alpha": (
        without(f"{ATTENTION}alpha_q"),
        [f"{ATTENTION}alpha_q", "lack", "iha_layer_types"],
    ),
    "missing collapse everywhere": (
        without("collapse"),
        ["collapse", "lack"],
    ),
    "missing projection": (
        without(f"{ATTENTION}q_proj.weight"),
        ["q_proj.weight", "lack", "Llama's names"],
    ),
    "missing head": (
        without("lm_head.weight"),
        ["lm_head.weight", "tie_word_embeddings"],
    ),
    "renamed tensor": (
        tensors(lambda w: w.update({f"{ATTENTION}alpha_query": w.pop(f"{ATTENTION}alpha_q")})),
        ["alpha_q", "alpha_query", "does not know"],
    ),
    "alpha in a plain layer": (
        tensors(
            lambda w: w.update({"model.layers.2.self_attn.alpha_q": w[f"{ATTENTION}alpha_q"] + 0})
        ),
        ["layers.2.self_attn.alpha_q", "no place"],
    ),
    "extra tensor": (tensors(lambda w: w.update({"score": torch.ones(2)})), ["score", "no place"]),
    "alpha as H,P,H": (
        tensors(
            lambda w: w.update({f"{ATTENTION}alpha_q": w[f"{ATTENTION}alpha_q"].transpose(1, 2)})
        ),
        ["[4, 3, 4]", "[4, 4, 3]", "source head, destination head, pseudo-head"],
    ),
    "collapse per head": (
        tensors(lambda w: w.update({f"{ATTENTION}collapse": w[f"{ATTENTION}collapse"][:, :3]})),
        ["collapse", "[4, 3]", "[4, 12]"],
    ),
    "embedding cut": (
        tensors(
            lambda w: w.update({"model.embed_tokens.weight": w["model.embed_tokens.weight"][:50]})
        ),
        ["embed_tokens", "[50, 64]", "[97, 64]", "sizes in config.json"],
    ),
    "nan": (poison(f"{ATTENTION}alpha_k", float("nan")), ["alpha_k", "2 values", "not finite"]),
    "infinite": (poison("model.norm.weight", float("inf")), ["model.norm.weight", "not finite"]),
    "pickled only": (pickled, ["pickled", "safetensors", "save_pretrained"]),
    "no weights": (lambda f: (f / SINGLE).unlink(), ["neither", SINGLE]),
    "file cut short": (cut, [SINGLE, "not a whole safetensors file", "copy it again"]),
    "shard missing": (index_without_shard, ["model-00001-of-00002", "lacks"]),
    "index broken": (lambda f: (f / INDEX).write_text("{}") and None, [INDEX, "restore"]),
    "tensor stored twice": (stored_twice, ["twice", "stale shard"]),
    "stale file beside": (stale_neighbor, ["ema.safetensors", SINGLE, "stale"]),
    "index beside single": (index_beside_single, [SINGLE, "model-00001-of-00001", "stale"]),
    "tied but apart": (fields(tie_word_embeddings=True), ["tie_word_embeddings", "differs"]),
    "no config": (lambda f: (f / "config.json").unlink(), ["no config.json"]),
    "config not JSON": (
        lambda f: (f / "config.json").write_text("{,") and None,
        ["config.json", "JSON"],
    ),
    "config without model_type": (fields(model_type="absent"), ["model_type"]),
    "unknown model_type": (fields(model_type="ihallama"), ["ihallama", "transformers"]),
    "field absent": (fields(pseudo_rope="absent"), ["lacks pseudo_rope", "trained with"]),
    "P contradicts weights": (fields(num_pseudo_heads=2), ["alpha_k", "[2, 2, 3]", "[2, 2, 2]"]),
    "kinds contradict weights": (
        fields(iha_layer_types=["full"] * 4, iha_window=None),
        ["no place", "iha_layer_types"],
    ),
    "heads contradict weights": (fields(num_key_value_heads=4), ["alpha_k", "[4, 4, 3]"]),
    "plain config over IHA weights": (fields(model_type="llama"), ["alpha", "iha_llama"]),
    "bad field": (fields(num_pseudo_heads=0), ["config.json", "num_pseudo_heads", "at least 1"]),
    "field of a wrong kind": (fields(vocab_size="many"), ["config.json", "vocab_size"]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_checkpoint_gives_one_sentence(name: str, good: Path, tmp_path: Path) -> None:
    """It names the thing and the remedy, on one line, with the folder."""
    change, words = BAD[name]
    folder = tmp_path / "checkpoint"
    shutil.copytree(good, folder)
    change(folder)
    with pytest.raises(AdapterError) as caught:
        checkpoint.read(folder)
    text = str(caught.value)
    assert "\n" not in text
    assert str(folder) in text
    for word in words:
        assert word in text


def test_a_path_that_is_no_folder(tmp_path: Path) -> None:
    """A typing error in the path."""
    with pytest.raises(AdapterError, match="is not a folder: give the path"):
        checkpoint.read(tmp_path / "nowhere")


def test_what_a_good_checkpoint_holds(good: Path) -> None:
    """Counted parameters and type."""
    found = checkpoint.read(good)
    model = tiny_model(num_pseudo_heads=3)
    assert found.is_iha
    assert found.num_parameters == sum(p.numel() for p in model.parameters())
    assert found.weights_dtype == "float32"
    assert len(found.fingerprint) == 64


def test_the_fingerprint_does_not_depend_on_sharding(good: Path, tmp_path: Path) -> None:
    """The same weights in several files are the same model."""
    tiny_model(num_pseudo_heads=3).save_pretrained(tmp_path, max_shard_size="60KB")
    assert (tmp_path / INDEX).is_file()
    assert checkpoint.read(tmp_path).fingerprint == checkpoint.read(good).fingerprint


@pytest.mark.parametrize(
    "change",
    [
        tensors(lambda w: w["model.norm.weight"][:1].add_(1e-3)),
        fields(iha_window=18),
        fields(pseudo_rope="token"),
        fields(rms_norm_eps=1e-5),
    ],
    ids=["one weight", "window", "rope", "epsilon"],
)
def test_the_fingerprint_depends_on_weights_and_configuration(
    change: Change, good: Path, tmp_path: Path
) -> None:
    """Each of these makes another model."""
    folder = tmp_path / "changed"
    shutil.copytree(good, folder)
    change(folder)
    assert checkpoint.read(folder).fingerprint != checkpoint.read(good).fingerprint


def test_the_fingerprint_forgets_who_wrote_the_file(good: Path, tmp_path: Path) -> None:
    """transformers_version and the path are not the model."""
    folder = tmp_path / "resaved"
    shutil.copytree(good, folder)
    fields(transformers_version="9.9.9", _name_or_path="/elsewhere")(folder)
    assert checkpoint.read(folder).fingerprint == checkpoint.read(good).fingerprint


@pytest.mark.parametrize("tied", [True, False])
def test_plain_llama_is_read_too(tied: bool, tmp_path: Path) -> None:
    """The baseline goes through the same check, tied or not."""
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=tied,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(tmp_path)
    found = checkpoint.read(tmp_path)
    assert not found.is_iha
    assert found.weights_dtype == "bfloat16"
    assert found.num_parameters == model.num_parameters()


def test_a_file_that_may_not_be_read(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so the file system is made to say no."""
    folder = tmp_path / "locked"
    shutil.copytree(good, folder)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(folder / SINGLE))

    monkeypatch.setattr(checkpoint, "safe_open", refuse)
    with pytest.raises(AdapterError, match=r"model.safetensors may not be read.*permissions"):
        checkpoint.read(folder)


def test_quantized_llama_is_left_to_its_loader(tmp_path: Path) -> None:
    """Its tensors have names of their own; the fingerprint still covers them."""
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        quantization_config={"quant_method": "fp8"},
    )
    config.save_pretrained(tmp_path)
    save_file({"model.layers.0.mlp.up_proj.weight_scale": torch.ones(1)}, tmp_path / SINGLE)
    assert len(checkpoint.read(tmp_path).fingerprint) == 64


def test_other_architectures_are_only_fingerprinted(tmp_path: Path) -> None:
    """About GPT-2's tensors nothing is claimed."""
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=32, n_head=2, vocab_size=40)).save_pretrained(
        tmp_path
    )
    assert not checkpoint.read(tmp_path).is_iha
