"""Reads, checks and fingerprints a checkpoint folder before anything expensive is started.

For: one clear sentence about what is wrong with a checkpoint, and a hash that says which model
was evaluated. Works for IHA and for plain checkpoints.
Not for: loading weights into a model, converting, or resolving hub names to folders.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import CONFIG_MAPPING, AutoConfig, PretrainedConfig

from model_adapters.config import CONFIGS, IHAConfig
from model_adapters.errors import AdapterError, CheckpointError
from model_adapters.layout import describe_mismatch, expected_shapes

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
# Suffixes of the files beside the weights.
BESIDE = (".json", ".jinja", ".model")
# Bytes of a file's name.
LONGEST_NAME = 255
# Fields that differ between copies of one and the same model.
VOLATILE = ("transformers_version", "_name_or_path", "torch_dtype", "dtype")
# Values checked at once, so that a look at a tensor needs little more memory than the tensor.
SLICE = 1 << 22

# Whole numbers that a configuration may have at most; larger ones are damage, and cost minutes.
MOST = {
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "head_dim"), 1_000_000),
    **dict.fromkeys(("hidden_size", "intermediate_size", "vocab_size"), 1_000_000_000),
    "num_hidden_layers": 10_000,
    "max_position_embeddings": 2**40,
    "num_labels": 100_000,
}
# Numbers that have no meaning at 0, below it or without end.
POSITIVE = ("rope_theta", "rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon")
# Saved by whoever loaded the model last.
KERNEL_FIELDS = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")

TIED = {"lm_head.weight", "model.embed_tokens.weight"}


@dataclass(frozen=True)
class Checkpoint:
    """What a checked checkpoint folder holds.

    Attributes:
        path: the folder.
        config: its configuration.
        fingerprint: sha256 (hex) of configuration and weights; the same for every sharding.
        is_iha: whether its model_type is "iha_llama" or "iha_nanochat".
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
        for file in sorted(folder.iterdir()):
            # Readers of tokens, templates and stops pass over what is not there.
            if file.suffix in BESIDE:
                _check_link(file)
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
    layers = getattr(config, "num_hidden_layers", None)
    if isinstance(layers, int) and layers > len(shapes):
        raise CheckpointError(
            f"{folder}: config.json says num_hidden_layers {layers}, but the weights are "
            f"{len(shapes)} tensors, fewer than one a layer: mend config.json, or copy them again."
        )
    try:
        problem = describe_mismatch(config, shapes)
    # Whatever the class of any architecture makes of fields that contradict each other.
    except Exception as error:
        raise CheckpointError(
            f"{folder / 'config.json'} describes no model that can be built "
            f"({_first_line(error)}): restore it from the training run."
        ) from error
    if problem:
        raise CheckpointError(f"{folder}: {problem}")
    strict = expected_shapes(config) is not None
    digest, count, dtype = _fingerprint(folder, files, shapes, strict=strict)
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
    _check_link(file)
    if not file.is_file():
        raise CheckpointError(f"{folder} has no config.json: is it a Hugging Face checkpoint?")
    raw = _read_json(file)
    if not isinstance(raw, dict) or not isinstance(raw.get("model_type"), str):
        raise CheckpointError(f"{file} names no model_type: restore it from the training run.")
    _check_fields(file, raw)
    if raw["model_type"] in CONFIGS:
        return _iha_config(file, _without_kernels(raw))
    own_code = trust_remote_code and "auto_map" in raw
    try:
        if raw["model_type"] in CONFIG_MAPPING and not own_code:
            kind = CONFIG_MAPPING[raw["model_type"]]
            config: PretrainedConfig = kind.from_dict(_without_kernels(raw))
            config.name_or_path = str(folder)
        else:
            config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
        return config
    # Whatever the class of any architecture makes of fields that cannot be meant.
    except Exception as error:
        raise CheckpointError(
            f"{file} is not understood by transformers: {_reason(error)}"
        ) from error


def names_kernel(raw: Any) -> str | None:
    """The hub repository of attention code that a `config.json` asks for; None without one."""
    if not isinstance(raw, dict):
        return None
    own = (raw.get(name) for name in KERNEL_FIELDS)
    named = next((value for value in own if isinstance(value, str) and "/" in value), None)
    return named or next(filter(None, map(names_kernel, raw.values())), None)


def _without_kernels(raw: dict[str, Any]) -> dict[str, Any]:
    """A configuration without the attention implementation that it was saved with.

    That is the choice of whoever loads a model; and where it names a repository, merely setting it
    makes Transformers fetch code from the hub.
    """
    return {
        name: _without_kernels(value) if isinstance(value, dict) else value
        for name, value in raw.items()
        if name not in KERNEL_FIELDS
    }


