"""Converts a small base, then a large one; prints the KiB that memory grew by for the latter."""

import sys
from pathlib import Path

from model_adapters.convert import Recipe, upcycle


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


small, base = map(Path, sys.argv[1:])
# Loads what is loaded only when it is used.
upcycle(small, small.with_name("warm"), Recipe(2))
# Forgets the peak so far.
Path("/proc/self/clear_refs").write_text("5")
before = _status("VmRSS")
upcycle(base, base.with_name("iha"), Recipe(2))
print(_status("VmHWM") - before)
