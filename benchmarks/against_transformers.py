"""`iha-vllm` against `iha-hf`, the naive batched path on Transformers, on the same questions.

For: what serving through vLLM gains, end to end through the model classes: tokenizing, batches,
generation, stops, decoding. Both answer the same requests in turn, the engines kept from round to
round; the first round warms up. Two kinds of work: `ruler`, long prompts that share nothing and a
short answer; `majority`, short questions with k samples each.
Not for: quality, nor for vLLM against its own baseline (`serving.py`). Weights are random.

    python benchmarks/against_transformers.py [--model FOLDER] [--repeats 3] [--json FILE]
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

# Ends nothing: no answer holds it.
NEVER = "\x00never\x00"
TARGETS = {"ruler": 10, "majority": 5}


@dataclass(frozen=True)
class Work:
    """What is asked.

    Attributes:
        documents: different questions.
        words: length of each in words, a little more in tokens.
        samples: answers to each; above 1 they are drawn at temperature 0.6.
        new_tokens: length of each answer.
    """

    documents: int
    words: int
    samples: int
    new_tokens: int


def instances(work: Work, seed: int) -> list[Any]:
    """lm-eval's instances; another seed, other questions, so that no prefix is found."""
    from lm_eval.api.instance import Instance

    sampled = {"do_sample": True, "temperature": 0.6} if work.samples > 1 else {"do_sample": False}
    kwargs = {"until": [NEVER], "max_gen_toks": work.new_tokens, **sampled}
    drawn = []
    for document in range(work.documents):
        words = (f"{seed * 7919 + document * 104729 + word}" for word in range(work.words))
        prompt = " ".join(words) + " What was the first number?"
        instance = Instance("generate_until", {}, (prompt, kwargs), 0, ("asked", document, 1))
        drawn.extend([instance] * work.samples)
    return drawn


def save_model(folder: Path, hidden: int, layers: int) -> Path:
    """A random hybrid of the shape asked for, P = 2, with the embedded tokenizer."""
    from model_adapters import IHAConfig, IHALlamaForCausalLM, default_checkpoint

    embedded = default_checkpoint.folder()
    kinds = (["iha_sliding"] * 4 + ["full"]) * (layers // 5)
    config = IHAConfig(
        vocab_size=json.loads((embedded / "config.json").read_text())["vocab_size"],
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=len(kinds),
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 64,
        head_dim=64,
        max_position_embeddings=8192,
        num_pseudo_heads=2,
        iha_layer_types=kinds,
        # N / (2 P^2) at 4096 tokens.
        iha_window=512,
        # No answer ends by itself.
        eos_token_id=None,
    )
    IHALlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((embedded / name).read_bytes())
    return folder


def tokens(model: Any) -> int:
    """Tokens generated in the model's last call."""
    return int(model.calls[-1].generated_tokens)


def measure(folder: Path, work: Work, repeats: int) -> dict[str, Any]:
    """Documents a minute of both, and their ratio round by round."""
    from iha_eval.models.hf.model import IHAHF
    from iha_eval.models.vllm.model import IHAVLLM

    models: dict[str, Any] = {"iha-vllm": IHAVLLM(folder), "iha-hf": IHAHF(folder)}
    rates: dict[str, list[float]] = {name: [] for name in models}
    generated: dict[str, int] = {}
    for repeat in range(repeats + 1):
        for name, model in models.items():
            began = time.perf_counter()
            model.generate_until(instances(work, repeat), disable_tqdm=True)
            # The engine's start is not in it, as neither is the loading of the other.
            seconds = time.perf_counter() - began if repeat else 0.0
            generated[name] = tokens(model)
            if repeat:
                rates[name].append(60 * work.documents / seconds)
    ratios = [ours / naive for ours, naive in zip(*rates.values(), strict=True)]
    facts = models["iha-vllm"].get_model_info()["iha_eval"]
    models["iha-vllm"].close()
    return {
        "work": asdict(work),
        "device": facts["device"],
        "dtype": facts["dtype"],
        "prompt_tokens": models["iha-hf"].calls[-1].prompt_tokens,
        "generated_tokens": generated,
        "documents_per_minute": {name: statistics.median(values) for name, values in rates.items()},
        "ratio_median": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def main() -> None:
    """Measure, print a Markdown table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="a checkpoint instead of a random hybrid")
    parser.add_argument("--hidden", type=int, default=512, help="D of the random hybrid (512)")
    parser.add_argument("--layers", type=int, default=10, help="its layers, in fives (10)")
    parser.add_argument("--documents", type=int, nargs=2, default=[16, 16], metavar="N")
    parser.add_argument("--words", type=int, nargs=2, default=[660, 20], metavar="N")
    parser.add_argument("--samples", type=int, default=16, help="of a question of majority (16)")
    parser.add_argument("--new-tokens", type=int, nargs=2, default=[128, 128], metavar="N")
    parser.add_argument("--work", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    works = {
        name: Work(documents, words, options.samples if name == "majority" else 1, new)
        for name, documents, words, new in zip(
            TARGETS, options.documents, options.words, options.new_tokens, strict=True
        )
    }
    print(
        "| work | prompt tokens | iha-vllm, documents/min | iha-hf | ratio (min to max) | target |"
    )
    print("|---|---|---|---|---|---|", flush=True)
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.model or save_model(Path(scratch), options.hidden, options.layers)
        for name in options.work:
            result = results[name] = measure(folder, works[name], options.repeats)
            rates = result["documents_per_minute"]
            print(
                f"| {name} | {result['prompt_tokens']} | {rates['iha-vllm']:.1f} "
                f"| {rates['iha-hf']:.1f} | {result['ratio_median']:.1f} "
                f"({result['ratio_min']:.1f} to {result['ratio_max']:.1f}) | {TARGETS[name]} |",
                flush=True,
            )
    if options.json:
        command = " ".join(["python", "benchmarks/against_transformers.py", *sys.argv[1:]])
        facts = {"command": command, "machine": platform.machine(), "targets": TARGETS}
        threads = torch.get_num_threads()
        options.json.write_text(
            json.dumps({**facts, "threads": threads, "results": results}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
