"""The files of a run: what it is, how it went, and the state to go on from.

For: a folder that survives a crash at any moment: `run.json` (settings), `log.jsonl` (one line per
evaluation or so), `state.pt` (weights and optimizers), replaced in one step.
Not for: checkpoints for use (see `export.py`).
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from iha_eval.errors import UserError
from iha_eval.util.files import write_whole
from recipes.needle.presets import PRESETS, Preset

SETTINGS, LOG, STATE = "run.json", "log.jsonl", "state.pt"


@dataclass(frozen=True)
class TrainingRun:
    """One model's training.

    Attributes:
        folder: Where its files are.
        kind: `iha` or `baseline`.
        preset_name: One of `PRESETS`.
        seed: Of weights and data.
        every: Steps from one saved state, and line of the log, to the next.
        evaluate_every: Saved states from one evaluation to the next.
        save_every: Steps from one checkpoint for use to the next; 0 for none.
    """

    folder: Path
    kind: str
    preset_name: str
    seed: int
    every: int = 50
    evaluate_every: int = 4
    save_every: int = 0

    @property
    def preset(self) -> Preset:
        """The figures."""
        return PRESETS[self.preset_name]

    def _settings(self) -> dict[str, Any]:
        settings = {
            "model": self.kind,
            "preset": self.preset_name,
            "seed": self.seed,
            "figures": self.preset.described(),
        }
        return json.loads(json.dumps(settings))  # type: ignore[no-any-return]

    def open(self) -> None:
        """Make the folder, or see that it holds this very run.

        Raises:
            UserError: It holds another one, or cannot be written.
        """
        file = self.folder / SETTINGS
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not file.exists():
                write_whole(file, json.dumps(self._settings(), indent=1) + "\n")
        except OSError as error:
            raise UserError(
                f"{self.folder} cannot be written ({error.strerror}): name another folder with "
                "--out."
            ) from error
        if read_settings(self.folder) != self._settings():
            raise UserError(
                f"{self.folder} holds a run with other settings (see {SETTINGS} there): repeat "
                "those to go on with it, or name another folder with --out."
            )

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The last saved state, or None; lines of the log after it are dropped."""
        if not (self.folder / STATE).exists():
            write_whole(self.folder / LOG, "")
            return None
        state: dict[str, Any] = torch.load(
            self.folder / STATE, map_location=device, weights_only=True
        )
        kept = [line for line in read_log(self.folder) if line["step"] <= state["step"]]
        write_whole(self.folder / LOG, "".join(json.dumps(line) + "\n" for line in kept))
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_whole(self.folder / STATE, buffer.getvalue())

    def log(self, entry: dict[str, Any]) -> None:
        """Add a line to the log."""
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of a run's folder.

    Raises:
        UserError: There is no run.
    """
    try:
        settings: dict[str, Any] = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder} holds no run ({SETTINGS} is missing or damaged): name the folder that was "
            "given as --out."
        ) from error
    return settings


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of a run's log."""
    file = folder / LOG
    lines = file.read_text(encoding="utf-8").split("\n") if file.exists() else []
    # What follows the last line end was cut off by a crash.
    return [json.loads(line) for line in lines[:-1]]
