"""Rows from the Hugging Face hub, through the `datasets` library and its cache.

For: machines that reach the hub, or have reached it before; the others learn so in seconds.
Not for: what the rows must hold (rows.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from iha_eval.data.known import DataFile

PROBE_SECONDS = 5.0
"""How long the hub may take to answer at all; `datasets` itself tries for half a minute."""


def hub_rows(file: DataFile) -> list[dict[str, Any]]:
    """The rows of one split as they stand there, all fields.

    Raises:
        ConnectionError: The hub does not answer, and nothing is cached; the text says why.
    """
    reason = _unreachable(file)
    try:
        with _offline(reason is not None):
            return _load(file)
    except Exception as error:  # datasets raises whatever its many layers raise
        raise ConnectionError(reason or _first_line(error)) from error


def _load(file: DataFile) -> list[dict[str, Any]]:
    # Slow to import, and not needed where a folder is named.
    import datasets

    rows = datasets.load_dataset(file.repository, file.configuration, split=file.split)
    return [dict(row) for row in rows]


def _unreachable(file: DataFile) -> str | None:
    """Why the hub cannot be used; None if it answers."""
    from huggingface_hub import HfApi

    try:
        HfApi().dataset_info(file.repository, timeout=PROBE_SECONDS)
    except Exception as error:  # the network's errors differ from release to release
        return _first_line(error)
    return None


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
