"""Where a benchmark's rows come from, and what the results say about that.

For: the order of sources (task metadata, environment, hub) and the comparison with known files. The
hub is asked through the `datasets` library and its cache; machines that do not reach it, and have
not reached it before, learn so in seconds.
Not for: what rows must hold (rows.py).
"""

import hashlib
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iha_eval.data.known import DataFile
from iha_eval.data.rows import (
    Row,
    check_rows,
    describe,
    read_rows,
    rows_sha256,
    squad_of_questions,
)
from iha_eval.errors import UserError

logger = logging.getLogger(__name__)

PROBE_SECONDS = 5.0
"""How long the hub may take to answer at all; `datasets` itself tries for half a minute."""

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
        sha256: `rows_sha256` of the rows, or the hash of a file that is one JSON document.
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
        rows, source, path = _from_hub(file)
    else:
        path = folder / file.name
        rows, source = _from_folder(file, path), str(path)
    if file.whole and path is not None:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        known = sha256 == file.sha256
    else:
        sha256 = rows_sha256(rows)
        # The hash of rows that the hub lays out in its own way is not on record; their number is.
        known = len(rows) == file.rows if file.whole else sha256 == file.sha256
    loaded = Loaded(rows, source, sha256, known)
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
            "gsm8k/test.jsonl, math500/test.jsonl and the likes."
        )
    return path


def difference(file: DataFile, loaded: Loaded) -> str:
    """How loaded rows differ from the published ones, as a sentence."""
    used, published = (
        f"{rows} rows, SHA-256 {sha256[:12]}"
        for rows, sha256 in ((len(loaded.rows), loaded.sha256), (file.rows, file.sha256))
    )
    return (
        f"{loaded.source} is not the published {file.title} ({used}; published: {published}): its "
        "scores cannot be compared with published ones."
    )


def _from_folder(file: DataFile, path: Path) -> list[Row]:
    if not path.exists():
        raise MissingDataError(
            f"{path} does not exist: put the {file.title} there, {describe(file)} (on the hub: "
            f"{file.hub_name}), or name another folder with {VARIABLE} or "
            '--metadata \'{"data": "FOLDER"}\'.'
        )
    return read_rows(file, path)


def _from_hub(file: DataFile) -> tuple[list[Row], str, Path | None]:
    """Rows, their source, and the file that they were read from if it is the published one's."""
    source = f"hub: {file.hub_name}"
    try:
        if file.hub_file is not None:
            path = _hub_file(file, *file.hub_file)
            return read_rows(file, path), f"{source}, {file.hub_file[0]}", path
        rows = hub_rows(file.repository, file.configuration, file.split)
    except ConnectionError as error:
        raise MissingDataError(
            f"The {file.title} cannot be had from the hub ({error}): put it into a folder as "
            f"{file.name}, {describe(file)}, and name that folder with {VARIABLE} or "
            '--metadata \'{"data": "FOLDER"}\'.'
        ) from error
    if file.whole == "squad":
        rows = squad_of_questions(rows)
    return check_rows(file, rows, file.hub_name), source, None


def _hub_file(file: DataFile, name: str, revision: str) -> Path:
    """A file of the hub, from its cache or downloaded.

    Raises:
        ConnectionError: The hub does not answer, and the file is not cached; the text says why.
    """
    from huggingface_hub import hf_hub_download

    reason = unreachable(file.repository)
    try:
        return Path(
            hf_hub_download(
                file.repository,
                name,
                repo_type="dataset",
                revision=revision,
                local_files_only=reason is not None,
            )
        )
    except Exception as error:  # the hub's client raises from a dozen unrelated classes
        raise ConnectionError(reason or _first_line(error)) from error


def hub_rows(repository: str, configuration: str | None, split: str) -> list[dict[str, Any]]:
    """The rows of one split as they stand there, all fields.

    Raises:
        ConnectionError: The hub does not answer, and nothing is cached; the text says why.
    """
    # Slow to import, and not needed where a folder is named.
    import datasets

    reason = unreachable(repository)
    try:
        with _offline(reason is not None):
            rows = datasets.load_dataset(repository, configuration, split=split)
            return [dict(row) for row in rows]
    except Exception as error:  # datasets raises whatever its many layers raise
        raise ConnectionError(reason or _first_line(error)) from error


def unreachable(repository: str) -> str | None:
    """Why the hub cannot be used for a data set; None if it answers within PROBE_SECONDS."""
    from huggingface_hub import HfApi

    reasons: list[str | None] = []

    def probe() -> None:
        try:
            HfApi().dataset_info(repository, timeout=PROBE_SECONDS)
        except Exception as error:  # the network's errors differ from release to release
            reasons.append(_first_line(error))
        else:
            reasons.append(None)

    # The timeout does not hold for a name server that hangs.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return reasons[0] if reasons else f"no answer within {PROBE_SECONDS:g} seconds"


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """Keep `datasets` to its cache for a while, as HF_HUB_OFFLINE does for a whole process."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = wanted or before
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
