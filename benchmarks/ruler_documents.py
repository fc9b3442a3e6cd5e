"""How long drawing RULER's documents takes, how much memory, and how full they are.

For: a comparison of our generator, first and from its cache, with the one inside lm-eval, for the
same three tasks, lengths, tokenizer and running text, each in a process of its own on one core; or,
with --all, our generator alone for all tasks.
Not for: scores.

The question sets of the qa tasks are taken from --data; without it the other eleven tasks run.
Run `python benchmarks/ruler_documents.py --help`. It needs no network. lm-eval's generator would
download its essays and NLTK's sentence model; both sides hide their needles in the King James Bible
instead, and lm-eval's cuts it with NLTK's untrained Punkt.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

GENERATORS = ("ours, first", "ours, cached", "lm-eval")
VARIANTS = ("multikey_1", "multikey_2", "multikey_3")
NEW_TOKENS = 128
MIB = 1024


@dataclass
class Report:
    """What one process measured.

    Attributes:
        generator: One of GENERATORS.
        ready: Seconds from a loaded tokenizer to all documents drawn and sized, imports of the
            generator included.
        seconds: The same, and every document's text written out.
        peak_mib: Peak memory above that of the process with its tokenizer loaded, in MiB.
        documents: Number of documents.
        fill: Per task and length, the mean and the least share of the length that prompt and budget
            take.
        too_long: Documents over their length, of the sampled ones.
        sampled: Documents whose prompts were really encoded for `fill` and `too_long`.
    """

    generator: str
    ready: float
    seconds: float
    peak_mib: float
    documents: int
    fill: dict[str, tuple[float, float]]
    too_long: int
    sampled: int


def peak_kib() -> int:
    """Peak memory of this process so far, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def ours(
    tokenizer: Any, lengths: Sequence[int], everything: bool, data: str | None
) -> Iterable[tuple[str, Any]]:
    """Our documents, a task and length at a time."""
    from iha_eval import ruler

    settings = ruler.RulerSettings(data=Path(data) if data else None)
    named = ruler.TASKS if everything else ruler.VARIANTS
    for length in lengths:
        for name, task in named.items():
            if name.startswith("qa") and not data:
                continue
            cell = ruler.RulerCell(task, length, "kjv", settings=settings)
            yield (
                f"{name} {length}",
                ruler.load_documents(cell, tokenizer, ruler.plain_prompt, task.new_tokens),
            )


def lm_evals(folder: str, lengths: Sequence[int]) -> Iterable[tuple[str, Any]]:
    """lm-eval's documents, from its own functions."""
    import random

    import nltk
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    # At import the module looks for Punkt's data and would try to download it.
    nltk.data.find = str
    from lm_eval.tasks.ruler import niah_utils, prepare_niah

    from iha_eval.ruler import load_haystack

    words = load_haystack("kjv").text.split()
    punkt = PunktSentenceTokenizer()
    prepare_niah.cached_sent_tokenize.__wrapped__.__globals__["sent_tokenize"] = punkt.tokenize
    real = niah_utils.get_haystack
    niah_utils.get_haystack = lambda type_haystack: (
        words if type_haystack == "essay" else real(type_haystack=type_haystack)
    )
    random.seed(0)
    for length in lengths:
        for variant in VARIANTS:
            make = getattr(niah_utils, f"niah_{variant}")
            yield f"{variant} {length}", make(tokenizer=folder, max_seq_lengths=[length])["test"]


