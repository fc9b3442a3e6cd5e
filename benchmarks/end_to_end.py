"""Documents a minute of whole evaluations, the embedded IHA checkpoint against its baseline.

For: the end-to-end table in README. The commands are those that users type; the two models take
turns, and in every second round the other begins.
Not for: the start of engines, which is left out, nor scores. The two models say different things,
so the tokens that each was let say are shown beside.

    python benchmarks/end_to_end.py [--cases ruler_mk_16k gsm8k_maj] [--rounds 3] [--json FILE]

`gsm8k_maj` needs GSM8K: from the hub, or from the folder that IHA_EVAL_DATA names.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _ratios import cell, ratios

from iha_eval.cli._argument_types import positive

PLAIN, IHA = "embedded-baseline", "embedded-iha"
CASES = {
    "ruler_mk_16k": ["--metadata", '{"haystack": "kjv"}', "--limit", "4"],
    "gsm8k_maj": [
        *("--metadata", '{"k": 16}'),
        *("--gen_kwargs", "max_gen_toks=128"),
        *("--limit", "8"),
    ],
}


def command(case: str, model: str, folder: Path) -> list[str]:
    """What a user types."""
    program = str(Path(sys.executable).with_name("lm_eval"))
    words = ["--model", "iha-vllm", "--model_args", f"pretrained={model}", "--tasks", case]
    return [program, *words, *CASES[case], "--output_path", str(folder)]


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
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command(case, model, Path(folder)), capture_output=True, text=True, check=False
        )
        files = sorted(Path(folder).rglob("results_*.json"))
        if done.returncode or not files:
            sys.exit(f"{case} with {model} failed:\n{done.stderr[-2000:]}")
        return measured(json.loads(files[-1].read_text(encoding="utf-8")))


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
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
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
        content = {"commands": commands, "rounds": results}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
