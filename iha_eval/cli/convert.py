"""`iha-eval convert`: a plain model to IHA, an IHA model to plain, a foreign state dict to ours.

For: the command line. Not for: the work (`model_adapters.convert`), nor for reading map files
(`_convert_map.py`).
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from iha_eval.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from model_adapters.convert import Outcome, output
from typing import TYPE_CHECKING

SUMMARY = "make an IHA checkpoint from a plain model or a foreign state dict, or a plain one again"

_DESCRIPTION = """\
iha-eval convert BASE --out DIR --pseudo-heads P [--schedule 4:1|all|LIST]
                 [--window W | --train-length N] [--init exact|paper|noisy] [--noise X] [--seed S]
iha-eval convert CHECKPOINT --to-plain --out DIR
iha-eval convert --from-state-dict FILE --map MAP.yaml [--config CONFIG]
                 [--orientation source-destination|destination-source] --out DIR"""

_UPCYCLE = ("pseudo_heads", "schedule", "window", "train_length", "init", "noise", "seed", "dtype")
_FOREIGN = ("map", "config", "orientation")
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_LAYER = re.compile(r"(?<=\.)\d+(?=\.)")


def main(arguments: Sequence[str]) -> int:
    """Convert, and say what was made.

    Returns:
        0.

    Raises:
        UserError: Options do not go together, or the map cannot be read.
        AdapterError: What is asked for cannot be done; nothing is left behind.
        SystemExit: SIGTERM came; nothing is left behind either.
    """
    options = _parser().parse_args(arguments)
    _check_mode(options)
    _check_gguf(options.base)
    # Slow to import, and not needed for the help of `iha-eval`.
    from iha_eval.util.terminal import CleanConsole

    work = _work(options)
    with _ended_by_sigterm(), shown(CleanConsole(stderr=True)) as progress:
        outcome = work(progress)
    _show(outcome, CleanConsole())
    return 0


def _check_mode(options: argparse.Namespace) -> None:
    """Refuse options that mean nothing together, before anything slow is imported."""
    foreign: tuple[str, ...] = _UPCYCLE
    if options.from_state_dict:
        mode = "--from-state-dict"
        if options.base or options.to_plain:
            raise UserError(
                f"--from-state-dict {options.from_state_dict} is given beside "
                f"{options.base or '--to-plain'}: a state dict is converted alone."
            )
        if options.map is None:
            raise UserError(
                "--from-state-dict needs --map MAP.yaml, which says what becomes what: see "
                "examples/map.yaml."
            )
    else:
        mode = "--to-plain" if options.to_plain else "a plain base"
        foreign = (*_UPCYCLE, *_FOREIGN) if options.to_plain else _FOREIGN
        if not options.base:
            raise UserError("nothing is named to convert: give BASE, or --from-state-dict FILE.")
        if not options.to_plain and options.pseudo_heads is None:
            raise UserError("--pseudo-heads is missing: give P, the pseudo-heads per head.")
    for name in foreign:
        if getattr(options, name) is not None:
            raise UserError(f"--{name.replace('_', '-')} does not go with {mode}: leave it out.")


def _check_gguf(base: str | None) -> None:
    """Refuse a GGUF file that nothing installed here reads, before anything slow is imported."""
    absent = [name for name in ("gguf", "accelerate") if importlib.util.find_spec(name) is None]
    if base and base.endswith(".gguf") and absent:
        raise UserError(
            f"{base} needs {' and '.join(absent)} to be read: pip install 'iha-eval[gguf]'"
        )


def _work(options: argparse.Namespace) -> "Callable[[output.Progress], Outcome]":
    """The conversion asked for, ready to run."""
    from model_adapters import convert

    if options.from_state_dict:
        from iha_eval.cli._convert_map import read_map

        plan, named = read_map(options.map)
        plan = dataclasses.replace(plan, orientation=options.orientation)
        shape = options.config or named
        if shape is None:
            raise UserError(
                f"{options.map} names no config: write config: PATH in it, or give --config PATH, "
                "the config.json of the shape."
            )
        return lambda progress: convert.from_state_dict(
            options.from_state_dict, shape, options.out, plan, progress=progress
        )
    base = _located(options.base)
    if options.to_plain:
        return lambda progress: convert.to_plain(base, options.out, progress=progress)
    given = {name: getattr(options, name) for name in _UPCYCLE}
    stated = {name: value for name, value in given.items() if value is not None}
    dtype = stated.pop("dtype", None)
    if dtype is not None and base.suffix != ".gguf":
        raise UserError(f"--dtype {dtype} is for GGUF files: {options.base} keeps its own type.")
    return lambda progress: convert.upcycle(
        base,
        options.out,
        convert.Recipe(**stated),
        dtype=dtype or "bfloat16",
        progress=progress,
    )


def _located(base: str) -> Path:
    """The folder or file to convert; a hub name is fetched, as lm_eval does."""
    from iha_eval.models.source import locate
    from model_adapters import default_checkpoint

    if base in default_checkpoint.DESCRIPTIONS:
        return default_checkpoint.folder(base)
    file = Path(base).expanduser()
    # A path that is not there gets its own sentence; the hub has names of one or two parts.
    if file.suffix == ".gguf" or file.exists() or not _HUB_NAME.fullmatch(base):
        return file
    return locate(base)


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """What ends a job by SIGTERM ends it as Ctrl-C does: whatever is half made is removed."""

    def end(number: int, _: object) -> NoReturn:
        # A second one must not break off the removal.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show(outcome: "Outcome", console: "Console") -> None:
    from rich.markup import escape
    from rich.table import Table

    made, source = outcome.made, outcome.source
    if outcome.moves:
        console.print(_moves_table(outcome.moves))
    shown = Table(title=escape(f"{made.path}"), show_header=False)
    rows = dict(outcome.facts)
    rows["parameters"] = f"{made.num_parameters:,}"
    if source is not None:
        rows["parameters"] += f" ({made.num_parameters - source.num_parameters:+,})"
        rows["made from"] = source.fingerprint[:12]
    rows |= {"type": made.weights_dtype, "fingerprint": made.fingerprint[:12]}
    rows["copied"] = ", ".join(outcome.copied) or "-"
    if outcome.left:
        rows["not copied"] = ", ".join(outcome.left)
    for name, value in rows.items():
        shown.add_row(name, escape(value))
    console.print(shown)
    for note in outcome.notes:
        console.print(note, soft_wrap=True, highlight=False, markup=False)


def _moves_table(moves: Sequence[tuple[str, str, str]]) -> "Table":
    """What went where, layers that are alike in one row."""
    from rich.markup import escape
    from rich.table import Table

    counted = Counter(
        (_LAYER.sub("{layer}", source), _LAYER.sub("{layer}", target), done)
        for source, target, done in moves
    )
    shown = Table(title="what went where", caption="each tensor: iha_conversion.json")
    for name in ("state dict", "checkpoint", "how", "tensors"):
        shown.add_column(name, justify="right" if name == "tensors" else "left", overflow="fold")
    for (source, target, done), count in counted.items():
        shown.add_row(escape(source), escape(target), escape(done), str(count))
    return shown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iha-eval convert",
        usage=_DESCRIPTION,
        description=SUMMARY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "base",
        nargs="?",
        metavar="BASE",
        help="a Llama folder, hub name or GGUF file, or embedded-baseline",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument(
        "--to-plain",
        "--to-llama",
        dest="to_plain",
        action="store_true",
        help="from IHA back to a plain model of its base",
    )
    upcycle = parser.add_argument_group("from a plain model")
    upcycle.add_argument("--pseudo-heads", type=int, metavar="P", help="pseudo-heads per head")
    upcycle.add_argument(
        "--schedule",
        help="4:1 (four sliding IHA layers, then a plain one), all (IHA everywhere, the default), "
        "or kinds such as 'iha_sliding*4,full', repeated to the last layer",
    )
    upcycle.add_argument("--window", type=int, metavar="W", help="window in tokens")
    upcycle.add_argument(
        "--train-length",
        type=int,
        metavar="N",
        help="sets the window to N / (2 P^2) (N: the base's longest context)",
    )
    upcycle.add_argument(
        "--init",
        help="exact (keeps the function; the default), paper (virtual positions, the mean of the "
        "pseudo-heads) or noisy (exact and noise)",
    )
    upcycle.add_argument(
        "--noise", type=float, metavar="X", help="standard deviation (0.02 with --init noisy)"
    )
    upcycle.add_argument("--seed", type=int, metavar="S", help="of the noise (0)")
    upcycle.add_argument(
        "--dtype", metavar="T", help="type of a GGUF file's weights once unpacked (bfloat16)"
    )
    foreign = parser.add_argument_group("from a foreign state dict")
    foreign.add_argument("--from-state-dict", type=Path, metavar="FILE", help=".safetensors or .pt")
    foreign.add_argument(
        "--map", type=Path, metavar="MAP.yaml", help="what becomes what (examples/map.yaml)"
    )
    foreign.add_argument(
        "--config",
        type=Path,
        metavar="CONFIG",
        help="config.json of the shape, or its folder; if not given, what config: in the map names",
    )
    foreign.add_argument(
        "--orientation",
        choices=("source-destination", "destination-source"),
        help="which head comes first in alphas whose axes the map does not give",
    )
    return parser


@contextlib.contextmanager
def shown(console: "Console") -> "Iterator[output.Progress]":
    """Draw a bar while the block runs, and take it away afterwards.

    Args:
        console: Where to.

    Yields:
        What a conversion is to tell its progress.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        yield teller(bar)


def teller(bar: "Progress") -> "output.Progress":
    """What tells a bar: one line for each phase, in place of the last one.

    A line without a total pulses, so that a phase of one long step is seen to be alive.

    Args:
        bar: The bar.
    """
    from rich.filesize import decimal

    def tell(phase: str, count: int, total: int) -> None:
        name = phase.capitalize()
        if not count:
            for task in bar.task_ids:
                bar.remove_task(task)
            bar.add_task(f"{name} {decimal(total)}", total=None)
            return
        task = bar.task_ids[-1]
        bar.update(task, total=total, advance=count)
        done = decimal(int(bar.tasks[-1].completed))
        bar.update(task, description=f"{name} {done} of {decimal(total)}")

    return tell
