"""Writing a file in one step: whole, or as it was before.

For: every file that another process may read, or that a crash must not tear.
Not for: files that grow line by line (see `models/journal.py` and `nightly/history.py`).
"""

import os
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    r"""Put a file in another's place in one step; readers see the old one or the new one.

    Args:
        path: the file; its folder must exist.
        content: bytes, or text that is written as UTF-8 with what has no UTF-8 spelled out
            (`\udc80`) and line ends as they are.

    Raises:
        OSError: it cannot be written; what was there before still is.
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
