"""A checkpoint that the user asked about: is it sound, and can it be served here?

For: `iha-eval doctor CHECKPOINT`; folders and embedded names only, nothing is fetched.
Not for: whether its implementations agree (`iha-eval verify`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from iha_eval.doctor import serving
from iha_eval.doctor.finding import NOTE, OK, PROBLEM, WARNING, Finding
from iha_eval.doctor.machine import Machine
from iha_eval.errors import UserError
from iha_eval.models.vllm.devices import free_memory

GIB = 2**30


def checkpoint(machine: Machine) -> Iterator[Finding]:
    """Everything about the named checkpoint; nothing where none is named."""
    if machine.checkpoint is None:
        return
    # Torch and transformers are needed for a checkpoint, and for nothing else here.
    from iha_eval.models import source
    from model_adapters.default_checkpoint import DESCRIPTIONS

    name = machine.checkpoint
    if name not in DESCRIPTIONS and not Path(name).expanduser().exists():
        yield Finding(
            "checkpoint", PROBLEM, f"{name} is not a folder here", "give the path of a folder"
        )
        return
    try:
        origin = source.find_checkpoint(name)
    except UserError as error:
        yield Finding("checkpoint", PROBLEM, str(error))
        return
    model = origin.checkpoint
    kind = f"IHA, P={model.config.num_pseudo_heads}" if model.is_iha else model.config.model_type
    yield Finding(
        "checkpoint",
        OK,
        f"{kind}, {model.num_parameters / 1e6:.1f}M parameters in {model.weights_dtype}, "
        f"fingerprint {model.fingerprint[:12]}",
    )
    yield from _tokenizer(origin)
    yield from _types(model)
    yield from _served(machine, model)
    yield from _room(machine, model.path)


def _tokenizer(origin: Any) -> Iterator[Finding]:
    from iha_eval.models.arguments import ModelArguments
    from iha_eval.models.tokenizer import PromptTokenizer
    from iha_eval.verify.prompts import check_vocabulary

    try:
        text = PromptTokenizer(origin, ModelArguments())
        check_vocabulary(text, origin.checkpoint.config.vocab_size)
    except UserError as error:
        yield Finding("tokenizer", PROBLEM, str(error))
        return
    if not text.tokenizer.chat_template:
        yield Finding(
            "tokenizer", NOTE, "has no chat template: --apply_chat_template does not work with it"
        )
    else:
        yield Finding("tokenizer", OK, f"{len(text.tokenizer)} tokens, with a chat template")


def _types(model: Any) -> Iterator[Finding]:
    if model.weights_dtype == "float32":
        yield Finding(
            "dtype",
            NOTE,
            "float32 weights: iha-vllm computes in float32, but vLLM's own dtype=auto in bfloat16",
            "start vLLM's own server with --dtype float32",
        )


def _served(machine: Machine, model: Any) -> Iterator[Finding]:
    config = model.config
    width = getattr(config, "head_dim", None)
    chosen = serving.choose(machine, model.weights_dtype, width)
    if chosen is not None:
        cannot = bool(chosen.instead) and model.is_iha
        yield Finding(
            "backend for it",
            PROBLEM if cannot else OK,
            f"{chosen.backend}: {chosen.why}" + ("; it cannot serve IHA" if cannot else ""),
            chosen.instead if cannot else "",
        )
    if width:
        yield from serving.head_width(machine, width)
    if model.is_iha:
        mixed = len(set(map(config.pseudo_heads, range(config.num_hidden_layers)))) > 1
        yield from serving.blocks(machine, config.num_pseudo_heads, mixed)
        yield from serving.admission(config.narrowest_window)


def _room(machine: Machine, folder: Path) -> Iterator[Finding]:
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if machine.gpus:
        free, where = machine.gpus[0].free, machine.gpus[0].name
    else:
        free = free_memory(machine.root / "proc/meminfo", machine.root / "sys/fs/cgroup")
        where = "main memory"
    if size > 0.8 * free:
        yield Finding(
            "room for it",
            WARNING,
            f"its weights take {size / GIB:.1f} GiB, and {free / GIB:.1f} are free in {where}",
            "free memory, or spread it over GPUs with --model_args tensor_parallel_size=2",
        )


CHECKS = (checkpoint,)