def measure(options: argparse.Namespace) -> Report:
    """Generate everything in this process, then encode some of it."""
    generator, folder, lengths = options.child, options.tokenizer, options.lengths
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer("warm up")
    before, start = peak_kib(), time.perf_counter()
    if generator == "lm-eval":
        cells = lm_evals(folder, lengths)
    else:
        cells = ours(tokenizer, lengths, options.all, options.data)
    kept, count, ready, last = [], 0, 0.0, start
    for name, documents in cells:
        ready += time.perf_counter() - last
        for document in documents:
            count += 1
            if document["index"] % (500 // options.samples) == 0:
                kept.append((name, document))
        last = time.perf_counter()
    seconds, peak = time.perf_counter() - start, peak_kib() - before
    shares: dict[str, list[float]] = {}
    for name, document in kept:
        # As a model gets it: with BOS and answer prefix.
        prompt = f"{document['input']} {document['gen_prefix']}"
        tokens = len(tokenizer(prompt)["input_ids"]) + budget_of(name)
        shares.setdefault(name, []).append(tokens / document["max_length"])
    return Report(
        generator=generator,
        ready=ready,
        seconds=seconds,
        peak_mib=peak / MIB,
        documents=count,
        fill={name: (sum(parts) / len(parts), min(parts)) for name, parts in shares.items()},
        too_long=sum(share > 1 for parts in shares.values() for share in parts),
        sampled=len(kept),
    )


def budget_of(name: str) -> int:
    """Tokens to be generated, by a task's name and length."""
    from iha_eval import ruler

    task = ruler.TASKS.get(name.split()[0])
    return task.new_tokens if task else NEW_TOKENS


def make_tokenizer(folder: Path) -> None:
    """A byte-level BPE of 4096 tokens with single digits and a BOS, trained on the running text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    from iha_eval.ruler import load_haystack

    words = load_haystack("kjv").words(200_000)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        (" ".join(words[i : i + 50]) for i in range(0, len(words), 50)), trainer
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)


def run_child(generator: str, folder: str, options: argparse.Namespace, cache: str) -> Report:
    """Measure in a fresh process on one core."""
    lengths = [str(length) for length in options.lengths]
    command = [sys.executable, __file__, "--child", generator, "--tokenizer", folder]
    command += ["--samples", str(options.samples), "--lengths", *lengths]
    command += ["--all"] if options.all else []
    command += ["--data", options.data] if options.data else []
    environment = {
        **os.environ,
        "IHA_EVAL_CACHE": cache,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }
    print(f"measuring: {generator}", file=sys.stderr)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        # Progress bars would bury it otherwise.
        raise SystemExit(f"{generator} failed:\n{done.stderr[-2000:]}")
    return Report(**json.loads(done.stdout.splitlines()[-1]))


def table(reports: Sequence[Report]) -> str:
    """The reports side by side."""
    rows = [
        ("", *(report.generator for report in reports)),
        ("seconds, drawn and sized", *(f"{report.ready:.2f}" for report in reports)),
        ("seconds, all texts written out", *(f"{report.seconds:.2f}" for report in reports)),
        ("peak memory, MiB above the tokenizer", *(f"{r.peak_mib:.0f}" for r in reports)),
        ("documents", *(str(report.documents) for report in reports)),
        ("too long, of those encoded", *(f"{r.too_long} of {r.sampled}" for r in reports)),
    ]
    for name in reports[0].fill:
        shares = [f"{r.fill[name][0]:.3f} ({r.fill[name][1]:.3f})" for r in reports]
        rows.append((f"fill of {name}, mean (least)", *shares))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def main() -> None:
    """Run each generator in its own process and print what they took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--tokenizer", help="folder or name; default: a small one, trained here")
    parser.add_argument("--lengths", type=int, nargs="+", default=[4096, 8192, 16384])
    parser.add_argument("--all", action="store_true", help="all of RULER's tasks, ours alone")
    parser.add_argument("--data", help="with --all: the folder of the qa tasks' question sets")
    parser.add_argument("--samples", type=int, default=20, help="documents to encode per task")
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    parser.add_argument("--child", choices=GENERATORS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        report = measure(options)
        print(json.dumps(asdict(report)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.tokenizer or f"{scratch}/tokenizer"
        if options.tokenizer is None:
            make_tokenizer(Path(folder))
        names = GENERATORS[:2] if options.all else GENERATORS
        reports = [run_child(name, folder, options, f"{scratch}/cache") for name in names]
    print(table(reports))
    if options.json:
        options.json.write_text(json.dumps([asdict(report) for report in reports], indent=2))


if __name__ == "__main__":
    main()
