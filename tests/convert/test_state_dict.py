"""State dicts in files, and files that hold none."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from model_adapters.convert import ConversionError
from model_adapters.convert.foreign import open_state_dict

TENSORS = {"a": torch.arange(3.0), "b": torch.ones(2, dtype=torch.bfloat16)}


def write(file: Path, held: Any, **options: Any) -> Path:
    if file.suffix == ".safetensors":
        save_file(held, file)
    else:
        torch.save(held, file, **options)
    return file


@pytest.mark.parametrize(
    ("name", "held", "inside", "options"),
    [
        ("a.safetensors", TENSORS, (), {}),
        ("a.pt", TENSORS, (), {}),
        ("a.bin", TENSORS, (), {"_use_new_zipfile_serialization": False}),
        ("a.pth", {"step": 3, "model": {"weights": TENSORS}}, ("model", "weights"), {}),
    ],
    ids=["safetensors", "pt", "of old releases", "inside others"],
)
def test_the_files_there_are(
    name: str, held: Any, inside: tuple[str, ...], options: dict[str, Any], tmp_path: Path
) -> None:
    found = open_state_dict(write(tmp_path / name, held, **options), inside)
    assert list(found) == ["a", "b"]
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


class Custom:
    """What weights_only does not load."""


@pytest.mark.parametrize(
    ("name", "held", "inside", "words"),
    [
        ("a.pt", {"step": 3, "model": TENSORS}, (), "no state dict but the keys step, model: name"),
        ("a.pt", {"model": TENSORS}, ("ema",), "nothing at ema: it holds the keys model"),
        ("a.pt", {"model": 3}, ("model", "x"), "nothing at model / x: it holds one int"),
        (
            "a.pt",
            {0: TENSORS["a"], **TENSORS},
            (),
            "under 0, which are no names: save a state dict",
        ),
        ("a.pt", TENSORS["a"], (), "no state dict but one Tensor"),
        ("a.pt", {**TENSORS, "step": 3}, (), "holds step, which are no tensors"),
        ("a.pt", {"model": Custom()}, (), "holds more than tensors, .* torch.save"),
        ("a.safetensors", TENSORS, ("model",), "nothing inside model: leave inside out"),
        ("a.npz", TENSORS, (), "ends in '.npz': give a .safetensors file"),
    ],
    ids=[
        "unnamed",
        "wrong key",
        "not deep",
        "numbers",
        "a tensor",
        "more",
        "objects",
        "flat",
        "ending",
    ],
)
def test_files_without_a_state_dict(
    name: str, held: Any, inside: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConversionError, match=words):
        open_state_dict(write(tmp_path / name, held), inside)


@pytest.mark.parametrize(
    ("name", "words"),
    [("a.safetensors", "not a whole safetensors file"), ("a.pt", "no whole file of torch.save")],
)
@pytest.mark.parametrize("keep", [0, 40], ids=["empty", "cut"])
def test_files_cut_short(name: str, words: str, keep: int, tmp_path: Path) -> None:
    file = write(tmp_path / name, TENSORS)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ConversionError, match=words):
        open_state_dict(file)


@pytest.mark.parametrize("content", [b"abc", b"\0", b"h", b"<html>"])
def test_bytes_that_are_no_pickle(content: bytes, tmp_path: Path) -> None:
    """The reader fails at them in ways of its own, IndexError among them."""
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(ConversionError, match=r"a\.pt is no whole file of torch\.save"):
        open_state_dict(tmp_path / "a.pt")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="is not there"):
        open_state_dict(tmp_path / "a.pt")
