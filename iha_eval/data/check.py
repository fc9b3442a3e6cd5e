"""What `iha-eval data check` finds out about each file.

For: one `FileState` a file, whatever state it is in. Not for: showing it (iha_eval.cli.data).
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iha_eval.data import sources
from iha_eval.data.known import FILES, DataFile
from iha_eval.errors import UserError

MATCHES, DIFFERS, MISSING, BROKEN = "matches", "differs", "missing", "broken"


@dataclass(frozen=True)
class FileState:
    """The state of one file.

    Attributes:
        file: Its path below the data folder.
        title: What it should be.
        needed: Whether tasks cannot do without it.
        state: `matches` (the published file), `differs`, `missing` or `broken`.
        expected_rows: Rows of the published file.
        expected_sha256: Hash of the published file.
        rows: Rows found; None if missing or broken.
        sha256: Hash found, likewise.
        source: Where it was found, likewise.
        note: What is wrong and how to mend it; empty if it matches.
    """

    file: str
    title: str
    needed: bool
    state: str
    expected_rows: int
    expected_sha256: str
    rows: int | None = None
    sha256: str | None = None
    source: str | None = None
    note: str = ""


def check_all(folder: Path | None) -> list[FileState]:
    """Look at every file.

    Args:
        folder: The data folder; None for the hub.
    """
    # The finding says what a warning would say.
    sources.logger.addFilter(_nothing)
    try:
        return [_check(file, folder) for file in FILES]
    finally:
        sources.logger.removeFilter(_nothing)


def complete(findings: list[FileState]) -> bool:
    """Whether every needed file is the published one."""
    return all(finding.state == MATCHES for finding in findings if finding.needed)


def _check(file: DataFile, folder: Path | None) -> FileState:
    def finding(state: str, **facts: Any) -> FileState:
        return FileState(file.name, file.title, file.needed, state, file.rows, file.sha256, **facts)

    try:
        loaded = sources.load_rows(file, folder)
    except sources.MissingDataError as error:
        return finding(MISSING, note=str(error))
    except UserError as error:
        return finding(BROKEN, note=str(error))
    note = "" if loaded.known else sources.difference(file, loaded)
    return finding(
        MATCHES if loaded.known else DIFFERS,
        rows=len(loaded.rows),
        sha256=loaded.sha256,
        source=loaded.source,
        note=note,
    )


def _nothing(record: logging.LogRecord) -> bool:
    del record
    return False
