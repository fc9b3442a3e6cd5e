"""vLLM's piecewise compilation, which its CPU platform turns off, of a served model; one process.

Prints one JSON object: shapes of what came out, and for each compiled part which of its inputs
vLLM takes for the number of tokens. Run by `test_piecewise.py`.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
os.environ["VLLM_DISABLE_COMPILE_CACHE"] = "1"
os.environ["VLLM_USE_AOT_COMPILE"] = "0"
os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"

import torch
from tiny_models import tiny_model
from vllm.compilation import backends, piecewise_backend
from vllm.config import CompilationMode, set_current_vllm_config
from vllm.engine.arg_utils import EngineArgs
from vllm.forward_context import set_forward_context
from vllm.platforms.cpu import CpuPlatform

PARTS: list[dict[str, Any]] = []


def keep_the_mode() -> None:
    """Everything that the CPU platform changes in a configuration, but for compilation."""
    change = CpuPlatform.check_and_update_config.__func__

    def kept(cls: Any, config: Any) -> None:
        compilation = config.compilation_config
        mode, compilation.mode = compilation.mode, CompilationMode.NONE
        change(cls, config)
        compilation.mode = mode

    platform: Any = CpuPlatform
    platform.check_and_update_config = classmethod(kept)
    # Its passes are for GPUs.
    backends.VllmBackend.configure_post_pass = lambda _: None
    torch.accelerator.empty_cache = lambda: None


def watch_the_parts() -> None:
    """Note the symbolic inputs of every compiled part."""
    begin = piecewise_backend.PiecewiseBackend.__init__

    def watched(self: Any, *arguments: Any, **keywords: Any) -> None:
        begin(self, *arguments, **keywords)
        inputs = [node for node in self.graph.graph.nodes if node.op == "placeholder"]
        symbols = [
            str(node.meta["example_value"])
            for node in inputs
            if isinstance(node.meta.get("example_value"), torch.SymInt)
        ]
        PARTS.append({"symbols": symbols, "taken": list(self.sym_shape_indices)})

    piecewise_backend.PiecewiseBackend.__init__ = watched


def main() -> None:
    """Compile a model of all four kinds of layer and call it with batches of several sizes."""
    keep_the_mode()
    watch_the_parts()
    shapes = []
    with tempfile.TemporaryDirectory() as folder:
        tiny_model(num_pseudo_heads=2).save_pretrained(folder)
        config = EngineArgs(
            model=folder,
            skip_tokenizer_init=True,
            dtype="float32",
            max_model_len=256,
            max_num_batched_tokens=64,
            max_num_seqs=16,
            kv_cache_memory_bytes=8 << 20,
            compilation_config={"mode": 3, "backend": "eager"},
            additional_config={"iha_fold": "never"},
        ).create_engine_config()
        config.compilation_config.compile_sizes = []
        from vllm.distributed import init_distributed_environment, initialize_model_parallel
        from vllm.model_executor.model_loader import get_model

        with set_current_vllm_config(config):
            init_distributed_environment(1, 0, f"file://{folder}/store", 0, "gloo")
            initialize_model_parallel(1, 1)
            model = get_model(vllm_config=config)
            for tokens in (64, 40, 1, 33):
                ids, positions = torch.randint(1, 90, (tokens,)), torch.arange(tokens)
                context = set_forward_context(None, config, num_tokens=tokens, slot_mapping={})
                with context, torch.inference_mode():
                    shapes.append([tokens, *model(ids, positions).shape])
    print(json.dumps({"shapes": shapes, "parts": PARTS}))


if __name__ == "__main__":
    main()
