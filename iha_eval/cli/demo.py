"""`iha-eval demo`: the main job in small, by the very command a user types, and its nine scores.

For: seeing on a new machine that everything works, on the embedded checkpoint.
Not for: numbers; `lm_eval` itself takes every option there is.
"""

import argparse
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from iha_eval.errors import UserError

SUMMARY = "run ruler_mk on the embedded checkpoint with a few documents and show the nine scores"


def main(arguments: Sequence[str]) -> int:
    """Run lm-eval in a child process, then show its result file.

    Returns:
        0, or the child's exit code if it failed.

    Raises:
        UserError: lm_eval cannot be found, or left no result file.
    """
    # Slow to import, and not needed for the help of `iha-eval`.
    from iha_eval.cli._nine_cells import read_cells, read_note, table

    options = _parser().parse_args(arguments)
    command = lm_eval_command(options.model, options.limit, options.output)
    print(f"$ {shlex.join(['lm_eval', *command[1:]])}", flush=True)
    before = result_files(options.output)
    started = time.monotonic()
    code = subprocess.run(command, check=False).returncode
    if code != 0:
        return code
    seconds = time.monotonic() - started
    results_file = newest_result(options.output, before)
    title = f"ruler_mk with {options.model}, {seconds:.0f} s"
    console = Console()
    console.print(table(read_cells(results_file), title))
    if note := read_note(results_file):
        console.print(note, soft_wrap=True, highlight=False)
    console.print(f"everything lm-eval wrote down: {results_file}", soft_wrap=True, highlight=False)
    return 0


def lm_eval_command(model: str, limit: int, output: Path) -> list[str]:
    """The command line of the child process.

    Args:
        model: `iha-vllm` or `iha-hf`.
        limit: Documents a task.
        output: Folder for the results.

    Raises:
        UserError: lm-eval's command is neither beside this Python nor on PATH.
    """
    folder = Path(sys.executable).parent
    program = shutil.which("lm_eval", path=folder) or shutil.which("lm_eval")
    if program is None:
        raise UserError(
            f"the command lm_eval is neither in {folder} nor on PATH: pip install 'lm-eval>=0.4.13'"
        )
    options = ["--model", model, "--tasks", "ruler_mk", "--limit", str(limit)]
    return [program, *options, "--output_path", str(output)]


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
    parser.add_argument("--limit", type=_positive, default=2, help="documents a task (2)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("iha-eval-demo"),
        help="folder for what lm-eval writes (./iha-eval-demo)",
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number
