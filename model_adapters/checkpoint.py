"""Reads, checks and fingerprints a checkpoint folder before anything expensive is started.

For: one clear sentence about what is wrong with a checkpoint, and a hash that says which model
was evaluated. Works for IHA and for plain checkpoints.
Not for: loading weights into a model, converting, or resolving hub names to folders.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, PretrainedConfig

from model_adapters.config import IHA_FIELDS, IHAConfig
from model_adapters.errors import AdapterError, CheckpointError
from model_adapters.layout import describe_mismatch

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
# Fields that differ between copies of one and the same model.
VOLATILE = ("transformers_version", "_name_or_path", "torch_dtype", "dtype")

TIED = {"lm_head.weight", "model.embed_tokens.weight"}


@dataclass(frozen=True)
class Checkpoint:
    """What a checked checkpoint folder holds.

    Attributes:
        path: the folder.
        config: its configuration.
        fingerprint: sha256 (hex) of configuration and weights; the same for every sharding.
        is_iha: whether its model_type is "iha_llama".
        num_parameters: number of stored parameters (tied ones count once).
        weights_dtype: type of most of the parameters, as torch names it, such as "bfloat16".
    """

    path: Path
    config: PretrainedConfig
    fingerprint: str
    is_iha: bool
    num_parameters: int
    weights_dtype: str


def read(path: str | Path, *, trust_remote_code: bool = False) -> Checkpoint:
    """Check a checkpoint folder and fingerprint it; every weight is read once.

    Args:
        path: folder with `config.json` and safetensors weights.
        trust_remote_code: whether code in the folder may define its architecture.

    Returns:
        The description of the checkpoint.

    Raises:
        CheckpointError: the folder cannot be served; the text says why and what to do.
        ConfigError: `config.json` has a field that cannot be meant.
    """
    folder = Path(path)
    try:
        config = read_config(folder, trust_remote_code)
        return _read_weights(folder, config, _weight_files(folder))
    except PermissionError as error:
        raise CheckpointError(
            f"{error.filename or folder} may not be read by this user: mend its permissions."
        ) from error


def _read_weights(folder: Path, config: PretrainedConfig, files: list[Path]) -> Checkpoint:
    shapes = {
        name: tuple(file.get_slice(name).get_shape())
        for file in _opened(files)
        for name in file.keys()  # noqa: SIM118
    }
    problem = describe_mismatch(config, shapes)
    if problem:
        raise CheckpointError(f"{folder}: {problem}")
    digest, count, dtype = _fingerprint(folder, files, shapes)
    if getattr(config, "tie_word_embeddings", False) and shapes.keys() >= TIED:
        _check_tied(folder, files)
    is_iha = isinstance(config, IHAConfig)
    return Checkpoint(folder, config, digest, is_iha, count, dtype)


def read_config(folder: Path, trust_remote_code: bool = False) -> PretrainedConfig:
    """The configuration of a checkpoint folder, validated.

    Raises:
        CheckpointError: there is no folder, no `config.json`, or it is not what it should be.
        ConfigError: a field has a value that cannot be meant.
    """
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder} is not a folder: give the path of a checkpoint folder with config.json "
            "and model.safetensors."
        )
    file = folder / "config.json"
    if not file.is_file():
        raise CheckpointError(f"{folder} has no config.json: is it a Hugging Face checkpoint?")
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{file} is not readable as JSON ({error}): restore it.") from error
    if not isinstance(raw, dict) or "model_type" not in raw:
        raise CheckpointError(f"{file} names no model_type: restore it from the training run.")
    if raw["model_type"] == IHAConfig.model_type:
        return _iha_config(file, raw)
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            folder, trust_remote_code=trust_remote_code
        )
        return config
    except (StrictDataclassError, ValueError, OSError, KeyError) as error:
        raise CheckpointError(
            f"{file} is not understood by transformers: {_first_line(error)}"
        ) from error


def _iha_config(file: Path, raw: dict[str, Any]) -> IHAConfig:
    absent = [name for name in IHA_FIELDS if name not in raw]
    if absent:
        raise CheckpointError(
            f"{file} lacks {', '.join(absent)}: add what the model was trained with."
        )
    try:
        return IHAConfig.from_dict(raw)
    except AdapterError as error:
        raise type(error)(f"{file}: {error}") from error
    except (StrictDataclassError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{file} has a field of the wrong kind: {_last_line(error)}"
        ) from error


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder, in order, and no other than every loader would take.

    Without an index vLLM loads every safetensors file there is; with both an index and a single
    file Transformers takes the one and vLLM the other.
    """
    files = _named_files(folder)
    others = sorted(set(folder.glob("*.safetensors")) - set(files))
    # vLLM leaves these out too: a consolidated copy that some publishers add.
    others = [file for file in others if not file.name.startswith("consolidated")]
    if others:
        raise CheckpointError(
            f"{folder} holds {', '.join(file.name for file in others)} beside "
            f"{files[0].name}, and loaders differ in which they read: move away what is stale."
        )
    return files


