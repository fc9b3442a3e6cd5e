"""The embedded pair: a small IHA model and its baseline with random weights, made on first use.

For: `iha-vllm` without model_args, the demo and tests, so that the whole way runs anywhere.
Not for: numbers that mean anything; they have learnt nothing and their scores are near zero.
"""

import os
import shutil
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

import numpy
import torch
from platformdirs import user_cache_path
from safetensors.torch import save_file
from transformers import AutoTokenizer, LlamaConfig

from model_adapters import checkpoint
from model_adapters.config import IHAConfig
from model_adapters.convert.init import identity_alpha, mean_collapse
from model_adapters.errors import AdapterError, CheckpointError
from model_adapters.layout import IHA_TENSORS, expected_shapes

IHA, BASELINE = "embedded-iha", "embedded-baseline"
"""What the two go by where a checkpoint is named; the first is the default."""

DESCRIPTION = (
    "embedded default checkpoint: random weights, 1.5M parameters, hybrid 4:1, P=2; "
    "untrained, so its scores say nothing about IHA"
)
DESCRIPTIONS = {
    IHA: DESCRIPTION,
    BASELINE: (
        "embedded baseline: the plain Llama of the embedded default's shape; random weights, so "
        "its scores say nothing about full attention"
    ),
}
SEED = 20260224
# Raised whenever what `make` writes changes, so that no stale copy is used.
REVISION = 1


def cache_folder() -> Path:
    """The folder that IHA_EVAL_CACHE names, or `iha-eval` in the user's cache folder.

    `iha_eval.ruler.cache` uses the same, and does not import this package, which imports torch.
    """
    named = os.environ.get("IHA_EVAL_CACHE")
    return Path(named).expanduser() if named else user_cache_path("iha-eval")


def config(name: str = IHA) -> LlamaConfig:
    """The paper's FLOP-matched hybrid 4:1 in small: P = 2, window N / (2 P^2) for N = 4096.

    Its fifth layer is plain global attention, as App. C counts it. The baseline is plain Llama of
    the same shape.
    """
    tokenizer = AutoTokenizer.from_pretrained(_assets())
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 32768,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "dtype": "bfloat16",
    }
    if name == BASELINE:
        return LlamaConfig(**shape, architectures=["LlamaForCausalLM"])
    return IHAConfig(
        **shape,
        architectures=["IHALlamaForCausalLM"],
        num_pseudo_heads=2,
        iha_layer_types=["iha_sliding"] * 4 + ["full"],
        iha_window=512,
        pseudo_rope="virtual",
    )


def ensure(name: str = IHA) -> Path:
    """The folder of one of the two; made where it is missing or damaged.

    Args:
        name: `IHA` or `BASELINE`.

    Raises:
        CheckpointError: the cache folder cannot be written.
    """
    folder = cache_folder() / f"{name}-{REVISION}"
    try:
        checkpoint.read(folder)
        return folder
    except AdapterError:
        pass
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            made = Path(scratch) / "made"
            make(made, name)
            shutil.rmtree(folder, ignore_errors=True)
            try:
                made.rename(folder)
            except OSError:
                # Another process was faster; what it made is the same.
                checkpoint.read(folder)
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint {name} cannot be written to {folder.parent} "
            f"({error.strerror}): set IHA_EVAL_CACHE to a folder that can."
        ) from error
    return folder


def make(folder: Path, name: str = IHA) -> None:
    """Write a checkpoint: configuration, tokenizer, seeded weights."""
    settings = config(name)
    settings.save_pretrained(folder)
    AutoTokenizer.from_pretrained(_assets()).save_pretrained(folder)
    save_file(_weights(settings), folder / checkpoint.SINGLE, metadata={"format": "pt"})


def _assets() -> Path:
    return Path(str(resources.files("model_adapters"))) / "assets" / "tokenizer"


def _weights(settings: Any) -> dict[str, torch.Tensor]:
    """Seeded by numpy's Philox, whose stream is the same everywhere."""
    draw = numpy.random.Generator(numpy.random.Philox(SEED))
    weights = {}
    for name, shape in sorted((expected_shapes(settings) or {}).items()):
        if name == "lm_head.weight":
            continue
        noise = torch.from_numpy(draw.standard_normal(shape, dtype=numpy.float32))
        kind = name.rsplit(".", 1)[-1]
        if kind in IHA_TENSORS:
            start = mean_collapse if kind == "collapse" else identity_alpha
            value = 0.3 * noise + start(shape[0], settings.num_pseudo_heads)
        elif len(shape) == 1:
            value = torch.ones(shape)
        else:
            value = noise / shape[-1] ** 0.5
        weights[name] = value.to(torch.bfloat16).contiguous()
    return weights
