"""Served IHA (hybrid 4:1) against the plain Llama of the same shape in stock vLLM, as ratios.

For: `make bench`, and the table in README. Each model lives in a process of its own; the parent
lets them work in turn, so that a drift of the machine meets all of them alike.
Not for: absolute numbers of any machine, and not for quality: weights are random.

    python benchmarks/serving.py [--contexts 256 4096 16384] [--repeats 3] [--json FILE]
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from model_adapters import IHAConfig, IHALlamaForCausalLM

PSEUDO_HEADS = (2, 4)
SHAPE: dict[str, Any] = {
    "vocab_size": 4096,
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 10,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "max_position_embeddings": 32768,
    "bos_token_id": None,
    "eos_token_id": None,
}
# FLOP-matched to the plain model at the context that W is set for (App. C).
HYBRID = (["iha_sliding"] * 4 + ["full"]) * 2
NEW_TOKENS = 33
MEASURES = ("prefill", "decode, batch 1", "decode, batched")


def batch_size(context: int) -> int:
    """Requests decoded together; fewer where prompts are long, to end within minutes."""
    return 8 if context <= 4096 else 4


def save_models(context: int, folder: Path) -> dict[str, Path]:
    """Write the plain model and an IHA model for each P, window N / (2 P^2), bfloat16."""
    models: dict[str, Any] = {"plain": LlamaForCausalLM(LlamaConfig(**SHAPE))}
    for pseudo in PSEUDO_HEADS:
        config = IHAConfig(
            **SHAPE,
            num_pseudo_heads=pseudo,
            iha_layer_types=HYBRID,
            iha_window=max(1, context // (2 * pseudo**2)),
        )
        models[f"IHA P={pseudo}"] = IHALlamaForCausalLM(config)
    for name, model in models.items():
        model.to(torch.bfloat16).save_pretrained(folder / name)
    return {name: folder / name for name in models}


def serve(folder: Path, context: int, eager: bool, orders: Connection) -> None:
    """A process's life: start an engine, then measure what is asked until told to stop."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    from vllm import LLM

    gpu = torch.cuda.is_available()
    memory = {} if gpu else {"kv_cache_memory_bytes": 3 << 30}
    llm = LLM(
        str(folder),
        skip_tokenizer_init=True,
        dtype="bfloat16",
        enforce_eager=eager,
        max_model_len=context + 2 * NEW_TOKENS,
        max_num_batched_tokens=2048,
        max_num_seqs=16,
        enable_prefix_caching=True,
        **memory,
    )
    orders.send("ready")
    while (order := orders.recv()) is not None:
        measure, seed = order
        if measure == "prefill":
            orders.send(prefill_rate(llm, context, seed))
        else:
            count = 1 if measure == "decode, batch 1" else batch_size(context)
            orders.send(decode_rate(llm, context, count))


def prompts(context: int, seed: int, count: int) -> list[list[int]]:
    """Random token ids; other seeds, other prompts, so that no prefix is found."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, SHAPE["vocab_size"], (count, context), generator=generator).tolist()


def step_seconds(llm: Any, batch: list[list[int]], tokens: int) -> list[float]:
    """Hand the requests over together and run the engine; seconds of each step."""
    from vllm import SamplingParams, TokensPrompt

    params = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True, detokenize=False)
    llm.enqueue([TokensPrompt(prompt_token_ids=ids) for ids in batch], params, use_tqdm=False)
    seconds = []
    while llm.llm_engine.has_unfinished_requests():
        began = time.perf_counter()
        llm.llm_engine.step()
        seconds.append(time.perf_counter() - began)
    return seconds


def prefill_rate(llm: Any, context: int, seed: int) -> float:
    """Prompt tokens per second, one fresh prompt (eight where they are short)."""
    count = 8 if context < 1024 else 1
    return count * context / sum(step_seconds(llm, prompts(context, seed, count), 1))


def decode_rate(llm: Any, context: int, count: int) -> float:
    """Generated tokens per second of `count` requests side by side, by the median step.

    The prompts are always the same: after the first round their prefix is in the cache, and all
    but the first steps generate one token for every request.
    """
    seconds = step_seconds(llm, prompts(context, 1, count), NEW_TOKENS)
    return count / statistics.median(seconds[-NEW_TOKENS + 3 :])


def measure_context(context: int, repeats: int, eager: bool) -> dict[str, dict[str, list[float]]]:
    """Rates by measure and model, `repeats` of each, the models taking turns."""
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        lines, processes = {}, []
        for name, path in save_models(context, Path(folder)).items():
            here, there = spawn.Pipe()
            process = spawn.Process(target=serve, args=(path, context, eager, there), daemon=True)
            process.start()
            assert here.recv() == "ready"
            lines[name] = here
            processes.append(process)
        rates: dict[str, dict[str, list[float]]] = {}
        for measure in MEASURES:
            rates[measure] = {name: [] for name in lines}
            for repeat in range(repeats + 1):
                for name, line in lines.items():
                    line.send((measure, 100 + repeat))
                    rate = line.recv()
                    # The first round warms up.
                    if repeat:
                        rates[measure][name].append(rate)
        for line in lines.values():
            line.send(None)
        for process in processes:
            process.join(60)
    return rates


def ratios(rates: dict[str, list[float]], name: str) -> dict[str, float]:
    """Median, smallest and largest ratio to the plain model, round by round."""
    pairs = [ours / plain for ours, plain in zip(rates[name], rates["plain"], strict=True)]
    return {"median": statistics.median(pairs), "min": min(pairs), "max": max(pairs)}


def main() -> None:
    """Measure, print a Markdown table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--contexts", type=int, nargs="+", default=[256, 4096, 16384])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="torch.compile instead of eager")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    results = []
    print(
        "| context | measure | plain, tokens/s | "
        + " | ".join(f"IHA P={pseudo}, ratio (min to max)" for pseudo in PSEUDO_HEADS)
        + " |"
    )
    print("|---" * (3 + len(PSEUDO_HEADS)) + "|", flush=True)
    for context in options.contexts:
        rates = measure_context(context, options.repeats, not options.compile)
        for measure in MEASURES:
            plain = statistics.median(rates[measure]["plain"])
            cells = []
            for pseudo in PSEUDO_HEADS:
                ratio = ratios(rates[measure], f"IHA P={pseudo}")
                cells.append(f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})")
                results.append(
                    {"context": context, "measure": measure, "pseudo_heads": pseudo}
                    | {f"ratio_{key}": value for key, value in ratio.items()}
                    | {"plain_tokens_per_second": plain}
                )
            label = measure.replace("batched", f"batch {batch_size(context)}")
            print(f"| {context} | {label} | {plain:.0f} | " + " | ".join(cells) + " |", flush=True)
    print(
        f"\n{device}, {torch.get_num_threads()} threads, bfloat16, "
        f"{'compiled' if options.compile else 'eager'}, {options.repeats} repeats"
    )
    if options.json:
        options.json.write_text(json.dumps({"device": device, "results": results}, indent=2))


if __name__ == "__main__":
    main()
