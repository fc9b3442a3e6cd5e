"""Where a benchmark's rows come from, and what the results say about that.

For: the order of sources (task metadata, environment, hub) and the comparison with known files.
Not for: reading (rows.py, hub.py).
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iha_eval.data.hub import hub_rows
from iha_eval.data.known import DataFile
from iha_eval.data.rows import Row, check_rows, describe, read_rows, rows_sha256
from iha_eval.errors import UserError

logger = logging.getLogger(__name__)

VARIABLE = "IHA_EVAL_DATA"
"""The environment variable that names the data folder."""


class MissingDataError(UserError):
    """The data is nowhere to be found, as opposed to broken."""


@dataclass(frozen=True)
class Loaded:
    """A benchmark's rows and their provenance.

    Attributes:
        rows: At least one.
        source: Path of the file, or its place on the hub.
        sha256: `rows_sha256` of the rows.
        known: Whether they are the published ones, in their order.
    """

    rows: list[Row]
    source: str
    sha256: str
    known: bool

    @property
    def provenance(self) -> dict[str, Any]:
        """For the results file."""
        return {
            "source": self.source,
            "rows": len(self.rows),
            "sha256": self.sha256,
            "known": self.known,
        }


def load_rows(file: DataFile, folder: Path | None) -> Loaded:
    """Load one file; one that differs from the published one is used, with a warning.

    Args:
        file: Which.
        folder: The data folder (see `named_folder`); None for the hub.

    Raises:
        MissingDataError: It is not there; the text says what to put where.
        UserError: It is broken.
    """
    if folder is None:
        rows, source = _from_hub(file), f"hub: {file.hub_name}"
    else:
        rows, source = _from_folder(file, folder), str(folder / file.name)
    sha256 = rows_sha256(rows)
    loaded = Loaded(rows, source, sha256, known=sha256 == file.sha256)
    if not loaded.known:
        logger.warning("%s", difference(file, loaded))
    return loaded


def named_folder(metadata: Mapping[str, Any] | None = None) -> Path | None:
    """The folder in task metadata `data`, else that in IHA_EVAL_DATA, else None.

    Args:
        metadata: lm-eval's task metadata.

    Raises:
        UserError: What is named is no folder.
    """
    places = {
        'metadata "data"': (metadata or {}).get("data"),
        VARIABLE: os.environ.get(VARIABLE) or None,
    }
    for where, value in places.items():
        if value is not None:
            return as_folder(value, where)
    return None


def as_folder(value: object, where: str) -> Path:
    """A folder that the user named.

    Args:
        value: The name.
        where: Where it was given, for the message.

    Raises:
        UserError: It is not the name of a folder that exists.
    """
    # Path("") would be the current folder.
    path = Path(value).expanduser() if value and isinstance(value, str | Path) else None
    if path is None or not path.is_dir():
        raise UserError(
            f"{where} is {str(value)!r}, which is not a folder: name the one that holds "
            "gsm8k/test.jsonl and math500/test.jsonl."
        )
    return path


def difference(file: DataFile, loaded: Loaded) -> str:
    """How loaded rows differ from the published ones, as a sentence."""
    found, expected = (
        f"{rows} rows, SHA-256 {sha256[:12]}"
        for rows, sha256 in ((len(loaded.rows), loaded.sha256), (file.rows, file.sha256))
    )
    return (
        f"{loaded.source} is not the published {file.title} ({found}; published: {expected}): its "
        "scores cannot be compared with published ones."
    )


def _from_folder(file: DataFile, folder: Path) -> list[Row]:
    path = folder / file.name
    if not path.exists():
        raise MissingDataError(
            f"{path} does not exist: put the {file.title} there, {describe(file)} (on the hub: "
            f"{file.hub_name}), or name another folder with {VARIABLE} or "
            '--metadata \'{"data": "FOLDER"}\'.'
        )
    return read_rows(file, path)


def _from_hub(file: DataFile) -> list[Row]:
    try:
        rows = hub_rows(file)
    except ConnectionError as error:
        raise MissingDataError(
            f"The {file.title} cannot be had from the hub ({error}): put it into a folder as "
            f"{file.name}, {describe(file)}, and name that folder with {VARIABLE} or "
            '--metadata \'{"data": "FOLDER"}\'.'
        ) from error
    return check_rows(file, rows, file.hub_name)
