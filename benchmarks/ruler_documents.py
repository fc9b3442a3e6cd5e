"""How long drawing RULER's documents takes, how much memory, and how full they are.

For: a comparison of our generator, first and from its cache, with the one inside lm-eval and, where
--nvidia names a checkout of NVIDIA/RULER, with NVIDIA's, for the same tasks (those of ruler_mk, or
with --all all thirteen), lengths, tokenizer and running text, each in a process of its own on one
core.
Not for: scores.

The question sets of the qa tasks are taken from --data; --data made-up makes a pair as large as the
published ones; without it the other eleven tasks run.
Run `python benchmarks/ruler_documents.py --help`. It needs no network. The other generators would
download essays and NLTK's sentence model; all hide their needles in the King James Bible instead,
and the others cut it with NLTK's untrained Punkt.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

GENERATORS = ("ours, first", "ours, cached", "lm-eval", "NVIDIA")
VARIANTS = ("multikey_1", "multikey_2", "multikey_3")
NEW_TOKENS = 128
SETS = {"squad": "squad/dev-v2.0.json", "hotpotqa": "hotpotqa/hotpot_dev_distractor_v1.json"}
MIB = 1024


@dataclass
class GeneratorReport:
    """What one process measured.

    Attributes:
        generator: One of GENERATORS.
        ready: Seconds from a loaded tokenizer to all documents drawn and sized, imports of the
            generator included.
        seconds: The same, and every document's text written out.
        processor: Processor seconds of that, which other programs on the machine disturb less.
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
    processor: float
    peak_mib: float
    documents: int
    fill: dict[str, tuple[float, float]]
    too_long: int
    sampled: int


def peak_kib() -> int:
    """Peak memory of this process so far, in KiB."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(who).ru_maxrss for who in whose)


def processor_seconds() -> float:
    """Processor time of this process and of those it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


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


def lm_evals(
    folder: str, lengths: Sequence[int], everything: bool, data: str | None
) -> Iterable[tuple[str, Any]]:
    """lm-eval's documents, from its own functions."""
    import random

    import nltk
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    # At import the module looks for Punkt's data and would try to download it.
    nltk.data.find = str
    from lm_eval.tasks.ruler import (
        cwe_utils,
        fwe_utils,
        niah_utils,
        prepare_niah,
        qa_utils,
        vt_utils,
    )

    from iha_eval.ruler import TASKS, load_haystack

    words = load_haystack("kjv").text.split()
    punkt = PunktSentenceTokenizer()
    prepare_niah.cached_sent_tokenize.__wrapped__.__globals__["sent_tokenize"] = punkt.tokenize
    real = niah_utils.get_haystack
    niah_utils.get_haystack = lambda type_haystack: (
        words if type_haystack == "essay" else real(type_haystack=type_haystack)
    )
    qa_utils.download_json = lambda url: json.loads(
        (Path(data or "") / SETS["squad" if "SQuAD" in url else "hotpotqa"]).read_text()
    )
    makers = {
        "vt": vt_utils.get_vt_dataset,
        "cwe": cwe_utils.get_cw_dataset,
        "fwe": fwe_utils.fwe_download,
        "qa_1": qa_utils.get_squad,
        "qa_2": qa_utils.get_hotpotqa,
    }
    random.seed(0)
    for length in lengths:
        for name in TASKS if everything else VARIANTS:
            if name.startswith("qa") and not data:
                continue
            make = makers.get(name) or getattr(niah_utils, f"niah_{name.removeprefix('niah_')}")
            yield f"{name} {length}", make(tokenizer=folder, max_seq_lengths=[length])["test"]


