"""A trained run as a Hugging Face folder: weights in bfloat16, tokenizer, model card.

For: `python -m recipes.needle.export RUN --out DIR`; what comes out is served like any checkpoint.
Not for: going on with training; that needs the run's own folder.
"""

import argparse
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from iha_eval.errors import UserError
from iha_eval.util.files import write_whole
from model_adapters import checkpoint
from recipes.needle.curve import draw_curves
from recipes.needle.models import build, set_window
from recipes.needle.presets import Preset
from recipes.needle.run import STATE, TrainingRun, read_log, read_settings
from recipes.needle.tokenizer import make_tokenizer

NAMES = {
    "iha": "Interleaved Head Attention, hybrid 4:1, P = 2",
    "baseline": "full attention",
}


def export(folder: Path, out: Path, hardware: str) -> checkpoint.Checkpoint:
    """Write the checkpoint of a run.

    Args:
        folder: The run's.
        out: Where to, a new folder or an older export.
        hardware: What it was trained on, in words, for the card.

    Returns:
        What was written, read back.

    Raises:
        UserError: There is no run, or it has saved no state yet.
    """
    settings = read_settings(folder)
    run = TrainingRun(folder, settings["model"], settings["preset"], settings["seed"])
    run.open()
    if not (folder / STATE).exists():
        raise UserError(f"{folder} has saved no state yet: let the run make some steps first.")
    state = torch.load(folder / STATE, map_location="cpu", weights_only=True)
    write_weights(run, state, out)
    draw_curves({run.kind: folder}, out / "curve.svg")
    read = checkpoint.read(out)
    write_whole(out / "README.md", card(run, read_log(folder), read, hardware))
    return read


def write_weights(run: TrainingRun, state: dict[str, Any], out: Path) -> None:
    """Weights in bfloat16, configuration and tokenizer of a run's state."""
    tokenizer = make_tokenizer()
    model = build(run.kind, run.preset, tokenizer, run.seed)
    model.load_state_dict(state["model"])
    # A run that is not at its end has learned with the window of its stage.
    set_window(model, run.preset.stage(state["step"] - 1).length)
    model.to(torch.bfloat16)  # type: ignore[arg-type]
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def card(
    run: TrainingRun, log: list[dict[str, Any]], read: checkpoint.Checkpoint, hardware: str
) -> str:
    """The model card, filled in."""
    template = (resources.files("recipes.needle") / "MODEL_CARD.md").read_text(encoding="utf-8")
    last, preset = log[-1], run.preset
    evaluated = [entry["exact"] for entry in log if "exact" in entry]
    rows = [
        f"| {name.partition('@')[0]} | {name.partition('@')[2]} | {100 * share:.0f} |"
        for name, share in (evaluated[-1] if evaluated else {}).items()
    ]
    return template.format(
        name=NAMES[run.kind],
        kind=run.kind,
        parameters=f"{read.num_parameters:,}",
        fingerprint=read.fingerprint,
        shape=_shape(preset),
        preset=run.preset_name,
        seed=run.seed,
        steps=f"{last['step']:,} of {preset.steps:,}",
        tokens=f"{sum(entry['tokens'] for entry in log):,}",
        hours=f"{last['seconds'] / 3600:.1f}",
        hardware=hardware,
        stages="\n".join(
            f"| {stage.length} | {stage.steps} | {stage.essays} | {stage.uuids} | {stage.shorter} |"
            for stage in preset.stages
        ),
        results="\n".join(rows),
    )


def _shape(preset: Preset) -> str:
    return (
        f"{preset.layers} layers, width {preset.width}, {preset.heads} heads of "
        f"{preset.head_width}, feed-forward {preset.hidden}, rotary base {preset.theta:g}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Export; 0 on success."""
    parser = argparse.ArgumentParser(prog="python -m recipes.needle.export")
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hardware", default="not stated", help="for the model card")
    options = parser.parse_args(arguments)
    try:
        read = export(options.run, options.out, options.hardware)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    size = sum(file.stat().st_size for file in options.out.iterdir())
    sys.stdout.write(f"{options.out}: {read.num_parameters:,} parameters, {size:,} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
