"""Small random models and in-process engines.

For: tests that need an IHA model, a saved checkpoint or a vLLM engine (import `tiny_models`).
Not for: plain fixtures, which stand in the conftest.py of their folder.
"""

import contextlib
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

# In-process engines start in seconds; vLLM reads these when it is imported.
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

from model_adapters import (
    IHAConfig,
    IHALlamaForCausalLM,
    IHANanoChatConfig,
    IHANanoChatForCausalLM,
)

VOCABULARY = 97
MIXED = ["iha_sliding", "iha_global", "full", "sliding"]
HYBRID = ["iha_sliding"] * 4 + ["full"]
GLOBAL = ["iha_global"] * 2


def tiny_config(kinds: list[str] = MIXED, **changes: Any) -> IHAConfig:
    """Four heads of 32 over two key heads; noise large enough that every tensor matters."""
    windowed = any("sliding" in kind for kind in kinds)
    fields: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": len(kinds),
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 4096,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": 0,
        "initializer_range": 0.2,
        "num_pseudo_heads": 2,
        "iha_layer_types": kinds,
        "iha_window": 17 if windowed else None,
    }
    return IHAConfig(**fields | changes)


def tiny_model(kinds: list[str] = MIXED, seed: int = 0, **changes: Any) -> IHALlamaForCausalLM:
    """A seeded float32 model in evaluation mode."""
    torch.manual_seed(seed)
    model = IHALlamaForCausalLM(tiny_config(kinds, **changes))
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            # Zeros at first, which would hide a bias that is lost.
            torch.nn.init.normal_(parameter)
        if name.endswith(("q_norm.weight", "k_norm.weight")):
            torch.nn.init.normal_(parameter, 1.0, 0.3)
    model.train(False)
    return model


#: What later forms of nanochat have, a field each.
MODERN: dict[str, Any] = {
    "value_embedding": "before_mixing",
    "value_embedding_layers": [1, 3],
    "value_gate_channels": 12,
    "value_gate_scale": 3.0,
    "residual_lambdas": True,
    "skips": [[0, 3], [2, 4]],
    "smear_channels": 24,
}


def tiny_nanochat(kinds: list[str] = MIXED, **changes: Any) -> IHANanoChatForCausalLM:
    """`tiny_model` on nanochat, no lambda or gate of which is where it starts."""
    fields = tiny_config(kinds).to_dict()
    for name in ("model_type", "hidden_act", "qk_norm"):
        del fields[name]
    torch.manual_seed(0)
    model = IHANanoChatForCausalLM(IHANanoChatConfig(**fields | changes))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.train(False)
    return model


def random_ids(length: int, seed: int = 0) -> list[int]:
    """Token ids that depend on length and seed alone."""
    generator = torch.Generator().manual_seed(1000 * seed + length)
    return torch.randint(1, VOCABULARY, (length,), generator=generator).tolist()


@contextlib.contextmanager
def engine(folder: Path, **arguments: Any) -> Iterator[Any]:
    """A small eager float32 vLLM engine in this process, gone afterwards."""
    from vllm import LLM

    defaults: dict[str, Any] = {
        "skip_tokenizer_init": True,
        "dtype": "float32",
        "enforce_eager": True,
        "max_model_len": 1024,
        "kv_cache_memory_bytes": 64 << 20,
        "max_num_batched_tokens": 256,
        "max_num_seqs": 16,
        "enable_prefix_caching": True,
    }
    llm = LLM(str(folder), **defaults | arguments)
    try:
        yield llm
    finally:
        from vllm.distributed import cleanup_dist_env_and_memory

        # Explicitly: a caller's own name for the engine would keep it alive.
        llm.llm_engine.engine_core.shutdown()
        del llm
        gc.collect()
        cleanup_dist_env_and_memory()


def generate(llm: Any, prompts: list[list[int]], tokens: int = 12) -> list[Any]:
    """Greedy continuations with the logprobs of prompt and generation."""
    from vllm import SamplingParams, TokensPrompt

    params = SamplingParams(
        temperature=0,
        max_tokens=tokens,
        logprobs=1,
        prompt_logprobs=1,
        detokenize=False,
        ignore_eos=True,
    )
    batch = [TokensPrompt(prompt_token_ids=prompt) for prompt in prompts]
    outputs: list[Any] = llm.generate(batch, params, use_tqdm=False)
    return outputs


@torch.no_grad()
def worst_logprob(model: Any, prompts: list[list[int]], outputs: list[Any]) -> float:
    """Largest |delta logprob| over prompts and generations; inf where greedy tokens differ."""
    worst = 0.0
    for prompt, output in zip(prompts, outputs, strict=True):
        answer = list(output.outputs[0].token_ids)
        reference = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
        for index in range(1, len(prompt)):
            served = output.prompt_logprobs[index][prompt[index]].logprob
            worst = max(worst, abs(served - reference[index - 1, prompt[index]].item()))
        for step, token in enumerate(answer):
            row = reference[len(prompt) + step - 1]
            served = output.outputs[0].logprobs[step][token].logprob
            worst = max(worst, abs(served - row[token].item()))
            if row.argmax().item() != token:
                return float("inf")
    return worst
