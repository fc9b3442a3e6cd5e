"""One engine in a process of its own, which measures what it is told to over a pipe.

For: `serving.py`, and for GPUs `_gpu_serving.py`. Prompts are computed where prefill is timed; for
decoding, vLLM's own `DecodeBenchConnector` fills the cache in their place, so that as many requests
of 16k tokens as the cache holds stand ready within seconds.
Not for: quality, nor for engines with processes of their own, whose scheduler is out of reach.
"""

import os
import statistics
import time
from collections.abc import Callable
from math import inf
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from _serving_models import LAYERS, PLAIN, SHAPE, prompts

NEW_TOKENS = 33
# The first steps admit requests and fill the cache.
SETTLED = 3
BLOCK = 128
PREFILL, SINGLE, BATCHED = "prefill", "decode, batch 1", "decode, full cache"
MEASURES = (PREFILL, SINGLE, BATCHED)
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


def plain_requests(context: int) -> int:
    """Requests whose KV states the plain model's cache holds, which sets its size for all."""
    return 16 if context < 1024 else 8


def cache_bytes(context: int) -> int:
    """Bytes of the KV cache that every model is given."""
    blocks = -(-(context + 2 * NEW_TOKENS) // BLOCK) * plain_requests(context) + 2
    width = SHAPE["num_key_value_heads"] * SHAPE["head_dim"]
    return int(blocks * BLOCK * LAYERS * 2 * width * 2)


def engine_arguments(name: str, folder: Path, context: int, settings: dict[str, Any]) -> Any:
    """What `vllm.LLM` is given: for IHA `max_num_batched_tokens` as `iha-vllm` chooses it."""
    from iha_eval.models.vllm.engine_arguments import batched_tokens
    from model_adapters import checkpoint

    length = context + 2 * NEW_TOKENS
    tokens = settings["batched_tokens"] or 4096
    if name != PLAIN:
        chosen = batched_tokens(checkpoint.read(folder).config, length, cpu=True)
        tokens = settings["iha_batched_tokens"] or chosen or tokens
    gpu = torch.cuda.is_available()
    return {
        "model": str(folder),
        "skip_tokenizer_init": True,
        "dtype": "bfloat16",
        "enforce_eager": not settings["compile"],
        "max_model_len": length,
        "max_num_batched_tokens": tokens,
        "max_num_seqs": 64,
        "enable_prefix_caching": True,
        "kv_cache_memory_bytes": cache_bytes(context),
        "kv_transfer_config": {"kv_connector": "DecodeBenchConnector", "kv_role": "kv_both"},
    } | ({} if gpu else {"block_size": BLOCK})


class ServedModel:
    """An engine of this process and its measures.

    Args:
        name: the model's.
        folder: its checkpoint.
        context: N in tokens.
        settings: the command line's.
    """

    def __init__(self, name: str, folder: Path, context: int, settings: dict[str, Any]) -> None:
        from vllm import LLM

        self.context, self.now = context, CLOCKS[settings["clock"]]
        arguments = engine_arguments(name, folder, context, settings)
        began = self.now()
        self.llm: Any = LLM(**arguments)
        self.startup = self.now() - began
        self.engine: Any = self.llm.llm_engine
        self.scheduler: Any = self.engine.engine_core.engine_core.scheduler
        self.batched_tokens = arguments["max_num_batched_tokens"]
        self.connector: Any = self.scheduler.connector.connector_scheduler
        self.fill = self.connector.get_num_new_matched_tokens
        self.held = 0

    def facts(self) -> dict[str, Any]:
        """What does not vary: seconds to start, and the KV cache's bytes per token in three ways.

        What the mechanism needs is the parent's to say. A request is charged whole steps when it is
        let in and gives most of that back, so that more run than vLLM's "maximum concurrency".
        """
        from vllm.v1.core.kv_cache_utils import get_max_concurrency_for_kv_cache_config

        config, cache = self.engine.vllm_config, self.scheduler.kv_cache_config
        requests = get_max_concurrency_for_kv_cache_config(config, cache)
        charged = self._blocks_to_be_let_in()
        groups = cache.kv_cache_groups
        # A block serves one layer of each place in a group.
        layers = max(len(group.layer_names) for group in groups)
        block_bytes = groups[0].kv_cache_spec.page_size_bytes * layers
        longest = config.model_config.max_model_len
        return {
            "startup_seconds": self.startup,
            "max_num_batched_tokens": self.batched_tokens,
            "max_in_flight_tokens": config.max_in_flight_tokens,
            "cache_bytes": cache.num_blocks * block_bytes,
            "requests_by_vllms_own_figure": requests,
            "kv_bytes_per_token_charged_to_the_next": charged * block_bytes / longest,
            "kv_bytes_per_token_of_requests_that_run": self.held
            and cache.num_blocks * block_bytes / self.held / longest,
            "requests_held_at_once": self.held,
        }

    def _room(self) -> int:
        """Requests for which there is room for certain.

        The scheduler would let in all: it takes prompts that a connector fills for prompts found
        in the cache, of which a window is charged nothing.
        """
        free = self.scheduler.kv_cache_manager.block_pool.get_num_free_blocks()
        return int(free // self._blocks_to_be_let_in())

    def _blocks_to_be_let_in(self) -> int:
        """Blocks that the scheduler wants free before it computes the longest prompt."""
        longest = self.engine.vllm_config.model_config.max_model_len
        return sum(
            min(-(-longest // manager.block_size), manager.max_admission_blocks_per_request or inf)
            for manager in self.scheduler.kv_cache_manager.coordinator.single_type_managers
        )

    def measure(self, measure: str, seed: int) -> float:
        """Tokens per second."""
        if measure == PREFILL:
            return self._prefill(self.context, seed)
        if measure == BATCHED:
            return self.decode(4 * plain_requests(self.context), seed)
        return self.decode(1, seed)

    def decode(self, most: int, seed: int) -> float:
        """Tokens per second of as many requests, at most so many, as the scheduler lets in."""
        self.connector.get_num_new_matched_tokens = self.fill
        # Seeds of their own: what fills the cache here must not be found by a prefill.
        batch = prompts(self.context, -1 - seed, most)
        # The last step ends requests.
        steps = self.steps(batch, 2 * NEW_TOKENS - 1)[SETTLED:-1]
        held = statistics.mode(running for _, running in steps)
        if most > 1:
            self.held = held
        return held / statistics.median(seconds for seconds, running in steps if running == held)

    def warm_up(self, measure: str) -> float:
        """A first round, whose rate does not count; of a long prompt, a part will do."""
        if measure == PREFILL:
            return self._prefill(min(self.context, 2048), 0)
        return self.measure(measure, 0)

    def _prefill(self, length: int, seed: int) -> float:
        self.connector.get_num_new_matched_tokens = lambda *_: (0, False)
        count = 8 if self.context < 1024 else 1
        batch = prompts(length, seed, count)
        return count * length / sum(seconds for seconds, _ in self.steps(batch, 1))

    def steps(self, batch: list[list[int]], tokens: int) -> list[tuple[float, int]]:
        """Seconds of each step, and requests in it, until the first of them are finished."""
        from vllm import SamplingParams, TokensPrompt

        params = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True, detokenize=False)
        waiting = [TokensPrompt(prompt_token_ids=ids) for ids in batch]
        steps, finished = [], 0
        # Prompts are computed to the last; of requests that decode side by side, one is enough.
        while finished < (len(batch) if tokens == 1 else 1):
            room = len(waiting) if tokens == 1 else self._room()
            self.llm.enqueue(waiting[:room], params, use_tqdm=False)
            del waiting[:room]
            began = self.now()
            outputs = self.engine.step()
            seconds = self.now() - began
            finished += sum(output.finished for output in outputs)
            steps.append((seconds, len(self.scheduler.running)))
        self.engine.abort_request(list(self.scheduler.requests), internal=True)
        return steps


def serve(name: str, folder: Path, context: int, settings: dict[str, Any], line: Connection) -> Any:
    """A process's life: start an engine, then measure what is asked until told to stop."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    served = ServedModel(name, folder, context, settings)
    line.send("ready")
    while (order := line.recv()) is not None:
        if order == "facts":
            line.send(served.facts())
        else:
            measure, seed = order
            line.send(served.measure(measure, seed) if seed else served.warm_up(measure))
