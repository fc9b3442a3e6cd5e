"""What a subcommand of `iha-eval evidence` has found, and how it is kept.

For: the one form in which all of them hand over their table, sentences, data and figure.
Not for: finding anything.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iha_eval import __version__
from iha_eval.compare.render.figures import Panel
from iha_eval.errors import UserError
from iha_eval.evidence.figures import sheet
from iha_eval.util.files import write_whole
from iha_eval.util.installation import installed_version


@dataclass(frozen=True)
class Evidence:
    """One claim, checked.

    Attributes:
        name: Of the subcommand, and of the files.
        title: Above the table.
        columns: Heads of the table.
        rows: Its cells, as shown.
        sentences: What follows, one fact each.
        data: All numbers, for the JSON file.
        panels: Drawings of the figure.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    sentences: Sequence[str]
    data: dict[str, Any]
    panels: Sequence[Panel]


def prepare(folder: Path) -> Path:
    """Make the folder for results, before any of them is computed.

    Raises:
        UserError: There is something else of that name, or it may not be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--out is {str(folder)!r}, and no folder can be made there ({error.strerror}): name "
            "another."
        ) from None
    return folder


def write(evidence: Evidence, command: str, folder: Path) -> list[Path]:
    """Write NAME.json and NAME.svg.

    Args:
        evidence: What was found.
        command: What makes the same files again.
        folder: An existing one.

    Returns:
        The two files.
    """
    head = {
        "evidence": evidence.name,
        "command": command,
        "versions": {"iha_eval": __version__, "torch": installed_version("torch")},
        "findings": list(evidence.sentences),
    }
    content = json.dumps(head | evidence.data, indent=1) + "\n"
    files = [folder / f"{evidence.name}.{ending}" for ending in ("json", "svg")]
    write_whole(files[0], content)
    write_whole(files[1], sheet(evidence.title, evidence.panels))
    return files
