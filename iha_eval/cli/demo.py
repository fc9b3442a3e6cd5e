"""`iha-eval demo`: the main job in small, by the very commands a user types, and its report.

For: seeing on a new machine that everything works, on the two embedded checkpoints.
Not for: numbers; `lm_eval` itself takes every option there is.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iha_eval.cli import compare
from iha_eval.cli._argument_types import positive
from iha_eval.errors import UserError
from iha_eval.util.process import end_with_me, environment
from iha_eval.util.terminal import CleanConsole

if TYPE_CHECKING:
    from rich.table import Table

SUMMARY = "run ruler_mk on the two embedded checkpoints, a few documents, and compare them"

#: Folder of a run -> the checkpoint's name; None is the default.
RUNS = {"iha": None, "baseline": "embedded-baseline"}


def main(arguments: Sequence[str]) -> int:
    """Run lm-eval in two child processes, show their result files, and write a report.

    Returns:
        0, or a child's exit code if it failed.

    Raises:
        UserError: lm_eval cannot be found, or left no result file.
    """
    options = _parser().parse_args(arguments)
    files = []
    for name, pretrained in RUNS.items():
        output = options.output / name
        command = lm_eval_command(options.model, options.limit, output, pretrained)
        before = result_files(output)
        print(f"$ {shlex.join([as_typed(command[0]), *command[1:]])}", flush=True)
        started = time.monotonic()
        end_with_me()
        code = subprocess.run(command, env=environment(), check=False).returncode
        if code != 0:
            return code
        files.append(newest_result(output, before))
        _show(
            files[-1], f"{name}: ruler_mk with {options.model}, {time.monotonic() - started:.0f} s"
        )
    report = options.output / "report"
    ours = as_typed(str(Path(sys.executable).with_name("iha-eval")))
    print(f"$ {shlex.join([ours, 'compare', *map(str, files), '--out', str(report)])}")
    return compare.main([*map(str, files), "--out", str(report)])


def _show(results_file: Path, title: str) -> None:
    # Slow to import, and not needed for the help of `iha-eval`.
    console = CleanConsole()
    console.print(table(read_cells(results_file), title))
    if note := read_note(results_file):
        console.print(note, soft_wrap=True, highlight=False)
    console.print(f"everything lm-eval wrote down: {results_file}", soft_wrap=True, highlight=False)


def as_typed(program: str) -> str:
    """How a program is called from here: by its name if it is on PATH, else by its path.

    Args:
        program: Its path.
    """
    path = Path(program)
    if shutil.which(path.name) == program or not path.is_absolute():
        return path.name
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def lm_eval_command(model: str, limit: int, output: Path, pretrained: str | None) -> list[str]:
    """The command line of a child process.

    Args:
        model: `iha-vllm` or `iha-hf`.
        limit: Documents a task.
        output: Folder for the results.
        pretrained: Name of the checkpoint; None for the default.

    Raises:
        UserError: lm-eval's command is neither beside this Python nor on PATH.
    """
    folder = Path(sys.executable).parent
    program = shutil.which("lm_eval", path=folder) or shutil.which("lm_eval")
    if program is None:
        raise UserError(
            f"the command lm_eval is neither in {folder} nor on PATH: pip install 'lm-eval>=0.4.13'"
        )
    named = [] if pretrained is None else ["--model_args", f"pretrained={pretrained}"]
    options = ["--model", model, *named, "--tasks", "ruler_mk", "--limit", str(limit)]
    return [program, *options, "--output_path", str(output), "--log_samples"]


def result_files(output: Path) -> set[Path]:
    """All result files in a folder and below; none if there is no such folder."""
    return set(output.rglob("results_*.json"))


def newest_result(output: Path, before: set[Path]) -> Path:
    """The result file that the run has added.

    Args:
        output: Folder of the results.
        before: The result files that were there already.

    Raises:
        UserError: There is none; lm-eval takes a failure to write for success.
    """
    new = result_files(output) - before
    if not new:
        raise UserError(
            f"lm_eval has written no result file to {output}: name a folder you can write to"
            " with --output"
        )
    return max(new, key=lambda path: path.stat().st_mtime)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="iha-eval demo", description=SUMMARY)
    parser.add_argument("--model", default="iha-vllm", choices=["iha-vllm", "iha-hf"])
    parser.add_argument("--limit", type=positive, default=2, help="documents a task (2)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("iha-eval-demo"),
        help="folder for what lm-eval writes (./iha-eval-demo)",
    )
    return parser


@dataclass(frozen=True)
class RulerScores:
    """One leaf task's scores.

    Attributes:
        scores: Metric -> mean over the documents, 0 to 1; in the order of `iha_eval.ruler.METRICS`.
        documents: How many documents were scored.
    """

    scores: dict[str, float]
    documents: int


def read_cells(results_file: Path) -> dict[tuple[str, str], RulerScores]:
    """Read all nine cells, keyed by variant and length.

    Args:
        results_file: A `results_*.json` that lm-eval wrote.

    Raises:
        UserError: It is no such file, or a cell is missing from it.
    """
    # Slow to import, and not needed for the help of `iha-eval`.
    from iha_eval.ruler import LENGTHS, VARIANTS, length_label, task_name

    try:
        results = json.loads(results_file.read_text(encoding="utf-8"))
        return {
            (variant, length_label(length)): _cell(results, task_name(variant, length))
            for variant in VARIANTS
            for length in LENGTHS
        }
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(
            f"{results_file} is not a result of all nine ruler_mk tasks ({error}):"
            " run lm_eval with --tasks ruler_mk and --output_path"
        ) from error


def read_note(results_file: Path) -> str:
    """What the run says about its checkpoint; empty unless there is something to be said."""
    config = json.loads(results_file.read_text(encoding="utf-8")).get("config", {})
    return str(config.get("iha_eval", {}).get("checkpoint", {}).get("note", ""))


def table(cells: dict[tuple[str, str], RulerScores], title: str) -> "Table":
    """Lay the cells out, a row a variant and a column a length, both metrics in a cell."""
    from rich.table import Table

    from iha_eval.ruler import LENGTHS, METRICS, VARIANTS, length_label

    labels = [length_label(length) for length in LENGTHS]
    shown = Table(title=title, caption=f"{' / '.join(METRICS)}, mean (documents)")
    shown.add_column("task")
    for label in labels:
        shown.add_column(label, justify="right")
    for variant in VARIANTS:
        shown.add_row(variant, *(_text(cells[variant, label]) for label in labels))
    return shown


def _cell(results: dict[str, Any], task: str) -> RulerScores:
    from iha_eval.ruler import METRICS

    scores = {metric: float(results["results"][task][f"{metric},none"]) for metric in METRICS}
    return RulerScores(scores=scores, documents=int(results["n-samples"][task]["effective"]))


def _text(cell: RulerScores) -> str:
    return " / ".join(f"{score:.3f}" for score in cell.scores.values()) + f" ({cell.documents})"
