"""A small model served, plain and fused, against the naive model: greedy tokens and log-probs.

For: `gpu.py`'s "correct" cells; the naive model runs in float32 on the processor.
Not for: speed; and not a substitute for the tests, which do this on a processor at many shapes.
"""

import gc
import os
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from _gpu_cells import SHAPES, GpuCell
from _gpu_rows import RowFile
from transformers import LlamaConfig, LlamaForCausalLM

from model_adapters import IHAConfig, IHALlamaForCausalLM, naive

LENGTHS = (1, 5, 63, 129, 300)
NEW_TOKENS = 16
# In float32 rounding alone, as `run` keeps Triton from multiplying in TF32, which
# would make 1.3e-2; in bfloat16 as a plain model of the shape errs, times a half again.
EXACT = 1e-4


def sizes() -> dict[str, Any]:
    """Wide enough heads for every backend, and weights large enough that every tensor matters."""
    more = {"head_dim": 64, "vocab_size": 512, "num_hidden_layers": 5}
    return SHAPES["tiny"] | more | {"initializer_range": 0.2, "max_position_embeddings": 1024}


def model(pseudo_heads: int | None, dtype: torch.dtype) -> Any:
    """A seeded model whose weights are rounded to `dtype`, in float32."""
    torch.manual_seed(7)
    if pseudo_heads is None:
        made: Any = LlamaForCausalLM(LlamaConfig(**sizes()))
    else:
        kinds = ["iha_sliding"] * 4 + ["full"]
        config = IHAConfig(
            **sizes(), num_pseudo_heads=pseudo_heads, iha_layer_types=kinds, iha_window=40
        )
        made = IHALlamaForCausalLM(config)
    return made.to(dtype).to(torch.float32)


def logprobs(made: Any, ids: list[int]) -> torch.Tensor:
    """[N, vocabulary], by the naive model; by Transformers' where the model is plain."""
    with torch.inference_mode():
        if isinstance(made.config, IHAConfig):
            logits = naive.logits(made.state_dict(), made.config, ids)
        else:
            logits = made(torch.tensor([ids])).logits[0]
    return logits.float().log_softmax(-1)


def prompts() -> list[list[int]]:
    """Mixed lengths."""
    generator = torch.Generator().manual_seed(3)
    return [torch.randint(1, 512, (length,), generator=generator).tolist() for length in LENGTHS]


def compare(
    made: Any, dtype: torch.dtype, engine: dict[str, Any], step: Callable[[], None]
) -> dict[str, Any]:
    """Serve a model and follow what it generates with the naive one.

    Args:
        made: the model.
        dtype: to serve it in.
        engine: arguments of `vllm.LLM`.
        step: called when vLLM is imported, when the engine is ready and when it has answered.

    Returns:
        The largest difference of a generated token's log-probability, the share of generated
        tokens that are the naive model's first choice, and by how much others miss it at most.
    """
    from vllm import LLM, SamplingParams, TokensPrompt
    from vllm.distributed import cleanup_dist_env_and_memory

    step()
    worst, first, total, missed = 0.0, 0, 0, 0.0
    params = SamplingParams(temperature=0, max_tokens=NEW_TOKENS, ignore_eos=True, logprobs=1)
    with tempfile.TemporaryDirectory() as folder:
        made.to(dtype).save_pretrained(folder)
        made.to(torch.float32)
        llm: Any = LLM(
            folder, skip_tokenizer_init=True, dtype=str(dtype).removeprefix("torch."), **engine
        )
        step()
        batch = [TokensPrompt(prompt_token_ids=ids) for ids in prompts()]
        outputs = llm.generate(batch, params, use_tqdm=False)
        step()
        llm.llm_engine.engine_core.shutdown()
        del llm
        gc.collect()
        cleanup_dist_env_and_memory()
    for ids, output in zip(prompts(), outputs, strict=True):
        made_ids = list(output.outputs[0].token_ids)
        truth = logprobs(made, ids + made_ids)[len(ids) - 1 : -1]
        for row, token, entry in zip(truth, made_ids, output.outputs[0].logprobs, strict=True):
            worst = max(worst, abs(float(row[token]) - entry[token].logprob))
            missed = max(missed, float(row.max() - row[token]))
            first += int(row.argmax()) == token
            total += 1
    return {"worst_logprob": worst, "first_choice": first / total, "missed_by": missed}


