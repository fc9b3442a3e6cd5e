"""The state of a training run between two evaluations, in a file.

For: going on with a cell that was stopped, with the very numbers it would have had.
Not for: finished cells, which are JSON (see `cells.py`).
"""

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from iha_eval.errors import UserError
from iha_eval.util.files import write_whole


def save(path: Path, state: dict[str, Any], settings: object) -> None:
    """Put a state in the place of the one before.

    Args:
        path: The file.
        state: Tensors, numbers and texts, in dictionaries and lists.
        settings: What the run was started with; the state is of no use to another.
    """
    content = io.BytesIO()
    torch.save({"settings": repr(settings), "state": state}, content)
    write_whole(path, content.getvalue())


def load(path: Path, settings: object) -> dict[str, Any] | None:
    """The state of an earlier run, on the CPU, or None if there is none.

    Raises:
        UserError: It is of other settings, or no state at all.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
        content = None
    if not isinstance(content, dict) or not {"settings", "state"} <= content.keys():
        raise UserError(
            f"{path} is not the state of a training run: remove it to start that run again."
        )
    # Without the name of their class, which is no setting and has changed.
    made, asked = (str(text).partition("(")[2] for text in (content["settings"], repr(settings)))
    if made != asked:
        raise UserError(
            f"{path} was made with other settings than those asked for: name another folder with "
            "--out, or remove it."
        )
    return dict(content["state"])
