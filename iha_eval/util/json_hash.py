"""JSON in one canonical line, and the hash of a value by it.

For: telling whether two settings, documents or plans are the same, today and in another process.
Not for: hashes that are published beside data (`data/rows.py`, `ruler/cache.py`), which fix a form
of their own.
"""

import hashlib
import json


def compact(value: object) -> str:
    """JSON in one line, keys sorted; what JSON has no form for, as `str` gives it."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def sha256(value: object) -> str:
    """Hash of a value by its JSON, as 64 hex digits."""
    return hashlib.sha256(compact(value).encode("utf-8", "surrogatepass")).hexdigest()
