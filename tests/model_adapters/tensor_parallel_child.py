"""Serves a tiny model on two tensor-parallel ranks and prints the worst logprob difference.

For: `test_vllm_tensor_parallel.py`, which runs it in a process of its own, because the ranks are
processes and must be able to import the main module.
Not for: pytest to collect.
"""

import os
import sys
import tempfile
from pathlib import Path

# One core for each rank; both on one core would make them wait for each other.
os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "0|1"
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1"


def main(kv_heads: int) -> None:
    """Run once; G = 1 is fewer key heads than ranks, so ranks hold copies."""
    from tiny_models import engine, generate, random_ids, tiny_model, worst_logprob

    model = tiny_model(num_pseudo_heads=3, num_key_value_heads=kv_heads)
    folder = Path(tempfile.mkdtemp())
    model.save_pretrained(folder)
    prompts = [random_ids(length) for length in (1, 2, 17, 63, 129, 600)]
    with engine(folder, tensor_parallel_size=2) as llm:
        outputs = generate(llm, prompts)
        shapes = llm.collective_rpc(parameter_shapes)
    print("worst", worst_logprob(model, prompts, outputs))
    print("shapes", shapes)


def parameter_shapes(worker: object) -> dict[str, list[int]]:
    """Shapes of one layer's own parameters on one rank."""
    attention = worker.model_runner.model.model.layers[0].self_attn  # type: ignore[attr-defined]
    names = ("alpha_q", "alpha_k", "alpha_v", "collapse")
    return {name: list(getattr(attention, name).shape) for name in names}


if __name__ == "__main__":
    main(int(sys.argv[1]))
