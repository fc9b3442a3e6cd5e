"""Files that spare work a second time: where they lie, how they are read, written and removed.

For: the sizes and hashes of drawn documents, and the downloaded haystack.
Not for: results; deleting any of the files costs time and nothing else.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs

from iha_eval.util.files import sha256, write_whole

logger = logging.getLogger(__name__)

#: Bytes that the sizes and hashes of documents may take, those of about 1,600 tasks at a length.
MOST_BYTES = 64 * 2**20

#: What this package makes in the cache folder; only that is counted, and removed.
PARTS = ("documents", "haystacks")


def cache_folder() -> Path:
    """The folder that IHA_EVAL_CACHE names, or `iha-eval` in the user's cache folder."""
    named = os.environ.get("IHA_EVAL_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("iha-eval")


def write_atomically(path: Path, text: str) -> None:
    """Write a file in one step, so that no reader sees half of it; a failure is only a warning."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        logger.warning(
            "Cannot write the cache file %s (%s); the next run does the work again. "
            "Set IHA_EVAL_CACHE to a folder that can be written.",
            path,
            error.strerror or error,
        )


def _files(*parts: str) -> list[tuple[Path, os.stat_result]]:
    """The cache's files; one that another process removes meanwhile is left out."""
    files = []
    for part in parts:
        folder = cache_folder() / part
        for path in folder.iterdir() if folder.is_dir() else ():
            with suppress(OSError):
                files.append((path, path.stat()))
    return files


def cache_size() -> tuple[int, int]:
    """Number of files in the cache, and their bytes."""
    files = _files(*PARTS)
    return len(files), sum(facts.st_size for _, facts in files)


def clear_cache() -> int:
    """Remove all files of the cache; return how many.

    Raises:
        OSError: One cannot be removed.
    """
    files = _files(*PARTS)
    for path, _ in files:
        path.unlink(missing_ok=True)
    return len(files)


def _bound(most: int) -> None:
    """Remove the sizings that were not used for the longest time, down to `most` bytes.

    Other processes are not harmed: they read a file at once, and do the work again without it.
    """
    files = sorted(_files("documents"), key=lambda entry: entry[1].st_mtime, reverse=True)
    total = 0
    for path, facts in files:
        total += facts.st_size
        if total > most:
            with suppress(OSError):
                path.unlink()


@dataclass(frozen=True)
class Sizing:
    """What was found out about the documents of one task.

    Attributes:
        sizes: Units (words, lines, paragraphs) of each document.
        tokens: Prompt tokens of each document.
        digests: SHA-256 of each document, as 64 hex digits.
        fillers: What fills the rest of each document; see `Draft.filler`.
    """

    sizes: tuple[int, ...]
    tokens: tuple[int, ...]
    digests: tuple[str, ...]
    fillers: tuple[int, ...]

    @property
    def sha256(self) -> str:
        """One hash over all documents, as 64 hex digits."""
        return hashlib.sha256("".join(self.digests).encode()).hexdigest()

    @property
    def check(self) -> str:
        """A hash over everything, which shows damage in the middle of a file."""
        return sha256(vars(self))


def _path(key: Mapping[str, object]) -> Path:
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache_folder() / "documents" / f"{name}.json"


def read_sizing(key: Mapping[str, object], count: int) -> Sizing | None:
    """The cached sizing for `key`, or None if there is none that is whole.

    Args:
        key: Everything that decides the documents; compared with the key inside the file.
        count: Number of documents it must speak of.
    """
    try:
        entry = json.loads(_path(key).read_text(encoding="utf-8"))
        # Files of earlier releases have neither fillers, which they do not need, nor a check.
        entry.setdefault("fillers", [0] * count)
        names = ("sizes", "tokens", "digests", "fillers")
        sizing = Sizing(*(tuple(entry[name]) for name in names))
        kinds = (
            all(type(n) is int for n in (*sizing.sizes, *sizing.tokens, *sizing.fillers)),
            all(filler >= 0 for filler in sizing.fillers),
            all(type(digest) is str and len(digest) == 64 for digest in sizing.digests),
            all(len(part) == count for part in vars(sizing).values()),
            entry["key"] == key,
            entry.get("check", sizing.check) == sizing.check,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not all(kinds):
        return None
    # The time of the last use, by which `_bound` chooses.
    with suppress(OSError):
        os.utime(_path(key))
    return sizing


def write_sizing(key: Mapping[str, object], sizing: Sizing) -> None:
    """Keep `sizing` for later runs with the same `key`."""
    write_atomically(_path(key), json.dumps({"key": key, "check": sizing.check, **asdict(sizing)}))
    _bound(MOST_BYTES)
