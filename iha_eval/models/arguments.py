"""What may be written in `--model_args`, checked one by one before anything is loaded.

For: names, types and defaults that both model classes share; whatever is left over goes to the
class's own engine. Every refusal is one sentence.
Not for: what vLLM makes of its own arguments (see `models/vllm/engine_arguments.py`).
"""

import contextlib
import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iha_eval.errors import UserError
from iha_eval.generation_kwargs import DEFAULT_BUDGET

DTYPES = ("auto", "float32", "bfloat16", "float16")
# How lm-eval's own classes, vLLM and Transformers call them too.
DTYPE_NAMES = {
    "fp32": "float32",
    "float": "float32",
    "bf16": "bfloat16",
    "fp16": "float16",
    "half": "float16",
}
STOP, COUNT = "stop", "count"
# Other names of an argument, as lm-eval's own classes have them.
ALIASES = {
    "max_length": "max_model_len",
    "torch_dtype": "dtype",
    "custom_prefix_token_id": "prefix_token_id",
    "token": "hf_token",
    "engines": "data_parallel_size",
}
# Arguments of lm-eval's own classes that ask for what happens anyway.
NO_OPS: dict[str, tuple[Any, ...]] = {
    "truncation": (False,),
    "parallelize": (False,),
    "use_fast_tokenizer": (True,),
    "backend": ("default", "causal"),
    "logits_cache": (True, False),
    "load_in_8bit": (False,),
    "load_in_4bit": (False,),
    "enable_lora": (False,),
    "autogptq": (False,),
    "gptqmodel": (False,),
    "truncation_side": ("left",),
    "max_lora_rank": (16,),
    "offload_folder": ("./offload",),
    "subfolder": ("",),
}
_MERGE = "merge the adapter into the checkpoint (merge_and_unload of peft) and give that folder"
_NOTHING_CUT = "leave it out, for nothing is ever truncated: what does not fit is refused"
_QUANTIZED = "give a checkpoint that was saved quantized, or quantization= with iha-vllm"
_ITSELF = "leave it out: the model runs in this process (--model local-completions asks a server)"
_PLACES = "say device=cuda:0, or use iha-vllm with tensor_parallel_size=N for several GPUs"
# Arguments of lm-eval's own classes that have no meaning here -> what to do instead.
INSTEAD = {
    "swap_space": "leave it out, for vLLM no longer moves its KV cache to main memory",
    "truncation": _NOTHING_CUT,
    "truncation_side": _NOTHING_CUT,
    "lora_local_path": _MERGE,
    "enable_lora": _MERGE,
    "max_lora_rank": _MERGE,
    "lora_modules": _MERGE,
    "peft": _MERGE,
    "delta": "add the weights to the base's and give that folder",
    "device_map": _PLACES,
    "parallelize": _PLACES,
    "gpus": _PLACES,
    "max_memory_per_gpu": _PLACES,
    "max_cpu_memory": _PLACES,
    "offload_folder": _PLACES,
    "use_fast_tokenizer": "leave it out, for only tokenizers with a tokenizer.json are read",
    "load_in_8bit": _QUANTIZED,
    "load_in_4bit": _QUANTIZED,
    "autogptq": _QUANTIZED,
    "gptqmodel": _QUANTIZED,
    "logits_cache": "leave it out, for every log-probability is computed",
    "tp_plan": _PLACES,
    "tokenizer_revision": "give the folder of that tokenizer as tokenizer=",
    "base_url": _ITSELF,
    "num_concurrent": "say --batch_size N, or leave it out for as many as the engine takes",
    "tokenized_requests": _ITSELF,
    "tokenizer_backend": _ITSELF,
    "tp_size": "say tensor_parallel_size= with iha-vllm",
    "dp_size": "say data_parallel_size= with iha-vllm",
    "mem_fraction_static": "say gpu_memory_utilization= with iha-vllm",
    "context_length": "say max_model_len=",
    "model_path": "say pretrained=",
    "gguf_file": "convert it first, with iha-eval convert FILE --out DIR --pseudo-heads P",
    "subfolder": "give the path of that folder as pretrained=",
    "backend": "leave it out, for only causal language models are evaluated",
    "softmax_dtype": "leave it out, for log-probabilities are computed in float32",
    "mixed_precision_dtype": "say dtype=",
    "model": "say pretrained=",
}

# Arguments of vLLM's engine that are often left in a command for another model class.
OF_VLLM = (
    *("gpu_memory_utilization", "tensor_parallel_size", "pipeline_parallel_size", "max_num_seqs"),
    *("data_parallel_size", "max_num_batched_tokens", "kv_cache_memory_bytes", "block_size"),
    *("enforce_eager", "enable_prefix_caching", "enable_chunked_prefill", "quantization"),
    *("tokenizer_mode", "attention_backend", "speculative_config", "kv_cache_dtype"),
)


