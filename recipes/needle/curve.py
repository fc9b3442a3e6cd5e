"""The course of one run or of several, as a figure.

For: `python -m recipes.needle.curve FIGURE.svg iha=RUN baseline=RUN`.
Not for: numbers; they are in each run's `log.jsonl`.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt

from iha_eval.errors import UserError
from recipes.needle.run import read_log, read_settings


def draw_curves(runs: dict[str, Path], figure: Path) -> None:
    """Loss and exact answers over tokens, in two panels.

    Args:
        runs: Folder of each run by the name it has in the figure.
        figure: SVG file to write.

    Raises:
        UserError: A folder holds no run, or the figure cannot be written.
    """
    with plt.rc_context({"svg.hashsalt": "needle", "svg.fonttype": "none"}):
        canvas, (above, below) = plt.subplots(2, 1, figsize=(8, 7), sharex=True)
        for number, (name, folder) in enumerate(runs.items()):
            read_settings(folder)
            color = f"C{number}"
            tokens, log = _tokens(read_log(folder))
            above.plot(tokens, [entry["loss"] for entry in log], color=color, label=name)
            _draw_exact(below, tokens, log, color, name)
        above.set(ylabel="loss per learned token")
        below.set(ylabel="exact answers, %", xlabel="million tokens", ylim=(-2, 102))
        for panel in (above, below):
            panel.grid(alpha=0.3)
            panel.legend(fontsize=7)
        try:
            canvas.savefig(figure, format="svg", metadata={"Date": None}, bbox_inches="tight")
        except OSError as error:
            raise UserError(
                f"{figure} cannot be written ({error.strerror}): name another file."
            ) from error
        finally:
            plt.close(canvas)


def _tokens(log: list[dict[str, Any]]) -> tuple[list[float], list[dict[str, Any]]]:
    total, tokens = 0, []
    for entry in log:
        total += entry["tokens"]
        tokens.append(total / 1e6)
    return tokens, log


def _draw_exact(
    panel: Any, tokens: list[float], log: list[dict[str, Any]], color: str, name: str
) -> None:
    points = [(x, entry["exact"]) for x, entry in zip(tokens, log, strict=True) if "exact" in entry]
    cells = list(points[-1][1]) if points else []
    for cell, style in zip(cells, ("-", "--", "-.", ":") * 4, strict=False):
        shown = [(x, 100 * exact[cell]) for x, exact in points if cell in exact]
        panel.plot(*zip(*shown, strict=True), style, color=color, label=f"{name} {cell}")


def _named(text: str) -> tuple[str, Path]:
    """A run's name in the figure, and its folder.

    Raises:
        ArgumentTypeError: One of them is missing.
    """
    name, _, folder = text.partition("=")
    if not (name and folder):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER, such as iha=runs/iha")
    return name, Path(folder)


def main(arguments: list[str] | None = None) -> int:
    """Draw; 0 on success."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.needle.curve", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("figure", type=Path, help="SVG file to write")
    runs = "folder of a run, behind the name that it has in the figure"
    parser.add_argument("runs", type=_named, nargs="+", metavar="NAME=FOLDER", help=runs)
    options = parser.parse_args(arguments)
    try:
        draw_curves(dict(options.runs), options.figure)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
