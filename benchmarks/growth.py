"""How time and memory of a whole evaluation grow with documents, samples a question, and context.

For: finding what grows faster than it must. Everything around the model is measured, which is what
this package adds and what a GPU waits for: tokenizing, requests, journal, scores, votes, results,
and, by itself since it is kept, the drawing of documents. The model answers at once, so no engine's
growth is in it (that is attention's: `iha-eval inspect`). Each point is a process of its own, and
the exponents are of what it takes beyond a run of two documents a task.
Not for: speed of serving (`serving.py`).

    python benchmarks/growth.py [--axes documents k context] [--repeats 1] [--json FILE]
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

# Per axis: documents a cell (of three) or questions, samples, context in tokens.
POINTS: dict[str, list[dict[str, int]]] = {
    "documents": [{"documents": n, "context": 4096} for n in (125, 250, 500)],
    "k": [{"documents": 500, "k": k} for k in (4, 16, 64)],
    "context": [{"documents": 100, "context": length} for length in (1024, 4096, 16384)],
}
# A slope of a line in logarithms that three points of a busy machine may have by chance.
LINEAR = 1.15


def save_checkpoint(folder: Path) -> Path:
    """A tiny model of long context with the embedded tokenizer: there is no need to run it."""
    from model_adapters import IHAConfig, IHALlamaForCausalLM, default_checkpoint

    tokenizer = default_checkpoint.folder()
    config = IHAConfig(
        vocab_size=json.loads((tokenizer / "config.json").read_text())["vocab_size"],
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=32768,
        iha_layer_types=["iha_global"],
    )
    IHALlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tokenizer / name).read_bytes())
    return folder


def save_questions(folder: Path) -> Path:
    """Data in the form of GSM8K's test set."""
    (folder / "gsm8k").mkdir(parents=True)
    rows = [
        {"question": f"Ann has {n} hats and buys {n + 1} more. How many?", "answer": f"#### {n}"}
        for n in range(1000)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "gsm8k" / "test.jsonl").write_text(text)
    return folder


def instant_model(folder: Path, journal: Path) -> Any:
    """A model class of this package whose engine answers at once."""
    from iha_eval.models.base import HarnessModel
    from iha_eval.models.requests import Answer, GenerateRequest
    from iha_eval.models.vllm.sample_groups import grouped

    class Instant(HarnessModel):
        MODEL = "instant"
        SCORING_ROOM = 0
        WINDOW_MARGIN = 0

        def _check_engine_arguments(self) -> None:
            pass

        def _prepare(self, max_model_len: int, needs: Sequence[int]) -> None:
            pass

        def _engine_facts(self) -> dict[str, Any]:
            return {"backend": "instant", "dtype": "float32"}

        def _generate(
            self,
            requests: Sequence[GenerateRequest],
            call: Any,
            done: Callable[[GenerateRequest, Answer], None],
            progress: Any,
        ) -> None:
            # In the order of `iha-vllm`.
            for group in sorted(grouped(requests), key=lambda part: -part.reach):
                for job in group.members:
                    call.add(prompt=len(job.prompt), generated=16)
                    value = (job.sampling.seed or 0) % 5
                    done(job, Answer(f"The answer is \\boxed{{{value}}}.", 16, False))
                    progress.finish(len(job.prompt), 16)

        def _score(self, *_: Any) -> None:
            raise NotImplementedError

    return Instant(folder, journal=str(journal))


