"""A small model served, plain and fused, against the naive model: greedy tokens and log-probs.

For: `gpu.py`'s "correct" cells; the naive model runs in float32 on the processor.
Not for: speed; and not a substitute for the tests, which do this on a processor at many shapes.
"""

import gc
import os
import tempfile
from typing import Any

import torch
from _gpu_cells import SHAPES, Cell
from transformers import LlamaConfig, LlamaForCausalLM

from model_adapters import IHAConfig, IHALlamaForCausalLM, naive

LENGTHS = (1, 5, 63, 129, 300)
NEW_TOKENS = 16
# In float32 rounding alone; in bfloat16 as a plain model of the shape errs, times a half again.
EXACT = 1e-3


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


def compare(made: Any, dtype: torch.dtype, engine: dict[str, Any]) -> dict[str, Any]:
    """Serve a model and follow what it generates with the naive one.

    Returns:
        The largest difference of a generated token's log-probability, the share of generated
        tokens that are the naive model's first choice, and by how much others miss it at most.
    """
    from vllm import LLM, SamplingParams, TokensPrompt
    from vllm.distributed import cleanup_dist_env_and_memory

    worst, first, total, missed = 0.0, 0, 0, 0.0
    params = SamplingParams(temperature=0, max_tokens=NEW_TOKENS, ignore_eos=True, logprobs=1)
    with tempfile.TemporaryDirectory() as folder:
        made.to(dtype).save_pretrained(folder)
        made.to(torch.float32)
        llm: Any = LLM(
            folder, skip_tokenizer_init=True, dtype=str(dtype).removeprefix("torch."), **engine
        )
        batch = [TokensPrompt(prompt_token_ids=ids) for ids in prompts()]
        outputs = llm.generate(batch, params, use_tqdm=False)
        llm.llm_engine.engine_core.shutdown()
        del llm
        gc.collect()
        cleanup_dist_env_and_memory()
    for ids, output in zip(prompts(), outputs, strict=True):
        made_ids = list(output.outputs[0].token_ids)
        truth = logprobs(made, ids + made_ids)[len(ids) - 1 : -1]
        for row, token, said in zip(truth, made_ids, output.outputs[0].logprobs, strict=True):
            worst = max(worst, abs(float(row[token]) - said[token].logprob))
            missed = max(missed, float(row.max() - row[token]))
            first += int(row.argmax()) == token
            total += 1
    return {"worst_logprob": worst, "first_choice": first / total, "missed_by": missed}


def engines(device: str) -> list[tuple[str, torch.dtype, dict[str, Any]]]:
    """Backend and type to serve with: exact arithmetic once, the usual once."""
    common: dict[str, Any] = {
        "max_model_len": 512,
        "max_num_batched_tokens": 256,
        "kv_cache_memory_bytes": 64 << 20,
        "gpu_memory_utilization": 0.5,
        "enforce_eager": device != "cuda",
    }
    if device != "cuda":
        return [("CPU_ATTN", torch.float32, common)]
    return [
        ("TRITON_ATTN", torch.float32, common | {"attention_backend": "TRITON_ATTN"}),
        ("FLASH_ATTN", torch.bfloat16, common | {"attention_backend": "FLASH_ATTN"}),
    ]


def run(cell: Cell, device: str) -> dict[str, Any]:
    """One row a backend, model and path."""
    # Engines of this process, one after another.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    rows = []
    for backend, dtype, engine in engines(device):
        for pseudo_heads in (None, 2) if cell.tiny else (None, 2, 3):
            made = model(pseudo_heads, dtype)
            for mode in (None,) if pseudo_heads is None else ("usual", "plain", True):
                config = {"iha_fold": "never"}
                config |= {} if mode in (None, "usual") else {"iha_fused": mode}
                if mode is True and device != "cuda":
                    continue
                extra = {} if mode is None else {"additional_config": config}
                about = {"backend": backend, "dtype": str(dtype), "pseudo_heads": pseudo_heads}
                rows.append(about | {"path": mode} | compare(made, dtype, engine | extra))
    return {"rows": rows, "right": right(rows)}


def right(rows: list[dict[str, Any]]) -> bool:
    """Whether float32 is exact, and bfloat16 at most half again as far off as a plain model."""
    for row in rows:
        plain = [other for other in rows if other["pseudo_heads"] is None]
        same = [other for other in plain if other["dtype"] == row["dtype"]]
        exact = row["dtype"] == "torch.float32"
        limit = EXACT if exact else 1.5 * max(other["worst_logprob"] for other in same)
        if not row["worst_logprob"] <= limit:
            return False
    return True


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        "| backend | dtype | P | path | worst log-prob | first choice | missed by |",
        "|---" * 7 + "|",
    ]
    for row in result["rows"]:
        model_is = f"{row['backend']} | {row['dtype']} | {row['pseudo_heads'] or '-'}"
        says = f"{row['worst_logprob']:.1e} | {row['first_choice']:.3f} | {row['missed_by']:.1e}"
        lines.append(f"| {model_is} | {row['path'] or '-'} | {says} |")
    return "\n".join([*lines, "", "right" if result["right"] else "WRONG"])