def _check_fields(file: Path, raw: dict[str, Any]) -> None:
    """Refuse what no architecture can mean, before a configuration is built from it.

    Building one takes time and memory in proportion to some of its numbers.
    """
    for name, most in MOST.items():
        value = raw.get(name)
        if isinstance(value, bool | int | float | str) and not (
            type(value) is int and 1 <= value <= most
        ):
            raise CheckpointError(
                f"{file} has {name} {_short(value)}: set it to a whole number from 1 to {most}."
            )
    for name in POSITIVE:
        _check_positive(file, name, raw.get(name))
    for name in ("dtype", "torch_dtype"):
        value = raw.get(name)
        known = isinstance(value, str) and isinstance(
            getattr(torch, value.removeprefix("torch."), None), torch.dtype
        )
        if value is not None and value != "auto" and not known and not isinstance(value, dict):
            raise CheckpointError(
                f"{file} has {name} {_short(value)}, which torch does not know: set it to the type "
                "of the weights, such as bfloat16."
            )
    quantization = raw.get("quantization_config")
    if quantization is not None and not isinstance(quantization, dict):
        raise CheckpointError(
            f"{file} has quantization_config {_short(quantization)}, which is no mapping: remove "
            "it, or restore it from the tool that quantized the weights."
        )
    for name in ("rope_parameters", "rope_scaling"):
        _check_rope_fields(file, name, raw.get(name), layered="layer_types" in raw)
    _check_rope_once(file, raw)


def _check_rope_once(file: Path, raw: Mapping[str, Any]) -> None:
    """Refuse two accounts of the rotary embedding, of which Transformers reads only one.

    `rope_scaling` of older releases takes the place of all of `rope_parameters`, theta included.
    """
    whole = raw.get("rope_parameters") or {}
    scaling = raw.get("rope_scaling") or {}
    if whole and scaling and whole != scaling:
        raise CheckpointError(
            f"{file} has rope_scaling beside rope_parameters, which then counts for nothing, its "
            "rope_theta included: write all of it into rope_parameters and remove rope_scaling."
        )
    theta, other = raw.get("rope_theta"), whole.get("rope_theta")
    if None not in (theta, other) and theta != other:
        raise CheckpointError(
            f"{file} has rope_theta {_short(theta)} and, in rope_parameters, {_short(other)}: "
            "remove the one that the model was not trained with."
        )


def _check_rope_fields(file: Path, name: str, rope: Any, *, layered: bool) -> None:
    if rope is None:
        return
    if not isinstance(rope, dict):
        raise CheckpointError(f"{file} has {name} {_short(rope)}, which is no mapping: restore it.")
    nested = [kind for kind, value in rope.items() if isinstance(value, dict)]
    if nested and not layered:
        raise CheckpointError(
            f"{file} has {name} for each of {', '.join(sorted(nested))}, and this architecture "
            "has one for all layers and would ignore them: move rope_theta and the rest up."
        )
    for field in ("rope_theta", "factor", "original_max_position_embeddings"):
        _check_positive(file, f"{field} in {name}", rope.get(field))
    for kind in nested:
        _check_rope_fields(file, f"{name}.{kind}", rope[kind], layered=False)


def _check_positive(file: Path, name: str, value: Any) -> None:
    if value is None:
        return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and 0 < value < float("inf")):
        raise CheckpointError(
            f"{file} has {name} {_short(value)}: set it to a finite number above 0, as the model "
            "was trained with."
        )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    # Brackets without end make json give up with a RecursionError.
    except (ValueError, RecursionError) as error:
        _check_impostor(file)
        raise CheckpointError(
            f"{file} is not readable as JSON ({_first_line(error)}): restore it."
        ) from error


def _iha_config(file: Path, raw: dict[str, Any]) -> IHAConfig:
    kind = CONFIGS[raw["model_type"]]
    absent = [name for name in kind.required_fields if name not in raw]
    if absent:
        raise CheckpointError(
            f"{file} lacks {', '.join(absent)}: add what the model was trained with."
        )
    try:
        return kind.from_dict(raw)
    except AdapterError as error:
        raise type(error)(f"{file}: {error}") from error
    # Checks of ours and of Transformers meet fields of any type in any order.
    except Exception as error:
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
    _check_link(index)
    if index.is_file():
        return _indexed_files(folder, index)
    _check_link(folder / SINGLE)
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if list(folder.glob("*.bin")) or list(folder.glob("*.pt")):
        raise CheckpointError(
            f"{folder} has pickled weights but no safetensors, which is the only format read "
            "here: save it again with model.save_pretrained(folder)."
        )
    if quantized := sorted(folder.glob("*.gguf")):
        raise CheckpointError(
            f"{folder} has its weights as GGUF ({quantized[0].name}), and only safetensors are "
            "read here: convert it first."
        )
    raise CheckpointError(f"{folder} has neither {SINGLE} nor {INDEX}: copy the weights there.")