def memory() -> tuple[float, float]:
    """Memory of this process in MiB: now, and at most since `forget_peak`."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return tuple(int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


def forget_peak() -> None:
    """Let the kernel count the most memory from here on."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(point: dict[str, int], folder: Path) -> dict[str, float]:
    """A point, in this process: runs of two documents first, then the whole."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    from iha_eval.lm_eval_plugin.register import register

    register()
    questions = "k" in point
    metadata: dict[str, Any] = (
        {"k": point["k"], "votes": [1, point["k"]], "data": str(save_questions(folder / "data"))}
        if questions
        else {"lengths": [point["context"]], "haystack": "kjv"}
    )
    model = instant_model(save_checkpoint(folder / "model"), folder / "journal")

    # What is loaded at first use is no growth; other lengths, so that nothing is drawn yet.
    warm_up = metadata if questions else metadata | {"lengths": [512]}
    managers = {False: TaskManager(metadata=metadata), True: TaskManager(metadata=warm_up)}

    def run(limit: int, warming: bool = False) -> tuple[float, float, float]:
        before, _ = memory()
        forget_peak()
        began, busy = time.perf_counter(), cpu_seconds()
        results = lm_eval.simple_evaluate(
            model=model,
            tasks=["gsm8k_maj" if questions else "ruler_mk_lengths"],
            limit=limit,
            task_manager=managers[warming],
            metadata=warm_up if warming else metadata,
            log_samples=True,
            bootstrap_iters=0,
        )
        # As lm-eval saves them.
        saved = sum(
            len(json.dumps(samples, default=str)) for samples in results["samples"].values()
        )
        assert saved
        return time.perf_counter() - began, cpu_seconds() - busy, memory()[1] - before

    with redirect_stdout(sys.stderr):
        run(2, warming=True)
        drawing, first, whole = run(2), run(2), run(point["documents"])
    names = ("seconds", "cpu_seconds", "peak_mib")
    call = model.calls[-1]
    return {
        **dict(zip(names, whole, strict=True)),
        **{f"{name}_of_two": value for name, value in zip(names, first, strict=True)},
        # All documents of a cell are drawn, however few are asked.
        "cpu_seconds_drawing": drawing[1] - first[1],
        "requests": call.requests,
        "prompt_tokens": call.prompt_tokens,
    }


def cpu_seconds() -> float:
    """Processor time of this process and of those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def in_a_process(point: dict[str, int]) -> dict[str, float]:
    """`measure` in a fresh process with caches of its own."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = {"IHA_EVAL_CACHE": f"{folder}/cache", "TOKENIZERS_PARALLELISM": "false"}
        child = subprocess.run(
            [sys.executable, __file__, "--point", json.dumps(point), folder],
            env=os.environ | fresh,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    figures: dict[str, float] = json.loads(child.stdout.splitlines()[-1])
    return figures


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Least-squares slope in logarithms: the exponent with which values grow."""
    logs = [math.log(size) for size in sizes], [math.log(max(value, 1e-9)) for value in values]
    return statistics.linear_regression(*logs).slope


def measure_axis(axis: str, repeats: int) -> dict[str, Any]:
    """The three points of an axis, the best of `repeats` each, and the exponents."""
    points = []
    for point in POINTS[axis]:
        best = min(
            (in_a_process(point) for _ in range(repeats)),
            key=lambda figures: figures["cpu_seconds"],
        )
        points.append({**point, **best})
        print(
            f"| {axis} | {point[axis]} | {best['requests']} | {best['prompt_tokens']} "
            f"| {best['cpu_seconds']:.1f} ({best['cpu_seconds_of_two']:.1f}) "
            f"| {best['cpu_seconds_drawing']:.1f} "
            f"| {best['peak_mib']:.0f} ({best['peak_mib_of_two']:.0f}) |",
            flush=True,
        )
    sizes = [point[axis] for point in points]
    exponents = {}
    for name in ("cpu_seconds", "peak_mib"):
        # What a run takes whatever its size; the same at all points.
        fixed = statistics.median(point[f"{name}_of_two"] for point in points)
        exponents[name] = slope(sizes, [point[name] - fixed for point in points])
    faster = [name for name, exponent in exponents.items() if exponent > LINEAR]
    return {"points": points, "exponents": exponents, "faster_than_linear": faster}


def main() -> None:
    """Measure, print a Markdown table and exponents, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--axes", nargs="+", default=list(POINTS), choices=list(POINTS))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--point", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        point, folder = json.loads(options.point[0]), Path(options.point[1])
        print(json.dumps(measure(point, folder)))
        return
    print("| axis | size | requests | prompt tokens | CPU s (of two) | drawing | MiB (of two) |")
    print("|---|---|---|---|---|---|---|", flush=True)
    results = {axis: measure_axis(axis, options.repeats) for axis in options.axes}
    print()
    for axis, result in results.items():
        exponents = ", ".join(f"{name} {value:.2f}" for name, value in result["exponents"].items())
        over = f"; faster than linear: {', '.join(result['faster_than_linear'])}"
        print(f"{axis}: exponents {exponents}{over if result['faster_than_linear'] else ''}")
    if options.json:
        command = " ".join(["python", "benchmarks/growth.py", *sys.argv[1:]])
        facts = {"command": command, "device": platform.machine(), "results": results}
        options.json.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
