"""From a foreign state dict to a checkpoint: every tensor accounted for.

For: `iha-eval convert --from-state-dict`, with `.safetensors`, and `.pt` or `.bin` files of
`torch.save`, of which nothing but tensors is loaded.
Not for: guessing: what the map does not say is refused; nor for folders of several files.
"""

import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from model_adapters.checkpoint import SINGLE, read_config
from model_adapters.config import IHAConfig
from model_adapters.convert import foreign_tensors, shards
from model_adapters.convert.base import iha_config, iha_fields, open_base, stored_fields
from model_adapters.convert.errors import ConversionError
from model_adapters.convert.output import (
    READING,
    WRITING,
    Outcome,
    Progress,
    appearing,
    check_room,
    checked,
    copy_companions,
    silent,
    write_json,
    write_provenance,
)
from model_adapters.convert.rules import Move, NameMap, Rule, assign, some
from model_adapters.convert.to_iha import identity_alpha
from model_adapters.layout import expected_shapes

#: No shard is larger than this, unless one tensor is.
SHARD_BYTES = 5_000_000_000
_HEAD, _EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


@dataclass(frozen=True)
class MapMixing:
    """What a plain configuration does not say of an IHA model.

    Attributes:
        pseudo_heads: P.
        pseudo_rope: "virtual" or "token".
        schedule: The kind of each layer, as `schedule.layer_kinds` reads it.
        window: W in tokens, or None to derive it.
        train_length: N in tokens, for W.
    """

    pseudo_heads: int
    pseudo_rope: str
    schedule: str = "all"
    window: int | None = None
    train_length: int | None = None


@dataclass(frozen=True)
class StateDictMap:
    """All that a map file says.

    Attributes:
        names: How names become ours, and tensors with them.
        inside: Keys that lead to the state dict in the file.
        mixing: What a plain configuration lacks; None with an IHA configuration.
        orientation: Of alphas whose axes no rule gives, of `foreign_tensors.ORIENTATIONS`.
    """

    names: NameMap
    inside: tuple[str, ...] = ()
    mixing: MapMixing | None = None
    orientation: str | None = None


def from_state_dict(
    file: Path,
    shape: Path,
    out: Path,
    plan: StateDictMap,
    *,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress = silent,
) -> Outcome:
    """Write a checkpoint from a state dict under other names.

    Args:
        file: The state dict, `.safetensors` or of `torch.save`.
        shape: A `config.json`, or the folder it lies in, of an IHA model or of the plain Llama of
            the same shape; tokenizer and license beside it go along, weights do not.
        out: A folder that does not exist yet.
        plan: The map.
        shard_bytes: Largest size of a shard.
        progress: Told phases and bytes.

    Returns:
        What was made, with every move.

    Raises:
        AdapterError: A tensor has no place, a place no tensor, or one of the files does not do;
            nothing is left behind.
    """
    folder = _shape_folder(shape)
    fields, config = _fields(folder, plan.mixing)
    shapes = expected_shapes(config)
    if shapes is None:
        raise ConversionError(
            f"{folder} has a quantization_config, and a state dict holds plain weights: remove it."
        )
    state = open_state_dict(file, plan.inside)
    optional = [_HEAD] if config.tie_word_embeddings else []
    lacking = [name for name in shapes if name.rsplit(".", 1)[-1] in plan.names.identity]
    moves, ignored = assign(list(state), shapes, optional + lacking, plan.names)
    if (way := plan.orientation) is not None:
        moves = [foreign_tensors.oriented(move, state[move.source], way) for move in moves]
    state, moves = _with_identities(lacking, moves, state, config)
    for move in moves:
        foreign_tensors.check(move, state[move.source])
    moves, tied = _untied(moves, state, config, shapes)
    rows = [(move.source, move.target, foreign_tensors.describe(move)) for move in moves]
    rows += [(move.source, "-", f"the same as {_EMBEDDING}, not stored twice") for move in tied]
    rows += [(name, "-", f"ignored, fits {pattern}") for name, pattern in ignored.items()]

    def make(move: Move) -> Tensor:
        made = foreign_tensors.make(move, state[move.source], config, shapes[move.target])
        # A layer that is passed again is stored again, and no file holds one memory twice.
        return made.clone() if plan.names.layers else made

    sizes = {
        move.target: torch.Size(shapes[move.target]).numel() * state[move.source].itemsize
        for move in moves
    }
    with appearing(out) as scratch:
        check_room(scratch, sum(sizes.values()))
        _write(scratch, list(_dealt(moves, sizes, shard_bytes)), make, sizes, progress)
        write_json(scratch / "config.json", fields | {"dtype": _prevailing(moves, state)})
        copied, left = copy_companions(folder, scratch)
        write_provenance(scratch, "from-state-dict", {"name": file.name}, moves=rows)
        progress(READING, 0, shards.size_of(scratch))
        made = checked(scratch, out)
    facts = {
        "tensors": f"{len(moves)} of ours from {len({move.source for move in moves})}",
        "ignored": str(len(ignored)),
    }
    notes = [
        "which way round a square weight lies, and which dimensions rotary embedding turns "
        "together, cannot be seen from shapes: compare outputs with your own code before you "
        "trust a number."
    ]
    if not any(name.startswith("tokenizer") for name in copied):
        notes.append(
            f"{folder} has no tokenizer, so {out} has none either: copy one into it, or name one "
            "with tokenizer= when you evaluate."
        )
    return Outcome(made, None, copied, left, facts, notes, rows)


