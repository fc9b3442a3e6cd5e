"""Checkpoints as copying, downloading and editing break them: one clear sentence each.

What a folder can get wrong about tensors and fields is in test_checkpoint.py; here are broken
files, links, indices, types and tokenizers.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import tiny_model

from iha_eval.errors import user_message
from iha_eval.verify.run import Request, verify
from model_adapters import AdapterError, checkpoint
from model_adapters.checkpoint import INDEX, SINGLE
from model_adapters.default_checkpoint import folder as embedded

ALPHA = "model.layers.0.self_attn.alpha_q"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 2999712\n"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound checkpoint of all four kinds, P = 2."""
    folder = tmp_path_factory.mktemp("good")
    tiny_model().save_pretrained(folder)
    return folder


def text(name: str, content: str) -> Change:
    return lambda folder: (folder / name).write_text(content, encoding="utf-8")


def content(name: str, data: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(data)


def fields(**changes: Any) -> Change:
    def apply(folder: Path) -> None:
        raw = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(raw | changes))

    return apply


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def apply(folder: Path) -> None:
        weights = load_file(folder / SINGLE)
        change(weights)
        # The tensors lie in the old file's memory: a new one is written.
        (folder / SINGLE).unlink()
        save_file(weights, folder / SINGLE)

    return apply


def index(content: Any) -> Change:
    """Two shards with an index of the given content, or of what a function makes of the names."""

    def apply(folder: Path) -> None:
        weights = load_file(folder / SINGLE)
        (folder / SINGLE).unlink()
        names = sorted(weights)
        halves = (names[::2], names[1::2])
        for file, half in zip(SHARDS, halves, strict=True):
            save_file({name: weights[name] for name in half}, folder / file)
        sound = {name: SHARDS[position % 2] for position, name in enumerate(names)}
        made = content(sound) if callable(content) else content
        (folder / INDEX).write_text(json.dumps(made))

    return apply


def pickled_under_a_false_name(folder: Path) -> None:
    weights = load_file(folder / SINGLE)
    (folder / SINGLE).unlink()
    torch.save(weights, folder / SINGLE)


def only(name: str) -> Change:
    def apply(folder: Path) -> None:
        (folder / SINGLE).rename(folder / name)

    return apply