def engines(device: str) -> dict[str, tuple[torch.dtype, dict[str, Any]]]:
    """Types and arguments by backend: exact arithmetic first, then the usual one."""
    common: dict[str, Any] = {
        "max_model_len": 512,
        "max_num_batched_tokens": 256,
        "kv_cache_memory_bytes": 64 << 20,
        "gpu_memory_utilization": 0.5,
        "enforce_eager": device != "cuda",
    }
    if device != "cuda":
        return {"CPU_ATTN": (torch.float32, common)}
    # Few graphs, and nothing compiled: a minute has to do.
    common["compilation_config"] = {
        "mode": 0,
        "cudagraph_mode": "FULL_DECODE_ONLY",
        "cudagraph_capture_sizes": [1, 8],
    }
    return {
        name: (dtype, common | {"attention_backend": name})
        for name, dtype in (("TRITON_ATTN", torch.float32), ("FLASH_ATTN", torch.bfloat16))
    }


def plans(cell: GpuCell) -> list[tuple[int | None, Any]]:
    """P and the fused pass's switch of each engine: one for P = 2 before everything else."""
    if cell.tiny:
        return [(2, "usual"), (None, None)]
    if cell.name == "correct":
        return [(2, "usual"), (None, None), (2, True)]
    return [(None, None), *((pseudo, mode) for pseudo in (3, 4) for mode in ("usual", True))]


def run(cell: GpuCell, device: str, rows: RowFile) -> None:
    """One row a backend, model and path."""
    # Engines of this process, one after another.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ["TRITON_F32_DEFAULT"] = "ieee"
    for backend, (dtype, engine) in engines(device).items():
        for pseudo_heads, mode in plans(cell):
            config = {"iha_fold": "never"} | ({"iha_fused": True} if mode is True else {})
            extra = {} if mode is None else {"additional_config": config}
            about = {"backend": backend, "dtype": str(dtype), "pseudo_heads": pseudo_heads}

            def served(
                pseudo_heads: int | None = pseudo_heads,
                dtype: torch.dtype = dtype,
                arguments: dict[str, Any] = engine | extra,
                about: dict[str, Any] = about | {"path": mode},
            ) -> dict[str, Any]:
                return about | compare(model(pseudo_heads, dtype), dtype, arguments, rows.step)

            rows.measure(f"{backend} P={pseudo_heads} {mode}", served)
    for key, row in list(rows.rows.items()):
        if "worst_logprob" in row and not right(row, rows.rows):
            rows.add(key, {**row, "right": False})


def right(row: dict[str, Any], measured: dict[str, Any]) -> bool:
    """Whether float32 is exact, and bfloat16 at most half again as far off as a plain model."""
    if row["dtype"] == "torch.float32":
        return bool(row["worst_logprob"] <= EXACT)
    plain = [
        other["worst_logprob"]
        for other in measured.values()
        if other.get("dtype") == row["dtype"] and other["pseudo_heads"] is None
    ]
    return bool(row["worst_logprob"] <= 1.5 * max(plain, default=0.0))


def table(measured: dict[str, Any]) -> str:
    """Markdown of the rows by their keys."""
    lines = [
        "| backend | dtype | P | path | worst log-prob | first choice | missed by | |",
        "|---" * 8 + "|",
    ]
    for row in measured.values():
        if "backend" not in row:
            continue
        model_is = f"{row['backend']} | {row['dtype']} | {row['pseudo_heads'] or '-'}"
        says = f"{row['worst_logprob']:.1e} | {row['first_choice']:.3f} | {row['missed_by']:.1e}"
        verdict = "right" if row.get("right", True) else "WRONG"
        lines.append(f"| {model_is} | {row['path'] or '-'} | {says} | {verdict} |")
    return "\n".join(lines)
