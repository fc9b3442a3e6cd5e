"""The plain model to start from: a folder of one of `bases/`, or the reason why it is none.

For: what comes before a conversion; nothing is written. Not for: GGUF files (see `gguf.py`).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import LlamaConfig, PretrainedConfig

from model_adapters import checkpoint
from model_adapters.bases import BASES
from model_adapters.bases.nanochat import LATER
from model_adapters.config import CONFIGS, IHA_KINDS, IHAConfig, IHANanoChatConfig
from model_adapters.convert import schedule
from model_adapters.convert.errors import ConversionError
from model_adapters.convert.shards import Weights
from model_adapters.errors import AdapterError, CheckpointError
from model_adapters.layout import describe_mismatch

#: More is a slip of the keyboard, and would fill the memory.
MOST_PSEUDO_HEADS = 1024
WEIGHT_TYPES = ("float32", "bfloat16", "float16", "float64")


@dataclass(frozen=True)
class Base:
    """A plain model that can become an IHA model, as far as its configuration tells.

    Attributes:
        folder: Where it lies.
        fields: Its `config.json`, in the terms of Llama's and of the IHA format.
        config: The same, parsed; of a Mistral as a Llama's.
        iha_type: The configuration of an IHA model on it.
    """

    folder: Path
    fields: dict[str, Any]
    config: PretrainedConfig
    iha_type: type[IHAConfig] = IHAConfig

    @property
    def has_windows(self) -> bool:
        """Whether layers of its own have windows, which stay with them."""
        return self.fields.get("iha_window") is not None


def open_base(folder: Path) -> Base:
    """Read the configuration of a folder.

    Raises:
        ConversionError: It describes something else than a plain Llama.
        CheckpointError: It is missing or broken.
    """
    config = checkpoint.read_config(folder)
    raw = stored_fields(folder)
    if problem := _unfit(raw, config):
        raise ConversionError(f"{folder}: {problem}")
    base = LATER if isinstance(config, IHAConfig) else BASES[raw["model_type"]]
    fields = base.llama_fields(raw, config)
    if not base.is_written:
        config = LlamaConfig.from_dict(fields)
    return Base(folder, fields, config, base.iha_config)


def check_weights(base: Base) -> checkpoint.Checkpoint:
    """Check the weights; every one is read once.

    Raises:
        ConversionError: They are sound, but of a type that cannot be converted.
        CheckpointError: They are broken, or not safetensors.
    """
    contents = checkpoint.read(base.folder)
    if contents.weights_dtype not in WEIGHT_TYPES:
        raise ConversionError(
            f"{base.folder} has weights of type {contents.weights_dtype}: convert a copy in "
            f"{', '.join(WEIGHT_TYPES[:-1])} instead."
        )
    # Only a model that calls itself Llama was checked against Llama's layout so far.
    if problem := describe_mismatch(base.config, Weights(base.folder).shapes()):
        raise CheckpointError(f"{base.folder}: {problem}")
    return contents


def stored_fields(folder: Path) -> dict[str, Any]:
    """`config.json` as it stands, fields that Transformers does not know included."""
    raw: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return raw


def iha_fields(
    base: Base,
    *,
    pseudo_heads: int,
    kinds: str,
    window: int | None,
    train_length: int | None,
    pseudo_rope: str,
) -> dict[str, Any]:
    """A base's `config.json` with what makes it an IHA model's.

    Args:
        base: The base.
        pseudo_heads: P.
        kinds: The schedule, as `schedule.layer_kinds` reads it.
        window: W in tokens, or None to derive it.
        train_length: N in tokens, for W; None takes the base's longest context.
        pseudo_rope: "virtual" or "token".

    Raises:
        ConversionError: Schedule and window do not go with the base, or P is out of bounds.
    """
    if not 1 <= pseudo_heads <= MOST_PSEUDO_HEADS:
        raise ConversionError(
            f"pseudo-heads is {pseudo_heads:,}: give a number from 1 to {MOST_PSEUDO_HEADS:,}, as "
            "each token becomes so many virtual tokens."
        )
    layers = schedule.layer_kinds(kinds, base.config.num_hidden_layers)
    context = base.config.max_position_embeddings
    if base.has_windows:
        layers = schedule.keep_windows(layers, base.fields["iha_layer_types"], kinds)
        if window is None and train_length is None:
            window = base.fields["iha_window"]
        elif window != base.fields["iha_window"]:
            raise ConversionError(
                f"{base.folder} has windows of its own, of {base.fields['iha_window']} tokens: "
                "leave out the window and the train length."
            )
    return base.fields | {
        "model_type": base.iha_type.model_type,
        "architectures": [base.iha_type.architecture],
        "num_pseudo_heads": pseudo_heads,
        "iha_layer_types": layers,
        "iha_window": schedule.window(
            layers, pseudo_heads, context, tokens=window, train_length=train_length
        ),
        "pseudo_rope": pseudo_rope,
    }


def iha_config(fields: dict[str, Any], where: Path) -> IHAConfig:
    """Parse the fields of a new IHA configuration.

    Raises:
        AdapterError: A field has a value that cannot be meant; `where` is named.
    """
    try:
        return CONFIGS[fields["model_type"]].from_dict(fields)
    except AdapterError as error:
        raise type(error)(f"{where}: {error}") from error


def _unfit(raw: dict[str, Any], config: PretrainedConfig) -> str | None:
    """Why a model cannot be converted, or None."""
    kind = raw["model_type"]
    if isinstance(config, IHANanoChatConfig) and not set(config.layer_kinds) & set(IHA_KINDS):
        return None
    if isinstance(config, IHAConfig):
        return "it is an IHA checkpoint already: make it plain with --to-plain first."
    if kind not in BASES:
        *others, last = BASES
        return (
            f"model_type is {kind!r}, whose layers are not Llama's: convert a checkpoint of type "
            f"{', '.join(others)} or {last}."
        )
    wanted = BASES[kind].architecture
    stated = raw.get("architectures") or [wanted]
    if not isinstance(stated, list):
        return f'architectures is {stated!r} and no list: write ["{wanted}"].'
    if stated != [wanted]:
        return (
            f"architectures is {stated}, but only a language model can be converted: save it as "
            f"{wanted}."
        )
    if raw.get("quantization_config"):
        return (
            "its weights are quantized (quantization_config), and mixing heads needs plain ones: "
            "convert the model as it was before quantization."
        )
    if raw.get("auto_map"):
        return (
            "auto_map says that code of its own defines the model: remove the field if it is "
            f"exactly {wanted}."
        )
    act = BASES[kind].hidden_act
    stated = getattr(config, "hidden_act", act)
    if stated != act:
        return f"hidden_act is {stated!r}, and IHA is served with {act!r} only."
    return BASES[kind].unfit(raw, config)
