"""One engine, two engines by Ray, and perhaps two by an older checkout, on the same work in turn.

Each run is a process of its own with a thread for each engine, and asks the embedded checkpoint for
several samples of short documents. Seconds are of the start (from the first request to the first
engine that runs) and of the work after it, by the median over repeats; `x` is against one engine.
Answers must be equal over all of them.

Last, what Ray costs: an engine that answers at once is asked through it, a message for each prompt
and its answer. Rows say how long a prompt takes so, and how much of that is processor time of the
driver, for short prompts and for those of 128k tokens.

    python benchmarks/engines.py [--repeats 3] [--documents 24] [--samples 4] [--old CHECKOUT]
    python benchmarks/engines.py --repeats 0   # what Ray costs alone
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from array import array
from collections import deque
from pathlib import Path
from types import SimpleNamespace
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


class EchoEngine:
    """Finishes a prompt a step with an answer of eight tokens, and takes no time for it."""

    most, non_finite, max_model_len = 64, 0, 2**18

    def __init__(self, plan: Any) -> None:
        """Nothing waits."""
        self.arguments = plan.arguments.engine
        self._waiting: deque[int] = deque()
        self._number = 0

    @property
    def unfinished(self) -> int:
        """Prompts that wait."""
        return len(self._waiting)

    def put(self, _: Any) -> int:
        """Take a prompt."""
        self._number += 1
        self._waiting.append(self._number)
        return self._number

    def step(self) -> list[tuple[int, Any]]:
        """Answer the first."""
        number = self._waiting.popleft()
        made = SimpleNamespace(token_ids=[1] * 8, finish_reason="stop")
        output = {"request_id": str(number), "prompt_logprobs": None, "outputs": [made]}
        return [(number, SimpleNamespace(**output, metrics=None))]

    def facts(self) -> dict[str, Any]:
        """Of nothing."""
        return {"device": "none"}

    identity = facts

    def kv_cache(self) -> Any:
        """As much as two long prompts take."""
        from iha_eval.models.run_stats import KVCache

        return KVCache(2**18, None)

    def prefix_hits(self) -> int:
        """None."""
        return 0

    def close(self) -> None:
        """Nothing to do."""


def messages() -> dict[str, Any]:
    """What a prompt costs through Ray, in milliseconds, by its tokens."""
    from iha_eval.generation_kwargs import Sampling
    from iha_eval.models.arguments import ModelArguments
    from iha_eval.models.vllm.cluster import EngineCluster
    from iha_eval.models.vllm.dealing import EnginePrompt
    from iha_eval.models.vllm.devices import EnginePlan

    engines = EngineCluster(EnginePlan(ROOT, ROOT, ModelArguments(), 64, [64]), 1, make=EchoEngine)
    figures = {}
    for tokens, count in ((128, 2000), (128 * 1024, 200)):
        # Equal ones would go out together.
        ids = [array("i", range(n, n + tokens)) for n in range(count)]
        prompts = [EnginePrompt(each, Sampling(8)) for each in ids]
        begin, used = time.perf_counter(), time.process_time()
        engines.run(prompts, lambda *_: None, lambda: None)
        wall, used = time.perf_counter() - begin, time.process_time() - used
        figures[f"{tokens} tokens"] = {"ms": 1e3 * wall / count, "driver_ms": 1e3 * used / count}
    engines.close()
    return figures


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


def compare(options: argparse.Namespace) -> None:
    """One engine, two by Ray, and perhaps an older checkout's, in turn."""
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


def main() -> None:
    """Measure all in turn, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--documents", type=int, default=24)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--old", type=Path, help="checkout whose two engines are run too")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        sizes = (options.measure, options.documents, options.samples)
        print(json.dumps(measure(*sizes) if options.measure else messages()))
        return
    if options.repeats:
        compare(options)
    for prompt, figure in child(ROOT, 0, options).items():
        print(
            f"a prompt of {prompt} through Ray: {figure['ms']:.2f} ms, "
            f"of them {figure['driver_ms']:.2f} ms of the driver's processor time"
        )


if __name__ == "__main__":
    main()
