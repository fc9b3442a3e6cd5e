"""lm-eval outputs made up in a folder: a results file and sample files, as lm-eval writes them.

For: tests of comparisons, which need runs of any scores, texts and flaws without a model.
Not for: tests of what lm-eval really writes; those run it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STAMP = "2026-01-02T03-04-05.678901"
STARTED = 1_767_323_045.5
"""2026-01-02T03:04:05 UTC."""

Line = dict[str, Any]


@dataclass
class FakeTask:
    """A task of a run.

    Attributes:
        samples: its lines; see `line`.
        config: entries of its configuration, over the defaults.
        metadata: its metadata.
        higher_is_better: as in results files; metrics that are not named are.
    """

    samples: Sequence[Line]
    config: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    higher_is_better: Mapping[str, bool] = field(default_factory=dict)


def line(
    doc_id: int,
    scores: Mapping[str, Any],
    *,
    prompt: str = "What?",
    gold: Any = "42",
    answers: Sequence[str] = ("It is 42.",),
    filter_name: str = "none",
    **doc: Any,
) -> Line:
    """A sample; its hashes follow from document, prompt and gold answer."""
    document = {"index": doc_id, **doc}
    return {
        "doc_id": doc_id,
        "doc": document,
        "target": str(gold),
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {"until": []}}},
        "resps": [list(answers)],
        "filtered_resps": [list(answers)],
        "filter": filter_name,
        "metrics": list(scores),
        "doc_hash": _sha256(json.dumps(document)),
        "prompt_hash": _sha256(prompt),
        "target_hash": _sha256(str(gold)),
        **scores,
    }


def lines(metric: str, values: Sequence[float | None], **common: Any) -> list[Line]:
    """A sample for each value of one metric."""
    return [line(number, {metric: value}, **common) for number, value in enumerate(values)]


def ruler_task(
    values: Sequence[float | None], first: Sequence[float | None] | None = None
) -> FakeTask:
    """A cell of ruler_mk; depths are spread from 0 to 100%."""
    both = zip(values, values if first is None else first, strict=True)
    step = 100 / max(len(values) - 1, 1)
    samples = [
        line(
            number,
            {"string_match": value, "first_answer": other},
            prompt=f"Long text with 123450{number} in it. What number?",
            gold=[f"123450{number}"],
            answers=[f" 123450{number if value else 'x'}."],
            depth=number * step,
            outputs=[f"123450{number}"],
        )
        for number, (value, other) in enumerate(both)
    ]
    metadata = {"documents_sha256": "d" * 64, "haystack": "needles"}
    return FakeTask(samples, {"dataset_kwargs": {"variant": "v", "length": 1}}, metadata)


def voting_task(
    right: Sequence[int], k: int = 4, votes: Sequence[int] = (1, 2, 4), benchmark: str = "gsm8k"
) -> FakeTask:
    """A task of k answers a question, of which `right` many are right; Maj@v is a step at half."""
    samples = []
    for number, count in enumerate(right):
        share = count / k
        scores = {"p@1": share}
        scores |= {f"maj@{v}": share if v < 3 else float(share > 0.5) for v in votes}
        scores |= {f"pass@{v}": 1 - (1 - share) ** v for v in votes}
        scores |= {"unparseable": (1 - share) / 2, "cut": 0.0, "undecided": 0.0}
        answers = [f"so it is {42 if n < count else n}" for n in range(k)]
        samples.append(line(number, scores, prompt=f"Question {number}?", answers=answers))
    return FakeTask(
        samples,
        {"dataset_kwargs": {"benchmark": benchmark, "voting": True}, "repeats": k},
        {"k": k, "votes": list(votes), "dataset": {"source": "x", "sha256": "e", "known": True}},
    )


def write_run(
    folder: Path,
    tasks: Mapping[str, FakeTask],
    *,
    stamp: str = STAMP,
    started: float = STARTED,
    ours: bool = True,
    samples: bool = True,
    config: Mapping[str, Any] | None = None,
    **results: Any,
) -> Path:
    """Write a run; returns its results file.

    Args:
        folder: where lm-eval's --output_path is.
        tasks: its tasks.
        stamp: the date in file names.
        started: the date inside, in seconds.
        ours: whether one of our model classes ran it, else `hf`.
        samples: whether --log_samples was given.
        config: entries of `config`, over the defaults.
        results: entries of the results, over the defaults.
    """
    place = folder / "model"
    place.mkdir(parents=True, exist_ok=True)
    content = {
        "results": {},
        "group_subtasks": {},
        "configs": {name: _config(name, task) for name, task in tasks.items()},
        "versions": dict.fromkeys(tasks, 1.0),
        "n-shot": dict.fromkeys(tasks, 0),
        "higher_is_better": {name: dict(task.higher_is_better) for name, task in tasks.items()},
        "config": {**_run_config(ours), **(config or {})},
        "date": started,
        "chat_template_sha": None,
        "lm_eval_version": "0.4.13",
        "transformers_version": "5.19.0",
        "model_name": "some/model",
        **results,
    }
    file = place / f"results_{stamp}.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    if samples:
        for name, task in tasks.items():
            text = "".join(json.dumps(sample) + "\n" for sample in task.samples)
            (place / f"samples_{name}_{stamp}.jsonl").write_text(text, encoding="utf-8")
    return file


def samples_file(results: Path, task: str) -> Path:
    """The sample file of a task."""
    return results.with_name(f"samples_{task}_{results.stem.removeprefix('results_')}.jsonl")


def _config(name: str, task: FakeTask) -> dict[str, Any]:
    return {
        "task": name,
        "generation_kwargs": {"do_sample": False, "max_gen_toks": 128},
        "repeats": 1,
        "metadata": {"version": 1.0, **task.metadata},
        **task.config,
    }


def _run_config(ours: bool) -> dict[str, Any]:
    common = {
        "model_num_parameters": 1000,
        "model_dtype": "bfloat16",
        "device": "cuda:0",
        "limit": None,
        **dict.fromkeys(("random_seed", "numpy_seed", "torch_seed", "fewshot_seed"), 0),
    }
    if not ours:
        return {"model": "hf", "model_args": {"pretrained": "some/model"}, **common}
    call = {
        "requests": 10,
        "recalled_from_journal": 0,
        "cut_by_budget": 1,
        "seconds": 4.0,
        "prompt_tokens": 1000,
        "prompt_tokens_from_prefix_cache": 200,
        "generated_tokens": 108,
        "prefill_seconds": 2.0,
        "generation_seconds": 2.0,
    }
    return {
        "model": "iha-vllm",
        "model_args": {"pretrained": "models/iha"},
        **common,
        "iha_eval": {
            "checkpoint": {
                "name": "models/iha",
                "path": "models/iha",
                "fingerprint": "f" * 64,
                "is_iha": True,
            },
            "versions": {"iha_eval": "0.1.0", "vllm": "0.32.0"},
            "command": ["lm_eval", "--model", "iha-vllm"],
            "model_args": {"pretrained": "models/iha"},
            "seed": 0,
            "dtype": "bfloat16",
            "device": "a processor",
            "engine_args": {"max_model_len": 4096},
            "kv_cache": {"tokens": 1000, "bytes": 4000},
            "summary": [call],
        },
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