def _with_identities(
    lacking: list[str], moves: list[Move], state: Mapping[str, Tensor], config: IHAConfig
) -> tuple[Mapping[str, Tensor], list[Move]]:
    """The state dict and the moves with identities for what the former has not."""
    mapped = {move.target for move in moves}
    dtype = next((state[move.source].dtype for move in moves), torch.float32)
    made: dict[str, Tensor] = {}
    for target in lacking:
        name, pseudo = target.rsplit(".", 1)[-1], config.num_pseudo_heads
        if target in mapped:
            continue
        if name == "collapse" and pseudo > 1:
            raise ConversionError(
                f"identity lists collapse, but there are {pseudo} pseudo-heads to take in: add a "
                "rule that makes it."
            )
        heads = config.kv_heads if name in ("alpha_k", "alpha_v") else config.num_attention_heads
        matrix = identity_alpha(heads, pseudo).to(dtype)
        if name == "collapse":
            matrix = matrix.new_ones(heads, 1) if config.collapse == "per_head" else matrix[..., 0]
        made[f"(identity) {target}"] = matrix
        moves = [*moves, Move(f"(identity) {target}", target, Rule(target, target))]
    return {**state, **made}, moves


def _shape_folder(shape: Path) -> Path:
    if shape.is_file() and shape.name != "config.json":
        raise ConversionError(
            f"{shape} is not called config.json: put it under that name into a folder of its own."
        )
    return shape.parent if shape.is_file() else shape


def _fields(folder: Path, mixing: MapMixing | None) -> tuple[dict[str, Any], IHAConfig]:
    """The new `config.json`, as it is and parsed."""
    config = read_config(folder)
    if isinstance(config, IHAConfig):
        if mixing is not None:
            raise ConversionError(
                f"{folder} is configured for IHA and so is the map: remove iha from the map."
            )
        fields = stored_fields(folder)
    else:
        base = open_base(folder)
        if mixing is None:
            raise ConversionError(
                f"{folder} is configured as plain Llama, and the map does not say the rest: add "
                "iha with pseudo_heads, pseudo_rope and schedule."
            )
        fields = iha_fields(
            base,
            pseudo_heads=mixing.pseudo_heads,
            kinds=mixing.schedule,
            window=mixing.window,
            train_length=mixing.train_length,
            pseudo_rope=mixing.pseudo_rope,
        )
    fields.pop("torch_dtype", None)
    return fields, iha_config(fields, folder)


def _untied(
    moves: list[Move],
    state: Mapping[str, Tensor],
    config: IHAConfig,
    shapes: Mapping[str, tuple[int, ...]],
) -> tuple[list[Move], list[Move]]:
    """The moves without an output that only repeats the embedding, and that one."""
    by_target = {move.target: move for move in moves}
    if not config.tie_word_embeddings or _HEAD not in by_target:
        return moves, []
    pair = [by_target[name] for name in (_HEAD, _EMBEDDING)]
    made = [foreign_tensors.make(m, state[m.source], config, shapes[m.target]) for m in pair]
    if not torch.equal(*made):
        raise ConversionError(
            f"{pair[0].source} differs from {pair[1].source}, but the configuration says "
            "tie_word_embeddings: set it to false, or list the one to drop under ignore."
        )
    return [move for move in moves if move is not pair[0]], pair[:1]


def _dealt(moves: list[Move], sizes: Mapping[str, int], most: int) -> Iterator[list[Move]]:
    """The moves of each shard, in order."""
    shard: list[Move] = []
    filled = 0
    for move in moves:
        if shard and filled + sizes[move.target] > most:
            yield shard
            shard, filled = [], 0
        shard.append(move)
        filled += sizes[move.target]
    yield shard


def _write(
    folder: Path,
    dealt: list[list[Move]],
    make: Callable[[Move], Tensor],
    sizes: Mapping[str, int],
    progress: Progress,
) -> None:
    total = sum(sizes.values())
    places: dict[str, str] = {}
    parameters = 0
    progress(WRITING, 0, total)
    for index, shard in enumerate(dealt, 1):
        name = SINGLE
        if len(dealt) > 1:
            name = f"model-{index:05d}-of-{len(dealt):05d}.safetensors"
        tensors = {move.target: make(move) for move in shard}
        shards.save(tensors, folder / name)
        parameters += sum(tensor.numel() for tensor in tensors.values())
        places |= dict.fromkeys(tensors, name)
        progress(WRITING, sum(sizes[target] for target in tensors), total)
    if len(dealt) > 1:
        sums = {"total_size": total, "total_parameters": parameters}
        shards.write_index(folder, sums, places)


def _prevailing(moves: list[Move], state: Mapping[str, Tensor]) -> str:
    """The type of most of the weights, which engines load all of them in."""
    counted: Counter[torch.dtype] = Counter()
    for move in moves:
        counted[state[move.source].dtype] += state[move.source].numel()
    return str(counted.most_common(1)[0][0]).removeprefix("torch.")


# How PyTorch names a byte that means nothing in a pickle.
_NO_PICKLE = "Unsupported operand"


def open_state_dict(file: Path, inside: tuple[str, ...] = ()) -> Mapping[str, Tensor]:
    """Open a file; nothing of a tensor is read before it is used.

    Args:
        file: With the ending `.safetensors`, `.pt`, `.pth` or `.bin`.
        inside: Keys that lead to the state dict, for a training checkpoint with more in it.

    Raises:
        ConversionError: It cannot be read, or holds no state dict there.
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
    if not isinstance(held, Mapping) or not any(
        isinstance(value, Tensor) for value in held.values()
    ):
        raise ConversionError(
            f"{file} holds no state dict but {_keys(held)}: name the way to it under inside."
        )
    unnamed = [repr(name) for name in held if not isinstance(name, str)]
    if unnamed:
        raise ConversionError(
            f"{file} holds tensors under {some(unnamed)}, which are no names: save a state dict, "
            "whose keys are texts."
        )
    other = [name for name, value in held.items() if not isinstance(value, Tensor)]
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
