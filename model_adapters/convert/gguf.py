"""GGUF files of Llama models, unpacked into a folder by Transformers.

For: bases that are only to be had as GGUF. Not for: low memory: the whole model is unpacked in
memory, and what quantization has lost stays lost.
"""

import importlib.util
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from model_adapters.convert.base import ARCHITECTURES, WEIGHT_TYPES
from model_adapters.convert.errors import ConversionError

_NEEDED = ("gguf", "accelerate")


def check(file: Path, dtype: str) -> None:
    """Refuse early what cannot be unpacked.

    Raises:
        ConversionError: there is no such file or type, or what reads it is not installed.
    """
    if dtype not in WEIGHT_TYPES:
        raise ConversionError(f"dtype is {dtype!r}: use one of {', '.join(WEIGHT_TYPES)}.")
    if not file.is_file():
        raise ConversionError(f"{file} is not there: give the path of a GGUF file.")
    absent = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise ConversionError(
            f"{file} needs {' and '.join(absent)} to be read: pip install {' '.join(absent)}"
        )


def unpack(file: Path, folder: Path, dtype: str) -> None:
    """Write weights, configuration and tokenizer as a Hugging Face folder.

    Args:
        file: the GGUF file.
        folder: where to.
        dtype: type of the weights.

    Raises:
        ConversionError: it cannot be read, or is no Llama.
    """
    named = {"gguf_file": file.name}
    try:
        config = AutoConfig.from_pretrained(file.parent, **named)
        if config.model_type not in ARCHITECTURES:
            raise ConversionError(
                f"{file} holds a model of type {config.model_type!r}, whose layers are not "
                f"Llama's: convert one of type {' or '.join(ARCHITECTURES)}."
            )
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


def _unpacking() -> dict[str, Any]:
    """What makes Transformers unpack; releases that cannot keep weights packed always do."""
    kind = getattr(transformers, "GgufConfig", None)
    return {} if kind is None else {"quantization_config": kind(dequantize=True)}
