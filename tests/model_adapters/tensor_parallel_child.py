"""Serves a tiny model on tensor-parallel ranks; prints how far off it is, and what ranks sent.

For: `test_vllm_tensor_parallel.py`, which runs it in a process of its own, because the ranks are
processes and must be able to import the main module. Takes the number of key heads, of ranks, and
what `iha_fold` is, and more fields of the configuration as JSON; folded layers are also held
against one rank that mixes and collapses.
Not for: pytest to collect.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from iha_eval.util.process import end_with_me

RANKS = int(sys.argv[2])
# A core for each rank where there are enough; two on one core wait for each other.
CORES = sorted(os.sched_getaffinity(0))
os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "|".join(
    str(CORES[rank % len(CORES)]) for rank in range(RANKS)
)
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter")


def main(kv_heads: int, fold: str, changes: dict[str, Any]) -> None:
    """Run once; G = 1 is fewer key heads than ranks, so ranks hold copies."""
    from tiny_models import (
        engine,
        generate,
        random_ids,
        tiny_model,
        tiny_nanochat,
        worst_logprob,
    )

    make = tiny_nanochat if "smear_channels" in changes else tiny_model
    model = make(num_pseudo_heads=3, num_key_value_heads=kv_heads, **changes)
    folder = Path(tempfile.mkdtemp())
    model.save_pretrained(folder)
    prompts = [random_ids(length) for length in (1, 2, 17, 63, 129, 600)]
    folded = {"additional_config": {"iha_fold": fold}}
    with engine(folder, tensor_parallel_size=RANKS, **folded) as llm:
        outputs = generate(llm, prompts)
        shapes = llm.collective_rpc(parameter_shapes)
        llm.collective_rpc(count_exchanges)
        generate(llm, [random_ids(40, seed=1)], tokens=1)
        exchanged = llm.collective_rpc(exchanges)
    print("worst", worst_logprob(model, prompts, outputs))
    print("shapes", shapes)
    print("exchanged", exchanged)
    if fold == "always":
        unfolded = {"additional_config": {"iha_fold": "never"}}
        os.environ["VLLM_CPU_OMP_THREADS_BIND"] = str(CORES[0])
        with engine(folder, **unfolded) as llm:
            print("apart", largest_difference(generate(llm, prompts), outputs))


def largest_difference(ones: list[Any], others: list[Any]) -> float:
    """Largest |delta logprob| of what two engines generated; inf where their tokens differ."""
    largest = 0.0
    for one, other in zip(ones, others, strict=True):
        (made,), (wanted,) = one.outputs, other.outputs
        if list(made.token_ids) != list(wanted.token_ids):
            return float("inf")
        for token, here, there in zip(made.token_ids, made.logprobs, wanted.logprobs, strict=True):
            largest = max(largest, abs(here[token].logprob - there[token].logprob))
    return largest


def parameter_shapes(worker: Any) -> dict[str, list[int]]:
    """Shapes of one layer's parameters on one rank; vLLM's CPU build packs the projections away."""
    attention = worker.model_runner.model.model.layers[0].self_attn
    return {name: list(tensor.shape) for name, tensor in attention.named_parameters()}


def count_exchanges(worker: Any) -> None:
    """Write down every collective call of this rank from now on: its name and the whole's shape."""
    from vllm.distributed import get_tp_group

    group, worker.exchanged = get_tp_group(), []

    def counted(name: str) -> Any:
        call = getattr(group, name)

        def wrapped(states: Any, *args: Any, **options: Any) -> Any:
            made = call(states, *args, **options)
            whole = made if name == "all_gather" else states
            worker.exchanged.append((name, list(whole.shape)))
            return made

        return wrapped

    for name in COLLECTIVES:
        setattr(group, name, counted(name))


def exchanges(worker: Any) -> list[tuple[str, list[int]]]:
    """What `count_exchanges` wrote down on one rank."""
    return list(worker.exchanged)


if __name__ == "__main__":
    # The engine's processes, where this is killed for its time.
    end_with_me()
    main(int(sys.argv[1]), sys.argv[3], json.loads(sys.argv[4]))
