"""Sixteen samples a question: one request with n=16 against lm-eval's sixteen repeats, as ratios.

For: `make bench`, and the table in README. Both ways run in the same engine, in turn, each with an
emptied prefix cache, and give the same answers; the repeats already profit from prefix caching.
Not for: absolute numbers of any machine; weights are random and answers of a fixed length.

    python benchmarks/samples.py [--questions 8] [--repeats 3] [--json FILE]
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from _serving_models import SHAPE, save_models

from iha_eval.models.vllm.engine_arguments import EXTENSION

K = 16
NEW_TOKENS = 64
# A zero-shot question, and one behind eight worked examples.
PROMPTS = {"short": (0, 100), "long few-shot": (1900, 100)}
MODELS = ("plain", "IHA P=2")
# The window that W is set for; the few-shot prompts fit in it.
CONTEXT = 4096


def start(folder: Path) -> Any:
    """A vLLM engine in this process."""
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    from vllm import LLM

    memory = {} if torch.cuda.is_available() else {"kv_cache_memory_bytes": 3 << 30}
    llm = LLM(
        str(folder),
        skip_tokenizer_init=True,
        dtype="bfloat16",
        enforce_eager=not torch.cuda.is_available(),
        max_model_len=CONTEXT,
        max_num_seqs=64,
        enable_prefix_caching=True,
        worker_extension_cls=EXTENSION,
        disable_log_stats=False,
        **memory,
    )
    # Without it vLLM's CPU build ends where a prompt with a seed is read in parts.
    llm.collective_rpc("iha_mend_seeded_sampling")
    return llm


def prompts(shared: int, own: int, count: int) -> list[list[int]]:
    """Token ids of questions behind the same `shared` tokens, with `own` tokens each."""
    generator = torch.Generator().manual_seed(shared)

    def draw(length: int) -> list[int]:
        ids: list[int] = torch.randint(
            0, SHAPE["vocab_size"], (length,), generator=generator
        ).tolist()
        return ids

    prefix = draw(shared)
    return [prefix + draw(own) for _ in range(count)]


def rate(llm: Any, batch: list[list[int]], at_once: bool) -> tuple[float, dict[str, list[int]]]:
    """Questions per second with K samples each, and the answers by question and seed."""
    from vllm import SamplingParams, TokensPrompt

    llm.reset_prefix_cache()
    asked: dict[int, tuple[int, int]] = {}
    answers: dict[str, list[int]] = {}
    began = time.perf_counter()
    for question, ids in enumerate(batch):
        for repeat in range(1 if at_once else K):
            params = SamplingParams(
                n=K if at_once else 1,
                temperature=0.6,
                seed=1000 * question + repeat,
                max_tokens=NEW_TOKENS,
                ignore_eos=True,
                detokenize=False,
            )
            (name,) = llm.enqueue([TokensPrompt(prompt_token_ids=ids)], params, use_tqdm=False)
            asked[int(str(name).partition("-")[0])] = question, repeat
    while llm.llm_engine.has_unfinished_requests():
        for output in llm.llm_engine.step():
            if output.finished:
                question, repeat = asked[int(output.request_id)]
                for place, made in enumerate(output.outputs):
                    answers[f"{question}/{repeat + place}"] = list(made.token_ids)
    return len(batch) / (time.perf_counter() - began), answers


def measure(folder: Path, questions: int, repeats: int) -> dict[str, dict[str, Any]]:
    """Rates of both ways by kind of prompt, taken in turn after a round to warm up."""
    llm = start(folder)
    results = {}
    for name, (shared, own) in PROMPTS.items():
        batch = prompts(shared, own, questions)
        rates: dict[bool, list[float]] = {True: [], False: []}
        same = 0
        for repeat in range(repeats + 1):
            made = {}
            for at_once in (True, False):
                speed, made[at_once] = rate(llm, batch, at_once)
                if repeat:
                    rates[at_once].append(speed)
            same = sum(made[False][key] == ids for key, ids in made[True].items())
        ratios = [ours / theirs for ours, theirs in zip(rates[True], rates[False], strict=True)]
        results[name] = {
            "at_once_questions_per_second": statistics.median(rates[True]),
            "repeats_questions_per_second": statistics.median(rates[False]),
            "ratio_median": statistics.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
            "same_answers": same / (questions * K),
        }
    del llm
    return results


def main() -> None:
    """Measure, print a Markdown table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print("| model | prompt | n=16, questions/s | 16 repeats | ratio (min to max) | same answers |")
    print("|---|---|---|---|---|---|", flush=True)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        folders = save_models(CONTEXT, [2], Path(folder))
        for model in MODELS:
            results[model] = measure(folders[model], options.questions, options.repeats)
            for name, row in results[model].items():
                print(
                    f"| {model} | {name} | {row['at_once_questions_per_second']:.2f} "
                    f"| {row['repeats_questions_per_second']:.2f} | {row['ratio_median']:.2f} "
                    f"({row['ratio_min']:.2f} to {row['ratio_max']:.2f}) "
                    f"| {row['same_answers']:.0%} |",
                    flush=True,
                )
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    print(f"\n{device}, {torch.get_num_threads()} threads, {options.repeats} repeats")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
