"""Weights from one folder to another, a shard at a time, under the same file names.

For: changes that can be made shard by shard, in memory of about the largest shard.
Not for: state dicts that are dealt out anew (see `foreign.py`).
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from model_adapters.checkpoint import INDEX, SINGLE
from model_adapters.convert.output import write_json

#: Adds, replaces and removes tensors of one shard, in place.
Edit = Callable[[dict[str, Tensor]], None]
#: Told the number of bytes that were just written.
Written = Callable[[int], None]
# Loaders tell by it that the tensors are PyTorch's.
FORMAT = {"format": "pt"}


def files_of(folder: Path) -> list[Path]:
    """The weight files of a folder that `checkpoint.read` found sound."""
    index = folder / INDEX
    if not index.is_file():
        return [folder / SINGLE]
    named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    return [folder / name for name in sorted(set(named))]


def size_of(folder: Path) -> int:
    """Bytes of the weight files."""
    return sum(file.stat().st_size for file in files_of(folder))


def size_on_disk(folder: Path) -> int:
    """Bytes of the safetensors files of a folder of which nothing else is known."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors") if file.is_file())


class Weights:
    """The tensors of a folder by name, read from disk when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._files = {name: file for file in files_of(folder) for name in _names(file)}

    def __getitem__(self, name: str) -> Tensor:
        """One tensor."""
        with safe_open(self._files[name], framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor."""
        result: dict[str, tuple[int, ...]] = {}
        for path in set(self._files.values()):
            with safe_open(path, framework="pt") as file:
                result |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        return result


def rewrite(source: Path, target: Path, edit: Edit, progress: Written) -> None:
    """Write every shard again, changed; a shard that is left empty is left out.

    Args:
        source: Folder with sound weights.
        target: Folder to write to.
        edit: The change.
        progress: Told about each shard.
    """
    places: dict[str, str] = {}
    added = {"total_size": 0, "total_parameters": 0}
    for path in files_of(source):
        with safe_open(path, framework="pt") as file:
            # Still on disk: pages are read when they are written out again.
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            before = _sizes(tensors.values())
            edit(tensors)
            for key, value in _sizes(tensors.values()).items():
                added[key] += value - before[key]
            if tensors:
                save(tensors, target / path.name, file.metadata() or FORMAT)
        places |= dict.fromkeys(tensors, path.name)
        progress(path.stat().st_size)
    if (source / INDEX).is_file():
        _write_index(source, target, places, added)


def save(tensors: dict[str, Tensor], file: Path, metadata: Mapping[str, str] = FORMAT) -> None:
    """One safetensors file, with the permissions that files usually get."""
    # Made before, as safetensors would make it its owner's alone.
    file.touch()
    mode = file.stat().st_mode
    save_file(tensors, file, metadata=dict(metadata))
    file.chmod(mode)


def write_index(target: Path, metadata: Mapping[str, Any], places: Mapping[str, str]) -> None:
    """The file that says which tensor is in which shard."""
    write_json(target / INDEX, {"metadata": dict(metadata), "weight_map": dict(places)})


def _write_index(
    source: Path, target: Path, places: Mapping[str, str], added: Mapping[str, int]
) -> None:
    """The source's index with other places, and its sums moved by what was added."""
    index = json.loads((source / INDEX).read_text(encoding="utf-8"))
    sums = dict(index.get("metadata") or {})
    for key, value in added.items():
        if isinstance(sums.get(key), int):
            sums[key] += value
    write_index(target, sums, places)


def _names(path: Path) -> Iterator[str]:
    with safe_open(path, framework="pt") as file:
        yield from file.keys()


def _sizes(tensors: Iterable[Tensor]) -> dict[str, int]:
    counted = [(tensor.nbytes, tensor.numel()) for tensor in tensors]
    return {
        "total_size": sum(size for size, _ in counted),
        "total_parameters": sum(count for _, count in counted),
    }