@dataclass(frozen=True)
class ModelArguments:
    """The arguments that both model classes take.

    Attributes:
        pretrained: folder or hub name of the checkpoint; None is the embedded default.
        revision: branch, tag or commit on the hub.
        hf_token: the user's token at the hub; None is the one that is logged in.
        tokenizer: folder or hub name, where the checkpoint's own is not meant.
        trust_remote_code: whether code shipped with a checkpoint may run.
        dtype: type to compute in; "auto" is the checkpoint's own.
        max_model_len: longest prompt plus generation in tokens; None is what the requests need.
        max_gen_toks: generation budget in tokens where a task sets none.
        concurrency: most requests in flight; None is as many as the engine takes.
        add_bos_token: whether prompts get special tokens; None is the tokenizer's own way.
        prefix_token_id: token that an empty context stands for; None is BOS, or else EOS.
        seed: seed of the run; every sampled answer's own seed is derived from it.
        chat_template_args: further arguments of the chat template, `enable_thinking` among them.
        think_end_token: text or id of the token that ends a model's thoughts: what stands before it
            is no part of an answer, and stops do not end an answer inside a thought.
        non_finite_logits: "stop" ends the run at the first logits that are not finite; "count" goes
            on and counts them.
        json_progress: file in which dashboards find once a second how far a call is.
        journal: folder for the journal; "" is none, None is beside lm-eval's output.
        batch_invariant: whether an answer may not depend, to the last bit, on what else is in the
            batch; None is where it is cheap (vLLM's CPU build).
        device: torch device, where lm-eval's `--device` gave one.
        engine: everything else, for the engine.
    """

    pretrained: str | None = None
    revision: str | None = None
    hf_token: str | None = None
    tokenizer: str | None = None
    trust_remote_code: bool = False
    dtype: str = "auto"
    max_model_len: int | None = None
    max_gen_toks: int = DEFAULT_BUDGET
    concurrency: int | None = None
    add_bos_token: bool | None = None
    prefix_token_id: int | None = None
    seed: int = 0
    chat_template_args: dict[str, Any] = field(default_factory=dict)
    think_end_token: str | int | None = None
    non_finite_logits: str = STOP
    json_progress: str | None = None
    journal: str | None = None
    batch_invariant: bool | None = None
    device: str | None = None
    engine: dict[str, Any] = field(default_factory=dict)


# What a user may write; `concurrency` and `engine` are made of other names.
SHARED_NAMES = (
    *(
        name
        for name in ModelArguments.__dataclass_fields__
        if name not in ("concurrency", "engine")
    ),
    "enable_thinking",
    "max_length",
    "batch_size",
    "max_batch_size",
)


def parse(given: Mapping[str, Any]) -> ModelArguments:
    """Check the arguments of a model class and sort them.

    Args:
        given: name to value, as lm-eval hands `--model_args`, `--batch_size`, `--device` on.

    Returns:
        The shared arguments; names not in `SHARED_NAMES` stand in `engine`, unchecked.

    Raises:
        UserError: a shared argument has a value that cannot be meant.
    """
    rest = {name: value for name, value in given.items() if value is not None}

    def take(name: str) -> Any:
        return rest.pop(name, None)

    _take_aliases(rest)
    for name, values in NO_OPS.items():
        if name in rest and rest[name] in values:
            del rest[name]
    batch_size, most = take("batch_size"), take("max_batch_size")
    if rest.get("enable_thinking") is True and rest.get("think_end_token") is None:
        raise UserError(
            "enable_thinking=True needs think_end_token=, such as </think>: what stands before it "
            "is no part of an answer."
        )
    return ModelArguments(
        pretrained=_text("pretrained", take("pretrained")),
        revision=_text("revision", take("revision")),
        hf_token=_token(take("hf_token")),
        tokenizer=_text("tokenizer", take("tokenizer")),
        trust_remote_code=bool(_flag("trust_remote_code", take("trust_remote_code"))),
        dtype=_dtype(take("dtype")),
        max_model_len=count("max_model_len", take("max_model_len")),
        max_gen_toks=count("max_gen_toks", take("max_gen_toks")) or DEFAULT_BUDGET,
        concurrency=_concurrency(batch_size, most),
        add_bos_token=_flag("add_bos_token", take("add_bos_token")),
        prefix_token_id=count("prefix_token_id", take("prefix_token_id"), least=0),
        seed=count("seed", take("seed"), least=0) or 0,
        chat_template_args=_template_args(take("chat_template_args"), take("enable_thinking")),
        think_end_token=_think_end(take("think_end_token")),
        non_finite_logits=_non_finite(take("non_finite_logits")),
        json_progress=_text("json_progress", take("json_progress")),
        journal=_journal(take("journal")),
        batch_invariant=_flag("batch_invariant", take("batch_invariant")),
        device=_text("device", take("device")),
        engine=rest,
    )