def _named_files(folder: Path) -> list[Path]:
    index = folder / INDEX
    if index.is_file():
        try:
            names = sorted(
                set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            )
        except (ValueError, KeyError, AttributeError) as error:
            raise CheckpointError(
                f"{index} is not a weight index ({error!r}): restore it."
            ) from error
        absent = [name for name in names if not (folder / name).is_file()]
        if absent:
            raise CheckpointError(
                f"{index} names {', '.join(absent)}, which {folder} lacks: copy it there."
            )
        return [folder / name for name in names]
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if list(folder.glob("*.bin")) or list(folder.glob("*.pt")):
        raise CheckpointError(
            f"{folder} has pickled weights but no safetensors, which is the only format read "
            "here: save it again with model.save_pretrained(folder)."
        )
    raise CheckpointError(f"{folder} has neither {SINGLE} nor {INDEX}: copy the weights there.")


def _opened(files: list[Path]) -> Iterator[Any]:
    for file in files:
        try:
            with safe_open(file, framework="pt") as handle:
                yield handle
        except PermissionError:
            raise
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{file} is not a whole safetensors file ({_first_line(error)}): copy it again."
            ) from error


def _fingerprint(
    folder: Path, files: list[Path], shapes: dict[str, tuple[int, ...]]
) -> tuple[str, int, str]:
    """Hash, number of parameters and prevailing type; refuses what is not finite."""
    digests: dict[str, str] = {}
    sizes: dict[torch.dtype, int] = {}
    for file in _opened(files):
        for name in file.keys():  # noqa: SIM118
            if name in digests:
                raise CheckpointError(f"{folder} stores {name} twice: remove the stale shard.")
            tensor = file.get_tensor(name)
            if tensor.is_floating_point():
                _check_finite(folder, name, tensor)
                sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.numel()
            content = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
            head = f"{name}|{tensor.dtype}|{shapes[name]}|".encode()
            digests[name] = hashlib.sha256(head + hashlib.sha256(content).digest()).hexdigest()
    total = hashlib.sha256(_canonical(folder).encode())
    for name in sorted(digests):
        total.update(f"{name}:{digests[name]}\n".encode())
    prevailing = max(sizes, key=lambda kind: sizes[kind])
    return total.hexdigest(), sum(sizes.values()), str(prevailing).removeprefix("torch.")


def _check_tied(folder: Path, files: list[Path]) -> None:
    """Refuse a stored head that differs from the embedding it is said to share."""
    pair = [
        file.get_tensor(name) for file in _opened(files) for name in TIED.intersection(file.keys())
    ]
    if not torch.equal(*pair):
        raise CheckpointError(
            f"{folder}: config.json says tie_word_embeddings, but lm_head.weight differs from "
            "model.embed_tokens.weight and would be dropped: set tie_word_embeddings to false, or "
            "remove lm_head.weight."
        )


def _check_finite(folder: Path, name: str, tensor: torch.Tensor) -> None:
    # Some types (float8) have no isfinite of their own.
    values = tensor if tensor.element_size() > 1 else tensor.float()
    bad = values.numel() - int(torch.isfinite(values).sum())
    if bad:
        raise CheckpointError(
            f"{folder}: {name} has {bad} values that are not finite (NaN or infinite): the run "
            "that wrote it diverged, use an earlier checkpoint."
        )


def _canonical(folder: Path) -> str:
    # The file, not the parsed configuration: that one gains fields with every transformers release.
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return json.dumps({k: v for k, v in raw.items() if k not in VOLATILE}, sort_keys=True)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0].strip()


def _last_line(error: BaseException) -> str:
    return (str(error).strip() or repr(error)).splitlines()[-1].strip()
