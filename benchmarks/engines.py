"""One engine, two engines by Ray, and perhaps two by an older checkout, on the same work in turn.

Each run is a process of its own with a thread for each engine, and asks the embedded checkpoint for
several samples of short documents. Seconds are of the start (from the first request to the first
engine that runs) and of the work after it, by the median over repeats; `x` is against one engine.
Answers must be equal over all of them.

    python benchmarks/engines.py [--repeats 3] [--documents 24] [--samples 4] [--old CHECKOUT]
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TOKENS = 64


def measure(engines: int, documents: int, samples: int) -> dict[str, Any]:
    """Answer everything in this process."""
    from lm_eval.api.instance import Instance

    from iha_eval.models.vllm.model import IHAVLLM

    settings = {"until": [], "max_gen_toks": TOKENS, "do_sample": True, "temperature": 0.9}

    def ask(document: int, sample: int) -> Instance:
        text = f"Question {document}: " + "word " * (20 + document % 20)
        return Instance(
            request_type="generate_until",
            doc={"question": text},
            arguments=(text, dict(settings)),
            idx=sample,
            metadata=("work", document, 1),
        )

    model = IHAVLLM(
        "embedded-iha",
        data_parallel_size=engines,
        kv_cache_memory_bytes=64 * 2**20,
        max_num_seqs=16,
        journal="",
    )
    begin = time.perf_counter()
    model.generate_until([ask(-1, n) for n in range(samples)], disable_tqdm=True)
    # Engines start side by side, and the first answers do not wait for the second of them.
    while getattr(model._engine, "alive", engines) < engines:
        model._engine._tend(lambda *_: None)  # type: ignore[union-attr]
    started = time.perf_counter()
    work = [ask(document, sample) for document in range(documents) for sample in range(samples)]
    answers = model.generate_until(work, disable_tqdm=True)
    ended = time.perf_counter()
    model.close()
    digest = hashlib.sha256("\0".join(map(str, answers)).encode()).hexdigest()
    return {"start": started - begin, "work": ended - started, "answers": digest}


def child(tree: Path, engines: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measure with the code of a checkout, in a process of its own."""
    sizes = ["--documents", str(options.documents), "--samples", str(options.samples)]
    done = subprocess.run(
        [sys.executable, __file__, "--measure", str(engines), *sizes],
        env={
            **os.environ,
            "PYTHONPATH": str(tree),
            "OMP_NUM_THREADS": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        },
        cwd=tree,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Measure all in turn, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--documents", type=int, default=24)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--old", type=Path, help="checkout whose two engines are run too")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.documents, options.samples)))
        return
    runs = {"one engine": (ROOT, 1), "two by Ray": (ROOT, 2)}
    if options.old:
        runs["two by the older checkout"] = (options.old, 2)
    figures: dict[str, list[dict[str, Any]]] = {name: [] for name in runs}
    for _ in range(options.repeats):
        for name, (tree, engines) in runs.items():
            figures[name].append(row := child(tree, engines, options))
            print(f"{name}: start {row['start']:.2f} s, work {row['work']:.2f} s", flush=True)
    digests = {figure["answers"] for rows in figures.values() for figure in rows}
    print("answers are equal" if len(digests) == 1 else "ANSWERS DIFFER")
    one = statistics.median(row["work"] for row in figures["one engine"])
    for name, rows in figures.items():
        start = statistics.median(row["start"] for row in rows)
        work = statistics.median(row["work"] for row in rows)
        print(f"{name:26} start {start:6.2f} s  work {work:6.2f} s  {one / work:.2f} x")


if __name__ == "__main__":
    main()
