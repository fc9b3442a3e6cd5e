"""Serves a tiny model on tensor-parallel ranks; prints how far off it is, and what ranks sent.

For: `test_vllm_tensor_parallel.py`, which runs it in a process of its own, because the ranks are
processes and must be able to import the main module. Takes the number of key heads and of ranks.
Not for: pytest to collect.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

RANKS = int(sys.argv[2])
# A core for each rank where there are enough; two on one core wait for each other.
CORES = sorted(os.sched_getaffinity(0))
os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "|".join(
    str(CORES[rank % len(CORES)]) for rank in range(RANKS)
)
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1"
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter")


def main(kv_heads: int) -> None:
    """Run once; G = 1 is fewer key heads than ranks, so ranks hold copies."""
    from tiny_models import engine, generate, random_ids, tiny_model, worst_logprob

    model = tiny_model(num_pseudo_heads=3, num_key_value_heads=kv_heads)
    folder = Path(tempfile.mkdtemp())
    model.save_pretrained(folder)
    prompts = [random_ids(length) for length in (1, 2, 17, 63, 129, 600)]
    with engine(folder, tensor_parallel_size=RANKS) as llm:
        outputs = generate(llm, prompts)
        shapes = llm.collective_rpc(parameter_shapes)
        llm.collective_rpc(count_exchanges)
        generate(llm, [random_ids(40, seed=1)], tokens=1)
        exchanged = llm.collective_rpc(exchanges)
    print("worst", worst_logprob(model, prompts, outputs))
    print("shapes", shapes)
    print("exchanged", exchanged)


def parameter_shapes(worker: Any) -> dict[str, list[int]]:
    """Shapes of one layer's own parameters on one rank."""
    attention = worker.model_runner.model.model.layers[0].self_attn
    names = ("alpha_q", "alpha_k", "alpha_v", "collapse")
    return {name: list(getattr(attention, name).shape) for name in names}


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
    main(int(sys.argv[1]))