def _indexed_files(folder: Path, index: Path) -> list[Path]:
    """The files that a weight index names, which all are there and inside of the folder."""
    raw = _read_json(index)
    listed = raw.get("weight_map") if isinstance(raw, dict) else None
    if not isinstance(listed, dict) or not all(isinstance(name, str) for name in listed.values()):
        raise CheckpointError(
            f"{index} is not a weight index: restore it, its weight_map names a file per tensor."
        )
    names = sorted(set(listed.values()))
    if not names:
        raise CheckpointError(f"{index} names no file: restore it, or save the model again.")
    for name in names:
        if len(name.encode("utf-8", "surrogatepass")) > LONGEST_NAME:
            raise CheckpointError(
                f"{index} names a file of {len(name)} characters, which no file system has: "
                "restore it."
            )
        if Path(name).name != name:
            raise CheckpointError(
                f"{index} names {name}, which is outside of {folder}: copy the file there and name "
                "it without its folder."
            )
        _check_link(folder / name)
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        raise CheckpointError(
            f"{index} names {', '.join(absent)}, which {folder} lacks: copy it there."
        )
    return [folder / name for name in names]


def _check_link(file: Path) -> None:
    """Refuse a link whose target is gone, as a download cache that was cleaned leaves them."""
    if file.is_symlink() and not file.exists():
        raise CheckpointError(
            f"{file} is a link to {file.readlink()}, which is not there: copy the file itself."
        )


def _check_impostor(file: Path) -> None:
    """Say what a file really is that is not what its name says, where that can be told."""
    with file.open("rb") as opened:
        head = opened.read(64)
    if not head:
        raise CheckpointError(f"{file} is empty: copy it again.")
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{file} is a Git LFS pointer, not the file itself: run git lfs pull where it was "
            "cloned."
        )
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise CheckpointError(
            f"{file} is a web page, as a failed download leaves one: download it again."
        )
    # A zip file, which is what torch.save writes, or a bare pickle.
    if head.startswith((b"PK\x03\x04", b"\x80\x02")) and file.suffix == ".safetensors":
        raise CheckpointError(
            f"{file} is pickled by torch.save, whatever its name says: save it again with "
            "model.save_pretrained(folder)."
        )


def _opened(files: list[Path]) -> Iterator[Any]:
    for file in files:
        try:
            with safe_open(file, framework="pt") as handle:
                yield handle
        except PermissionError:
            raise
        except (SafetensorError, OSError) as error:
            _check_impostor(file)
            raise CheckpointError(
                f"{file} is not a whole safetensors file ({_first_line(error)}): copy it again."
            ) from error


def _fingerprint(
    folder: Path, files: list[Path], shapes: dict[str, tuple[int, ...]], *, strict: bool
) -> tuple[str, int, str]:
    """Hash, number of parameters and prevailing type; refuses what is not finite.

    `strict` refuses whole numbers too, which only quantized and unknown models have.
    """
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
            elif strict:
                raise CheckpointError(
                    f"{folder}: {name} is of type {str(tensor.dtype).removeprefix('torch.')}, but "
                    "weights are floating-point numbers unless config.json has a "
                    "quantization_config: save them in the type they were trained in."
                )
            content = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
            head = f"{name}|{tensor.dtype}|{shapes[name]}|".encode()
            digests[name] = hashlib.sha256(head + hashlib.sha256(content).digest()).hexdigest()
    total = hashlib.sha256(_canonical(folder).encode())
    for name in sorted(digests):
        total.update(f"{name}:{digests[name]}\n".encode())
    prevailing = max(sizes, key=lambda kind: sizes[kind], default=torch.float32)
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
    bad = sum(
        int((~torch.isfinite(part if part.element_size() > 1 else part.float())).sum())
        for part in tensor.reshape(-1).split(SLICE)
    )
    if bad:
        raise CheckpointError(
            f"{folder}: {name} has {bad} values that are not finite (NaN or infinite): the run "
            "that wrote it diverged, use an earlier checkpoint."
        )


def _canonical(folder: Path) -> str:
    # The file, not the parsed configuration: that one gains fields with every transformers release.
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    left: tuple[str, ...] = VOLATILE
    if raw["model_type"] in CONFIGS:
        # Only a copy of the code that is here anyway (`iha-eval export-remote-code`).
        left += ("auto_map",)
    return json.dumps({k: v for k, v in raw.items() if k not in left}, sort_keys=True)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0].strip()


def _reason(error: BaseException) -> str:
    """The whole of it in a line: transformers names the check first and the fault after it."""
    return " ".join(str(error).split()) or repr(error)


def _last_line(error: BaseException) -> str:
    return (str(error).strip() or repr(error)).splitlines()[-1].strip()
