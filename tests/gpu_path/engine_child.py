"""A whole engine with model runner V2 and vLLM's Triton attention, interpreted; one process.

Prints one JSON object: the runner's module, the backend and the worst error of a log-probability.
Run by `test_engine.py`.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
os.environ["VLLM_USE_V2_MODEL_RUNNER"] = "1"
import gpu_on_cpu

gpu_on_cpu.pretend()

from tiny_models import engine, generate, random_ids, tiny_model, worst_logprob
from vllm.platforms.cpu import CpuPlatform
from vllm.v1.attention.backends.registry import AttentionBackendEnum

BACKEND = AttentionBackendEnum["TRITON_ATTN"]


def main() -> None:
    """Serve prompts on both sides of a step's length, in layers of all four kinds."""
    chosen: Any = classmethod(lambda *_, **__: BACKEND.get_path())
    CpuPlatform.get_attn_backend_cls = chosen
    model = tiny_model(num_pseudo_heads=2)
    prompts = [random_ids(length) for length in (1, 17, 40)]
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        limits = {"max_num_batched_tokens": 32, "max_model_len": 128}
        with engine(Path(folder), **limits, kv_cache_memory_bytes=8 << 20) as llm:
            core = llm.llm_engine.engine_core.engine_core
            runner = core.model_executor.driver_worker.worker.model_runner
            layers = runner.compilation_config.static_forward_context.values()
            found = {
                "runner": [base.__module__ for base in type(runner).__mro__],
                "backends": sorted({layer.attn_backend.__name__ for layer in layers}),
                "error": worst_logprob(model, prompts, generate(llm, prompts, 4)),
            }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
