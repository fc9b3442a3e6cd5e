"""What vLLM's engine is started with: sensible defaults, the user's word over them.

For: checking names, the checkpoint's own dtype, and on a CPU a KV cache of the size that the
requests need instead of a share of all memory.
Not for: starting the engine (see `engine.py`).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from math import prod
from pathlib import Path
from typing import Any

from iha_eval.errors import UserError
from iha_eval.models.arguments import INSTEAD, ModelArguments, count, refuse_unknown
from iha_eval.models.source import ITEM_BYTES, compute_dtype
from iha_eval.models.vllm.devices import free_memory
from iha_eval.util.redact import without_secrets
from model_adapters.checkpoint import Checkpoint
from model_adapters.cost import model_shape
from model_adapters.errors import AdapterError
from model_adapters.vllm import folding
from model_adapters.vllm.serving_rules import check_engine

MISSING = (
    "vLLM is not installed: pip install 'iha-eval[cpu]' on a machine without a GPU, "
    "'iha-eval[gpu]' on one with a GPU, or evaluate with --model iha-hf."
)
# Checked without importing vLLM, which takes seconds; any other name is looked up in vLLM itself.
COUNTS = (
    "block_size",
    "decode_context_parallel_size",
    "kv_cache_memory_bytes",
    "max_num_batched_tokens",
    "max_num_seqs",
    "pipeline_parallel_size",
    "tensor_parallel_size",
)
# Of those that vLLM has; the others give logits.
LOGPROBS_MODES = ("raw_logprobs", "processed_logprobs")
COMMON = (*COUNTS, "enable_prefix_caching", "enforce_eager", "gpu_memory_utilization")
# Ours to set, from arguments of other names or for a reason.
FIXED = ("disable_log_stats", "worker_extension_cls")
RESERVED = (*FIXED, "model", "skip_tokenizer_init", "tokenizer_revision")
EXTENSION = "iha_eval.models.vllm.worker.WorkerExtension"
# vLLM's own default on a CPU, for how many requests it runs at once.
CPU_SEQUENCES = 256
CPU_BLOCK = 128
# What may be kept free for the next request beyond what it will hold, in parts of the latter.
SLACK = 0.5
MOST_BATCHED = 4096
# Fewest tokens a step. On a CPU half of it cost a tenth of the prefill at 4k tokens. On a GPU it is
# some three times the tokens at which an H100 computes as long as it reads weights, and was not
# timed.
LEAST_BATCHED = {"cpu": 512, "gpu": 1024}
# Most of the memory that is free at the start that the KV cache may take on a CPU.
CPU_SHARE = 0.4
# Least: the engine stays, and a later call may have more requests than the first.
CPU_LEAST = 512 * 2**20


def check(model: str, given: Mapping[str, Any]) -> None:
    """Refuse what vLLM would not know.

    Raises:
        UserError: a name that `vllm.EngineArgs` lacks, one that goes by another name here, or a
            number that is none.
    """
    for name in COUNTS:
        count(name, given.get(name))
    mode = given.get("logprobs_mode")
    if mode not in (None, *LOGPROBS_MODES):
        raise UserError(
            f"logprobs_mode={mode!r} gives no log-probabilities, which are what scores are sums "
            "of: leave it out."
        )
    count("max_logprobs", None if given.get("max_logprobs") == -1 else given.get("max_logprobs"))
    refuse_unknown(model, {name: given[name] for name in given if name in INSTEAD}, ())
    if set(given) <= set(COMMON):
        return
    try:
        from vllm import EngineArgs
    except ImportError as error:
        raise UserError(MISSING) from error
    known = {item.name for item in fields(EngineArgs)} - {*RESERVED, *INSTEAD}
    refuse_unknown(model, given, known)


def build(
    checkpoint: Checkpoint,
    tokenizer: Path,
    arguments: ModelArguments,
    *,
    max_model_len: int,
    needs: Sequence[int],
    cpu: bool,
    neighbours: int = 1,
) -> dict[str, Any]:
    """The keyword arguments of `vllm.LLM`.

    Args:
        checkpoint: what is served.
        tokenizer: folder of the tokenizer.
        arguments: the user's.
        max_model_len: longest sequence in tokens.
        needs: the length in tokens that each request may reach.
        cpu: whether vLLM runs on a CPU.
        neighbours: engines that share the memory of the machine.

    Raises:
        UserError: an IHA model cannot be served so; said here, because from an engine's own
            processes only a traceback would arrive.
    """
    engine: dict[str, Any] = {
        "model": str(checkpoint.path),
        "tokenizer": str(tokenizer),
        "dtype": compute_dtype(checkpoint, arguments.dtype),
        "max_model_len": max_model_len,
        "seed": arguments.seed,
        "trust_remote_code": arguments.trust_remote_code,
        # Per-request times come with the statistics.
        "disable_log_stats": False,
        "worker_extension_cls": EXTENSION,
    }
    if arguments.hf_token is not None:
        engine["hf_token"] = arguments.hf_token
    if arguments.concurrency is not None:
        engine["max_num_seqs"] = arguments.concurrency
    if cpu:
        # Compiling takes longer than most runs on a CPU.
        engine["enforce_eager"] = True
    engine.update(arguments.engine)
    if checkpoint.is_iha:
        check_serving(checkpoint.config, engine)
    wanted = _wanted_bytes(checkpoint.config, engine, needs) if cpu else None
    sized = {"kv_cache_memory_bytes", "gpu_memory_utilization"} & set(engine)
    if wanted and not sized and not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        engine["kv_cache_memory_bytes"] = min(wanted, _bytes_to_spare(engine, neighbours))
    # Where the cache holds all requests at once, what vLLM wants free is no matter.
    fits = wanted is not None and wanted <= int(engine.get("kv_cache_memory_bytes") or 0)
    if checkpoint.is_iha and not fits:
        engine = _batching(checkpoint.config, engine, cpu=cpu) | engine
    return engine


def batched_tokens(config: Any, max_model_len: int, *, cpu: bool) -> int | None:
    """`max_num_batched_tokens` that leaves an IHA model its small KV cache; None for vLLM's own.

    vLLM lets a request in when there is cache for each windowed layer's window and for all tokens
    in flight, whatever number of requests runs. With vLLM's own defaults of thousands of tokens
    that is the place of several of them.

    Args:
        config: the model's.
        max_model_len: longest sequence in tokens.
        cpu: whether vLLM runs on a CPU.
    """
    layers = model_shape(config).layers
    windowed = [layer for layer in layers if layer.window is not None]
    window = max(layer.window or 0 for layer in layers)
    if not windowed:
        return None
    # Asynchronous scheduling has two steps under way.
    batches = 1 if cpu else 2
    needed = sum(layer.states(max_model_len) for layer in layers)

    def excess(tokens: int) -> int:
        return sum(
            replace(layer, window=layer.window + batches * tokens, slots=None).states(max_model_len)
            - layer.states(max_model_len)
            for layer in windowed
            if layer.window is not None
        )

    tokens, least = MOST_BATCHED, LEAST_BATCHED["cpu" if cpu else "gpu"]
    # Little longer than a window and two of the shortest steps: it wants room for all of it anyway.
    if max_model_len <= window + 2 * batches * least:
        return tokens if cpu else None
    while tokens > least and excess(tokens) > SLACK * needed:
        tokens //= 2
    return tokens


def _batching(config: Any, engine: Mapping[str, Any], *, cpu: bool) -> dict[str, Any]:
    """`max_num_batched_tokens`, where vLLM lets it be chosen."""
    tokens = batched_tokens(config, engine["max_model_len"], cpu=cpu)
    # Without chunks a step has to take a whole prompt.
    if tokens is None or engine.get("enable_chunked_prefill") is False:
        return {}
    return {"max_num_batched_tokens": max(tokens, int(engine.get("max_num_seqs") or 1))}


def check_serving(config: Any, engine: Mapping[str, Any]) -> None:
    """Refuse what an IHA model cannot be served with.

    Raises:
        UserError: one of the engine's arguments does not do.
    """
    try:
        check_engine(config.num_attention_heads, config.kv_heads, engine)
        of_checkpoint = getattr(config, "quantization_config", None) or {}
        quantization = engine.get("quantization") or of_checkpoint.get("quant_method")
        folding.asked(engine.get("additional_config"), quantization)
    except AdapterError as error:
        raise UserError(str(error)) from error


def shown(engine: Mapping[str, Any]) -> dict[str, Any]:
    """Engine arguments as log and results show them, without what never changes."""
    return without_secrets({name: item for name, item in engine.items() if name not in FIXED})


def _wanted_bytes(config: Any, engine: Mapping[str, Any], needs: Sequence[int]) -> int | None:
    """KV cache for the longest requests that can run at once; None where that is not known."""
    item = ITEM_BYTES.get(engine["dtype"])
    states = _states_per_token(config)
    if item is None or states is None:
        return None
    block = int(engine.get("block_size") or CPU_BLOCK)
    at_once = sorted(needs, reverse=True)[: int(engine.get("max_num_seqs") or CPU_SEQUENCES)]
    # A block more for each request's last one, two for what vLLM keeps to itself.
    tokens = sum(at_once) + max(at_once) + block * (len(at_once) + 2)
    # Layers in groups of unequal size are padded.
    return max(CPU_LEAST, int(1.25 * tokens * states * item))


def _bytes_to_spare(engine: Mapping[str, Any], neighbours: int) -> int:
    """What each worker may take of the memory that is free; all start while it is."""
    return int(CPU_SHARE * free_memory() / (neighbours * ranks(engine)))


def ranks(engine: Mapping[str, Any]) -> int:
    """Processes that share one copy of the model."""
    names = ("tensor_parallel_size", "pipeline_parallel_size")
    return prod(int(engine.get(name) or 1) for name in names)


def _states_per_token(config: Any) -> int | None:
    """Numbers kept for one token that every layer remembers; None where that is not known.

    An upper bound for windowed layers, which forget.
    """
    heads = getattr(config, "num_attention_heads", None)
    if not heads or getattr(config, "kv_lora_rank", None):
        return None
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    pseudo = getattr(config, "pseudo_heads", lambda _: 1)
    layers = sum(pseudo(layer) for layer in range(config.num_hidden_layers))
    return int(2 * kv_heads * size * layers)
