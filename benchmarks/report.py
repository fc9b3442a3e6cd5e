"""How long a report over 2 x 4500 documents takes, and how large its files get.

For: the time and the size that a report costs. Two runs of the nine ruler_mk cells are made up,
with prompts as long as real ones (4, 8 and 16 thousand tokens, each written twice to the sample
files, as lm-eval does), and compared by the same functions as `iha-eval compare` calls.
Not for: what a report says.

    python benchmarks/report.py [--documents 500] [--gsm8k 1319]
"""

import argparse
import hashlib
import json
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from iha_eval.compare import build_report, write_report
from iha_eval.ruler import LENGTHS, VARIANTS, task_name

STAMP = "2026-01-02T03-04-05.678901"

CHARACTERS_PER_TOKEN = 4.2
"""Of running English prose; lines of numbers have fewer."""

RIGHT = {"iha": 0.62, "baseline": 0.55}
"""Share of right answers, drawn for each document: more of them disagree than in real runs."""

K = 16


def main() -> None:
    """Write the runs, compare them, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=500, help="documents a cell (500)")
    parser.add_argument("--gsm8k", type=int, default=0, help="questions of gsm8k_maj besides (0)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for side, share in RIGHT.items():
            _write_run(folder / side, share, options.documents, options.gsm8k)
        size = sum(path.stat().st_size for path in folder.rglob("*.jsonl"))
        print(f"sample files        {size / 1e6:8.1f} MB")
        started, busy = time.perf_counter(), time.process_time()
        report = build_report(folder / "iha", folder / "baseline")
        built = time.perf_counter()
        paths = write_report(report, folder / "out")
        done = time.perf_counter()
        print(f"documents           {report['provenance']['pairing']['documents']:8d} pairs")
        shown = report["disagreements"]
        print(f"disagreements       {shown['shown']:8d} shown of {shown['total']}")
        print(f"reading, statistics {built - started:8.1f} s")
        print(f"page, files         {done - built:8.1f} s")
        print(f"together            {done - started:8.1f} s")
        print(f"processor time      {time.process_time() - busy:8.1f} s")
        for path in paths:
            print(f"{path.name:19} {path.stat().st_size / 1e6:8.2f} MB")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory         {peak:8.0f} MiB")


def _write_run(folder: Path, share: float, documents: int, questions: int) -> None:
    place = folder / "model"
    place.mkdir(parents=True)
    tasks = [(name, length, task_name(name, length)) for length in LENGTHS for name in VARIANTS]
    configs: dict[str, Any] = {task: {"repeats": 1} for _, _, task in tasks}
    for variant, length, task in tasks:
        draw = random.Random(f"{task} {share}")
        with _samples(place, task) as file:
            for number in range(documents):
                right = float(draw.random() < share)
                file.write(
                    json.dumps(_document(variant, length, number, right), ensure_ascii=False) + "\n"
                )
    if questions:
        configs["gsm8k_maj"] = {
            "repeats": K,
            "dataset_kwargs": {"benchmark": "gsm8k", "voting": True},
        }
        draw = random.Random(f"gsm8k {share}")
        with _samples(place, "gsm8k_maj") as file:
            for number in range(questions):
                count = sum(draw.random() < share for _ in range(K))
                file.write(json.dumps(_question(number, count), ensure_ascii=False) + "\n")
    content = {"configs": configs, "config": {"model": "hf"}, "date": 1.7e9}
    (place / f"results_{STAMP}.json").write_text(json.dumps(content), encoding="utf-8")


def _samples(place: Path, task: str) -> Any:
    return (place / f"samples_{task}_{STAMP}.jsonl").open("w", encoding="utf-8")


def _document(variant: str, length: int, number: int, right: float) -> dict[str, Any]:
    """A sample of a cell; its text is the same for both models."""
    draw = random.Random(f"{variant} {length} {number}")
    value = str(draw.randrange(10**6, 10**7))
    sentence = f"The grass is green & the sky — {value} — is <blue>.\n"
    text = sentence * int(length * CHARACTERS_PER_TOKEN / len(sentence))
    doc = {"input": text, "outputs": [value], "depth": round(100 * draw.random(), 1)}
    answer = (f" {value if right else 'unknown'}. " + "And so on and on. " * 25)[:500]
    return _sample(
        number, doc, value, text, [answer], {"string_match": right, "first_answer": right}
    )


def _question(number: int, right: int) -> dict[str, Any]:
    share = right / K
    votes = (1, 2, 4, 8, 16)
    scores = {"p@1": share}
    scores |= {f"maj@{k}": share if k < 3 else float(share > 0.5) for k in votes}
    scores |= {f"pass@{k}": 1 - (1 - share) ** k for k in votes}
    answers = ["We add 3 and 4, which is 7. " * 40] * K
    problem = f"Question {number}: how many apples are there? " * 5
    return _sample(number, {"problem": problem}, "7", problem, answers, scores)


def _sample(
    number: int,
    doc: dict[str, Any],
    gold: str,
    prompt: str,
    answers: list[str],
    scores: dict[str, float],
) -> dict[str, Any]:
    digest = hashlib.sha256(prompt.encode()).hexdigest()
    return {
        "doc_id": number,
        "doc": doc,
        "target": gold,
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {"until": []}}},
        "resps": [answers],
        "filtered_resps": [answers],
        "filter": "none",
        "metrics": list(scores),
        **dict.fromkeys(("doc_hash", "prompt_hash", "target_hash"), digest),
        **scores,
    }


if __name__ == "__main__":
    main()