def dangling(name: str) -> Change:
    def apply(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to("/nowhere/blobs/4d7a")

    return apply


def loop(name: str) -> Change:
    def apply(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(folder / name)

    return apply


def folder_instead(name: str) -> Change:
    def apply(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return apply


def longer_header(folder: Path) -> None:
    data = (folder / SINGLE).read_bytes()
    (folder / SINGLE).write_bytes((2**40).to_bytes(8, "little") + data[8:])


def garbled_header(folder: Path) -> None:
    data = bytearray((folder / SINGLE).read_bytes())
    data[9:12] = b"\xff\xff\xff"
    (folder / SINGLE).write_bytes(data)


def bytes_after(folder: Path) -> None:
    with (folder / SINGLE).open("ab") as file:
        file.write(b"\0" * 100)


def with_type(kind: torch.dtype, *names: str) -> Change:
    def apply(weights: dict[str, torch.Tensor]) -> None:
        for name in names or tuple(weights):
            weights[name] = weights[name].to(kind)

    return tensors(apply)


CORRUPTED: dict[str, tuple[Change, list[str]]] = {
    "weights-empty": (content(SINGLE, b""), [SINGLE, "is empty", "copy it again"]),
    "weights-zeros": (content(SINGLE, b"\0" * 4096), [SINGLE, "not a whole safetensors"]),
    "weights-lfs-pointer": (text(SINGLE, POINTER), [SINGLE, "Git LFS pointer", "git lfs pull"]),
    "weights-error-page": (
        text(SINGLE, "<!DOCTYPE html><html><body>404</body></html>"),
        [SINGLE, "web page", "download it again"],
    ),
    "weights-pickled-under-false-name": (
        pickled_under_a_false_name,
        [SINGLE, "pickled", "save_pretrained"],
    ),
    "weights-header-too-long": (longer_header, [SINGLE, "not a whole safetensors file"]),
    "weights-header-garbled": (garbled_header, [SINGLE, "not a whole safetensors file"]),
    "weights-bytes-after-the-end": (bytes_after, [SINGLE, "not a whole safetensors file"]),
    "weights-dangling-link": (dangling(SINGLE), [SINGLE, "link", "is not there"]),
    "weights-link-to-itself": (loop(SINGLE), [SINGLE, "link", "is not there"]),
    "weights-are-a-folder": (folder_instead(SINGLE), [SINGLE, "neither"]),
    "weights-gguf-only": (only("model-Q4.gguf"), ["GGUF", "model-Q4.gguf", "convert"]),
    "weights-int8": (with_type(torch.int8), ["int8", "floating-point", "quantization_config"]),
    "one-tensor-int64": (with_type(torch.int64, ALPHA), [ALPHA, "int64", "floating-point"]),
    "tensor-without-values": (
        tensors(lambda w: w.update({ALPHA: torch.empty(0)})),
        [ALPHA, "[0]", "[4, 4, 2]"],
    ),
    "tensor-flattened": (
        tensors(lambda w: w.update({ALPHA: w[ALPHA].flatten()})),
        [ALPHA, "[32]", "[4, 4, 2]"],
    ),
    "index-is-a-list": (index([]), [INDEX, "not a weight index", "restore"]),
    "index-without-names": (index({"weight_map": {}}), [INDEX, "names no file"]),
    "index-names-numbers": (
        index({"weight_map": {ALPHA: 3}}),
        [INDEX, "not a weight index", "restore"],
    ),
    "index-leaves-the-folder": (
        index({"weight_map": {ALPHA: "../other/model.safetensors"}}),
        [INDEX, "../other/model.safetensors", "outside"],
    ),
    "index-names-one-shard-of-two": (
        index(lambda sound: {"weight_map": {ALPHA: SHARDS[0]}}),
        [SHARDS[1], "loaders differ"],
    ),
    "index-lfs-pointer": (text(INDEX, POINTER), [INDEX, "Git LFS pointer", "git lfs pull"]),
    "config-empty": (text("config.json", ""), ["config.json", "is empty", "copy it again"]),
    "config-lfs-pointer": (text("config.json", POINTER), ["config.json", "Git LFS pointer"]),
    "config-is-a-list": (text("config.json", "[1]"), ["config.json", "model_type"]),
    "config-utf16": (
        content("config.json", '{"model_type": "iha_llama"}'.encode("utf-16")),
        ["config.json", "JSON"],
    ),
    "config-nested-without-end": (
        text("config.json", "[" * 100_000),
        ["config.json", "JSON", "restore"],
    ),
    "config-is-a-folder": (folder_instead("config.json"), ["no config.json"]),
    "config-dangling-link": (dangling("config.json"), ["config.json", "link", "is not there"]),
    "config-of-another-model": (fields(model_type="gpt2"), ["alpha", "'gpt2'", "iha_llama"]),
    "config-model-type-a-number": (fields(model_type=7), ["config.json", "model_type"]),
    "window-missing": (fields(iha_window=None), ["iha_window is None", "whole number"]),
    "more-layers-than-kinds": (fields(num_hidden_layers=5), ["4 entries", "is 5"]),
    "more-layers-than-weights": (
        fields(num_hidden_layers=5, iha_layer_types=["full"] * 5, iha_window=None),
        ["lack model.layers.4"],
    ),
    "fewer-layers-than-weights": (
        fields(num_hidden_layers=2, iha_layer_types=["iha_sliding", "iha_global"]),
        ["model.layers.2", "no place"],
    ),
    "vocabulary-larger-than-embedding": (
        fields(vocab_size=4096),
        ["[97, 64]", "[4096, 64]", "config.json"],
    ),
    "hidden-size-negative": (fields(hidden_size=-64), ["config.json", "-64"]),
    "activation-unknown": (fields(hidden_act="swoosh"), ["config.json", "swoosh"]),
    "rope-without-factor": (
        fields(rope_parameters={"rope_type": "linear", "rope_theta": 1e4}),
        ["config.json", "factor"],
    ),
    "tokens-a-text": (fields(num_pseudo_heads="2"), ["num_pseudo_heads", "config.json"]),
}


@pytest.mark.parametrize("name", CORRUPTED)
def test_a_corrupted_checkpoint_gives_one_sentence(name: str, good: Path, tmp_path: Path) -> None:
    """On one line, with the folder, what is wrong and what to do; no other error gets through."""
    change, words = CORRUPTED[name]
    folder = tmp_path / "checkpoint"
    shutil.copytree(good, folder)
    change(folder)
    with pytest.raises(AdapterError) as caught:
        checkpoint.read(folder)
    said = str(caught.value)
    assert "\n" not in said
    assert str(folder) in said
    assert len(said) < 600
    missing = [word for word in words if word not in said]
    assert not missing, said


def test_a_file_in_place_of_the_folder(good: Path) -> None:
    with pytest.raises(AdapterError, match=r"model\.safetensors is not a folder: give the path"):
        checkpoint.read(good / SINGLE)


def test_a_link_that_leads_to_itself_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(AdapterError, match=r"loop is not a folder: give the path"):
        checkpoint.read(tmp_path / "loop")


def test_types_may_be_mixed(good: Path, tmp_path: Path) -> None:
    """Mixing tensors kept in float32 beside bfloat16 projections are no mistake."""
    folder = tmp_path / "mixed"
    shutil.copytree(good, folder)
    big = [name for name in load_file(good / SINGLE) if "proj" in name or "embed" in name]
    with_type(torch.bfloat16, *big)(folder)
    assert checkpoint.read(folder).weights_dtype == "bfloat16"


def test_whole_numbers_are_left_to_the_loader_of_quantized_weights(
    good: Path, tmp_path: Path
) -> None:
    """The same tensors that are refused without a quantization_config."""
    folder = tmp_path / "quantized"
    shutil.copytree(good, folder)
    with_type(torch.int8)(folder)
    fields(quantization_config={"quant_method": "fp8"})(folder)
    assert checkpoint.read(folder).num_parameters == 0


def one_token_more(folder: Path) -> None:
    raw = json.loads((folder / "tokenizer.json").read_text())
    raw["model"]["vocab"]["beyond"] = 9999
    (folder / "tokenizer.json").write_text(json.dumps(raw))


def gone(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


TOKENIZERS: dict[str, tuple[Change, list[str]]] = {
    "missing": (gone, ["no tokenizer that can be read", "save the tokenizer there"]),
    "broken-json": (
        text("tokenizer.json", '{"model": '),
        ["no tokenizer that can be read", "save the tokenizer there"],
    ),
    "lfs-pointer": (text("tokenizer.json", POINTER), ["no tokenizer that can be read"]),
    "larger-than-the-embedding": (
        one_token_more,
        ["token id 9999", "vocab_size 9351", "trained with"],
    ),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_corrupted_tokenizer_gives_one_sentence(name: str, tmp_path: Path) -> None:
    """`verify` says so before a model is loaded."""
    change, words = TOKENIZERS[name]
    folder = tmp_path / "checkpoint"
    shutil.copytree(embedded(), folder)
    change(folder)
    with pytest.raises(ValueError, match="tokenizer") as caught:
        verify(Request(str(folder)), say=pytest.fail)
    said = user_message(caught.value)
    assert said is not None, repr(caught.value)
    assert str(folder) in said
    missing = [word for word in words if word not in said]
    assert not missing, said