def refuse_unknown(model: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse names that the engine of a model class does not know.

    Args:
        model: name under which the class is registered.
        given: arguments for the engine.
        known: names that the engine takes.

    Raises:
        UserError: naming an unknown one, and what to write instead.
    """
    names = {*SHARED_NAMES, *known}
    for name in sorted(given):
        if name in INSTEAD and name not in known:
            raise UserError(f"{model} has no argument {name}: {INSTEAD[name]}.")
        if name in OF_VLLM and name not in known:
            raise UserError(
                f"{model} has no argument {name}, which is vLLM's: leave it out, or say --model "
                "iha-vllm."
            )
    unknown = sorted(set(given) - names)
    if unknown:
        near = difflib.get_close_matches(unknown[0], names, n=3)
        meant = (
            f"did you mean {' or '.join(near)}?"
            if near
            else (f"those of both classes are {', '.join(sorted(SHARED_NAMES))}.")
        )
        raise UserError(f"{model} has no argument {', '.join(unknown)}: {meant}")


def _take_aliases(rest: dict[str, Any]) -> None:
    """Give arguments of other names the names that they have here."""
    for alias, name in ALIASES.items():
        value = rest.pop(alias, None)
        if value is None:
            continue
        if name in rest:
            both = "" if name == "hf_token" else f" ({rest[name]} and {value})"
            raise UserError(f"{name} and {alias} mean the same{both}: give only {name}.")
        rest[name] = value


def count(name: str, value: Any, least: int = 1) -> int | None:
    """A whole number out of an argument, or None where it was not given.

    Raises:
        UserError: it is not a whole number, or below `least`.
    """
    if value is None:
        return None
    try:
        number = int(value)
        whole = not isinstance(value, float) or value.is_integer()
    except (TypeError, ValueError, OverflowError):
        number, whole = 0, False
    if not whole or isinstance(value, bool) or number < least:
        raise UserError(f"{name}={value!r} is not a whole number of at least {least}.")
    return number


def _concurrency(batch_size: Any, most: Any) -> int | None:
    """None for all at once: that is what unset and "auto" mean, and lm-eval's unset is 1."""
    bound = count("max_batch_size", most)
    automatic = isinstance(batch_size, str) and batch_size.partition(":")[0] == "auto"
    if batch_size is None or automatic:
        return bound
    try:
        size = int(batch_size)
    except (TypeError, ValueError, OverflowError):
        size = 0
    if size < 1:
        raise UserError(f'batch_size={batch_size!r} is neither "auto" nor a whole number above 0.')
    return bound if size == 1 else min(size, bound or size)


def _flag(name: str, value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise UserError(f"{name}={value!r} is neither True nor False.")


def _text(name: str, value: Any) -> str | None:
    # A folder named 7 arrives as a number, a Path from Python code as itself.
    if value is None or isinstance(value, str | Path | int):
        return None if value is None else str(value)
    raise UserError(f"{name}={value!r} is not a name or a path.")


def _token(value: Any) -> str | None:
    # True and False say whether to use the one that is logged in, which is what happens anyway.
    if value is None or isinstance(value, bool | str):
        return value if isinstance(value, str) else None
    raise UserError("hf_token is not a text: give a token of the hub.")


def _journal(value: Any) -> str | None:
    if value is True:
        raise UserError("journal=True names no folder: say journal=FOLDER, or False for none.")
    return "" if value is False else _text("journal", value)


def _template_args(value: Any, thinking: Any) -> dict[str, Any]:
    if isinstance(value, str):
        # lm-eval's name=value,... has no form for a mapping.
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    if value is not None and not isinstance(value, dict):
        raise UserError(
            f"chat_template_args={value!r} is not a mapping: give --model_args as JSON, such as "
            """{"pretrained": "DIR", "chat_template_args": {"enable_thinking": false}}."""
        )
    wanted = _flag("enable_thinking", thinking)
    return {**(value or {}), **({} if wanted is None else {"enable_thinking": wanted})}


def _think_end(value: Any) -> str | int | None:
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, bool) or not (value is None or isinstance(value, str | int)):
        raise UserError(f"think_end_token={value!r} is neither a text such as </think> nor an id.")
    return value or None if isinstance(value, str) else value


def _non_finite(value: Any) -> str:
    if value not in (None, STOP, COUNT):
        raise UserError(f"non_finite_logits={value!r} is neither {STOP} nor {COUNT}.")
    return value or STOP


def _dtype(value: Any) -> str:
    name = str(value or "auto").removeprefix("torch.").lower()
    name = DTYPE_NAMES.get(name, name)
    if name not in DTYPES:
        raise UserError(f"dtype={value!r} is not one of {', '.join(DTYPES)}.")
    return name
