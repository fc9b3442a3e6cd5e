"""Files that are written in one step, and values as one line of JSON and its hash.

For: every file that another process may read, or that a crash must not tear; telling whether two
settings, documents or plans are the same, today and in another process.
Not for: files that grow line by line (see `models/journal.py` and `nightly/history.py`).
"""

import hashlib
import json
import os
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    r"""Put a file in another's place in one step; readers see the old one or the new one.

    Args:
        path: The file; its folder must exist.
        content: Bytes, or text that is written as UTF-8 with what has no UTF-8 spelled out
            (`\udc80`) and line ends as they are.

    Raises:
        OSError: It cannot be written; what was there before still is.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def compact(value: object) -> str:
    """JSON in one line, keys sorted; what JSON has no form for, as `str` gives it."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def sha256(value: object) -> str:
    """Hash of a value by its JSON, as 64 hex digits."""
    return hashlib.sha256(compact(value).encode("utf-8", "surrogatepass")).hexdigest()
