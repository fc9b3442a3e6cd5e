"""GGUF files of Llama models, unpacked into a folder by Transformers.

For: bases that are only to be had as GGUF. Not for: low memory: the whole model is unpacked in
memory, and what quantization has lost stays lost.

Transformers reads only what it has a name for, and says nothing of the rest: scaled rotary
frequencies, windows, biases, experts. So the file is looked at here first.
"""

import importlib.util
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from model_adapters.convert.base import WEIGHT_TYPES
from model_adapters.convert.errors import ConversionError
from model_adapters.convert.rules import some

# Whose files were compared with what Transformers makes of them.
ARCHITECTURES = ("llama", "mistral")

_NEEDED = ("gguf", "accelerate")
# What a plain Llama consists of, under llama.cpp's names.
_TOP = ("token_embd.weight", "output_norm.weight")
_BLOCK = (
    "attn_norm",
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_output",
    "ffn_norm",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
)
_UNREAD = (
    ", which transformers does not read from a GGUF file: convert the model's safetensors folder."
)
# Factors of the rotary frequencies, as Llama 3.1 and 3.2 have them.
_ROPE_TENSOR = re.compile(r"rope_(freqs|factors_long|factors_short)\.weight")


def check(file: Path, dtype: str) -> None:
    """Refuse early what cannot be unpacked.

    Raises:
        ConversionError: There is no such file or type, or what reads it is not installed.
    """
    if dtype not in WEIGHT_TYPES:
        raise ConversionError(f"dtype is {dtype!r}: use one of {', '.join(WEIGHT_TYPES)}.")
    if not file.is_file():
        raise ConversionError(f"{file} is not there: give the path of a GGUF file.")
    absent = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise ConversionError(
            f"{file} needs {' and '.join(absent)} to be read: pip install 'iha-eval[gguf]'"
        )


def unpack(file: Path, folder: Path, dtype: str) -> None:
    """Write weights, configuration and tokenizer as a Hugging Face folder.

    Args:
        file: The GGUF file.
        folder: Where to.
        dtype: Type of the weights.

    Raises:
        ConversionError: It cannot be read, is no Llama, or holds what would be lost.
    """
    named = {"gguf_file": file.name}
    try:
        config = AutoConfig.from_pretrained(file.parent, **named)
        if config.model_type not in ARCHITECTURES:
            raise ConversionError(
                f"{file} holds a model of type {config.model_type!r}, whose layers are not "
                f"Llama's: convert one of type {' or '.join(ARCHITECTURES)}."
            )
        if problem := _lost(*_content(file)):
            raise ConversionError(f"{file} {problem}")
        model = AutoModelForCausalLM.from_pretrained(
            file.parent,
            dtype=getattr(torch, dtype),
            **named,
            **_unpacking(),
        )
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **named)
    except ConversionError:
        raise
    # A damaged file makes four libraries raise all kinds, plain Exception among them.
    except Exception as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ConversionError(
            f"{file} is not understood by transformers ({reason}): is it a whole GGUF file?"
        ) from error
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _content(file: Path) -> tuple[dict[str, Any], list[str]]:
    """The settings of the architecture without its name, and the names of all tensors."""
    # Optional, and `check` has seen it.
    from gguf import GGUFReader

    reader = GGUFReader(file)
    settings = {
        name.partition(".")[2]: field.contents()
        for name, field in reader.fields.items()
        if name.startswith(tuple(f"{architecture}." for architecture in ARCHITECTURES))
    }
    return settings, [str(tensor.name) for tensor in reader.tensors]


def _lost(settings: dict[str, Any], tensors: Collection[str]) -> str | None:
    """What a file has and its folder would not, or the other way round, as an error says it."""
    # llama.cpp takes a factor without a type as linear, and 0 as none.
    scaling = settings.get("rope.scaling.type")
    factors = {settings.get(f"rope.{name}", 1.0) for name in ("scaling.factor", "scale_linear")}
    if scaling not in (None, "none"):
        return f"has rotary scaling (rope.scaling.type {scaling!r}){_UNREAD}"
    if scaling is None and factors - {0.0, 1.0}:
        return f"has rotary scaling (factor {max(factors):g}){_UNREAD}"
    if turned := next(filter(_ROPE_TENSOR.fullmatch, tensors), None):
        return f"has rotary scaling (the tensor {turned}){_UNREAD}"
    if window := settings.get("attention.sliding_window"):
        return f"has a window (attention.sliding_window {window}){_UNREAD}"
    blocks = {
        f"blk.{layer}.{name}.weight" for layer in range(settings["block_count"]) for name in _BLOCK
    }
    known = {*_TOP, *blocks}
    if other := sorted(set(tensors) - known - {"output.weight"}):
        return f"holds {some(other)}{_UNREAD}"
    if absent := sorted(known - set(tensors)):
        return f"lacks {some(absent)}: if it is one part of several, merge them first."
    return None


def _unpacking() -> dict[str, Any]:
    """What makes Transformers unpack; releases that cannot keep weights packed always do."""
    kind = getattr(transformers, "GgufConfig", None)
    return {} if kind is None else {"quantization_config": kind(dequantize=True)}