#: Runs a script of NVIDIA's with a sentence splitter that needs no download.
NVIDIA_SHIM = """
import runpy, sys
from unittest.mock import MagicMock
import nltk.tokenize
from nltk.tokenize.punkt import PunktSentenceTokenizer
nltk.tokenize.sent_tokenize = PunktSentenceTokenizer().tokenize
# Only wanted for tokenizers behind a network.
sys.modules["tenacity"] = MagicMock()
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rsplit("/", 1)[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def nvidias(
    scripts: Path, folder: str, lengths: Sequence[int], everything: bool, data: str | None
) -> Iterable[tuple[str, Any]]:
    """NVIDIA's documents, from its own scripts, a process a task and length as there.

    Args:
        scripts: A copy of NVIDIA/RULER's folder `scripts`, in which its data is put.
        folder: The tokenizer's.
        lengths: In tokens.
        everything: Whether to make all thirteen tasks.
        data: The folder of the question sets.
    """
    import runpy

    import yaml

    from iha_eval.ruler import TASKS, load_haystack

    synthetic = scripts / "data" / "synthetic"
    texts = {
        "PaulGrahamEssays": {"text": load_haystack("kjv").text},
        # Stored as a pointer in most checkouts, and not reached up to 128k.
        "english_words": {},
    }
    for name, content in texts.items():
        (synthetic / "json" / f"{name}.json").write_text(json.dumps(content))
    for name, file in SETS.items() if data else ():
        shutil.copy(Path(data or "") / file, synthetic / "json" / f"{name}.json")
    kinds = runpy.run_path(str(synthetic / "constants.py"))["TASKS"]
    tasks = yaml.safe_load((scripts / "synthetic.yaml").read_text())
    for length in lengths:
        for name in TASKS if everything else VARIANTS:
            if name.startswith("qa") and not data:
                continue
            task = tasks[name if name in tasks else f"niah_{name}"]
            kind = kinds[task["task"]]
            values = {
                "save_dir": scripts,
                "save_name": f"{name}-{length}",
                "tokenizer_path": folder,
                "tokenizer_type": "hf",
                "max_seq_length": length,
                "tokens_to_generate": kind["tokens_to_generate"],
                "num_samples": 500,
                "template": kind["template"] + kind["answer_prefix"],
                **task["args"],
            }
            command = [sys.executable, "-c", NVIDIA_SHIM, f"{synthetic}/{task['task']}.py"]
            command += [part for key, value in values.items() for part in (f"--{key}", str(value))]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{name} failed: {done.stderr[-2000:]}")
            rows = (scripts / f"{name}-{length}" / "validation.jsonl").read_text().splitlines()
            yield (
                f"{name} {length}",
                [
                    {
                        "index": number,
                        "input": row["input"],
                        "gen_prefix": row["answer_prefix"].removeprefix(" "),
                        "max_length": length,
                    }
                    for number, row in enumerate(map(json.loads, rows))
                ],
            )


def measure(options: argparse.Namespace) -> GeneratorReport:
    """Generate everything in this process, then encode some of it."""
    generator, folder, lengths = options.child, options.tokenizer, options.lengths
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer("warm up")
    before, start, used = peak_kib(), time.perf_counter(), processor_seconds()
    if generator == "lm-eval":
        cells = lm_evals(folder, lengths, options.all, options.data)
    elif generator == "NVIDIA":
        cells = nvidias(options.nvidia, folder, lengths, options.all, options.data)
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
    used = processor_seconds() - used
    shares: dict[str, list[float]] = {}
    for name, document in kept:
        # As a model gets it: with BOS and answer prefix.
        prompt = f"{document['input']} {document['gen_prefix']}"
        tokens = len(tokenizer(prompt)["input_ids"]) + budget_of(name)
        shares.setdefault(name, []).append(tokens / document["max_length"])
    return GeneratorReport(
        generator=generator,
        ready=ready,
        seconds=seconds,
        processor=used,
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


def make_tokenizer(folder: Path, size: int = 4096) -> None:
    """A byte-level BPE with single digits and a BOS, trained on the running text.

    Args:
        folder: Where it is written.
        size: Tokens of its vocabulary; the list of cwe does not fit into 4,096 tokens with 4,096.
    """
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
        vocab_size=size,
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


def made_up_sets(folder: Path) -> Path:
    """Question sets of the size of the published ones."""
    sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
    import question_sets

    return question_sets.write(folder, articles=35, paragraphs=34, questions=7405)


def run_child(
    generator: str, folder: str, options: argparse.Namespace, cache: str
) -> GeneratorReport:
    """Measure in a fresh process on one core."""
    lengths = [str(length) for length in options.lengths]
    command = [sys.executable, __file__, "--child", generator, "--tokenizer", folder]
    command += ["--samples", str(options.samples), "--lengths", *lengths]
    command += ["--all"] if options.all else []
    command += ["--data", options.data] if options.data else []
    command += ["--nvidia", str(options.nvidia)] if options.nvidia else []
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
    return GeneratorReport(**json.loads(done.stdout.splitlines()[-1]))


def table(reports: Sequence[GeneratorReport]) -> str:
    """The reports side by side."""
    rows = [
        ("", *(report.generator for report in reports)),
        ("seconds, drawn and sized", *(f"{report.ready:.2f}" for report in reports)),
        ("seconds, all texts written out", *(f"{report.seconds:.2f}" for report in reports)),
        ("processor seconds of that", *(f"{report.processor:.2f}" for report in reports)),
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
    parser.add_argument("--all", action="store_true", help="all of RULER's tasks")
    parser.add_argument("--data", help="with --all: the question sets' folder, or made-up")
    parser.add_argument("--nvidia", type=Path, help="a checkout of NVIDIA/RULER")
    parser.add_argument("--only", choices=GENERATORS, nargs="+", help="leave the others out")
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
            make_tokenizer(Path(folder), 16384 if options.all else 4096)
        if options.data == "made-up":
            options.data = str(made_up_sets(Path(scratch) / "sets"))
        if options.nvidia:
            scripts = Path(scratch) / "nvidia"
            shutil.copytree(options.nvidia / "scripts", scripts)
            options.nvidia = scripts
        wanted = set(options.only or GENERATORS)
        # A cache has to be filled first.
        wanted |= {"ours, first"} if "ours, cached" in wanted else set()
        wanted -= {"NVIDIA"} if options.nvidia is None else set()
        names = [name for name in GENERATORS if name in wanted]
        reports = [run_child(name, folder, options, f"{scratch}/cache") for name in names]
    print(table(reports))
    if options.json:
        options.json.write_text(json.dumps([asdict(report) for report in reports], indent=2))


if __name__ == "__main__":
    main()
