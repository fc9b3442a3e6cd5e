"""A state dict in a file, its tensors read when they are asked for.

For: `.safetensors`, and `.pt` or `.bin` files of `torch.save`, of which nothing but tensors is
loaded. Not for: folders of several files.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from model_adapters.convert.errors import ConversionError
from model_adapters.convert.rules import some

# How PyTorch names a byte that means nothing in a pickle.
_NO_PICKLE = "Unsupported operand"


def open_state_dict(file: Path, inside: tuple[str, ...] = ()) -> Mapping[str, Tensor]:
    """Open a file; nothing of a tensor is read before it is used.

    Args:
        file: with the ending `.safetensors`, `.pt`, `.pth` or `.bin`.
        inside: keys that lead to the state dict, for a training checkpoint with more in it.

    Raises:
        ConversionError: it cannot be read, or holds no state dict there.
    """
    if not file.is_file():
        raise ConversionError(f"{file} is not there: give the file of a state dict.")
    if file.suffix == ".safetensors":
        return _safetensors(file, inside)
    if file.suffix not in (".pt", ".pth", ".bin"):
        raise ConversionError(
            f"{file} ends in {file.suffix!r}: give a .safetensors file, or a .pt, .pth or .bin "
            "file of torch.save."
        )
    held: Any = _unpickled(file)
    for key in inside:
        if not isinstance(held, Mapping) or key not in held:
            raise ConversionError(
                f"{file} has nothing at {' / '.join(inside)}: it holds {_keys(held)}."
            )
        held = held[key]
    if not isinstance(held, Mapping) or not any(isinstance(one, Tensor) for one in held.values()):
        raise ConversionError(
            f"{file} holds no state dict but {_keys(held)}: name the way to it under inside."
        )
    unnamed = [repr(name) for name in held if not isinstance(name, str)]
    if unnamed:
        raise ConversionError(
            f"{file} holds tensors under {some(unnamed)}, which are no names: save a state dict, "
            "whose keys are texts."
        )
    other = [name for name, one in held.items() if not isinstance(one, Tensor)]
    if other:
        raise ConversionError(
            f"{file} holds {some(other)}, which are no tensors: save the state dict without them."
        )
    return held


def _safetensors(file: Path, inside: tuple[str, ...]) -> Mapping[str, Tensor]:
    if inside:
        raise ConversionError(f"{file} has nothing inside {' / '.join(inside)}: leave inside out.")
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise ConversionError(
            f"{file} is not a whole safetensors file ({error}): copy it again."
        ) from error


def _unpickled(file: Path) -> Any:
    try:
        try:
            return torch.load(file, map_location="cpu", mmap=True, weights_only=True)
        except RuntimeError:
            # Files of old releases cannot be mapped into memory.
            return torch.load(file, map_location="cpu", weights_only=True)
    # Bytes that are no pickle make the reader fail in any way: IndexError, KeyError and others.
    except Exception as error:
        if isinstance(error, pickle.UnpicklingError) and _NO_PICKLE not in str(error):
            raise ConversionError(
                f"{file} holds more than tensors, which may run code when loaded: save it again "
                "with torch.save(model.state_dict(), file)."
            ) from error
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        if isinstance(error, pickle.UnpicklingError):
            reason = "its bytes are no pickle"
        raise ConversionError(
            f"{file} is no whole file of torch.save ({reason}): copy it again."
        ) from error


def _keys(held: object) -> str:
    if isinstance(held, Mapping):
        return f"the keys {some(str(key) for key in held)}"
    return f"one {type(held).__name__}"
