"""Rows that are on disk as soon as they are measured, and are not measured again.

For: the cells of `gpu.py`, whose machine may be taken away at any moment.
Not for: results that count only as a whole.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
DONE = "done"


class RowFile:
    """JSON lines: what they were measured with, then one object a row.

    A file of other settings, versions or devices is begun anew; a last line that was cut off is
    dropped.

    Args:
        path: of the file.
        about: settings, versions and device.
    """

    def __init__(self, path: Path, about: Row) -> None:
        self.path = path
        # As JSON has it: tuples are lists there.
        self.about = json.loads(json.dumps(about))
        self.rows: dict[str, Row] = {}
        lines = self._whole_lines()
        if lines and lines[0] == self.about:
            self.rows = {line["key"]: line for line in lines[1:]}

    def _whole_lines(self) -> list[Row]:
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        lines = []
        for line in text.splitlines():
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return lines

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to measure and nothing that was measured is wrong."""
        return bool(self.rows.get(DONE, {}).get("right"))

    def begin(self) -> None:
        """Write what there is again, whole lines alone; what was wrong is to be measured again."""
        self.rows = {
            key: row for key, row in self.rows.items() if row.get("right", True) and key != DONE
        }
        lines = [json.dumps(line) + "\n" for line in (self.about, *self.rows.values())]
        new = self.path.with_suffix(".new")
        new.write_text("".join(lines), encoding="utf-8")
        new.replace(self.path)

    def step(self) -> None:
        """Say that something was done which is no row, such as the start of an engine."""
        self.path.touch()

    def measure(self, key: str, function: Callable[[], Row]) -> Row:
        """A row from the file, or from `function` and then in the file."""
        if key not in self.rows:
            self.add(key, function())
        return self.rows[key]

    def add(self, key: str, row: Row) -> None:
        """Append a row; it is on disk when this returns."""
        self.rows[key] = {"key": key, **row}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.rows[key]) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> None:
        """Say that all is measured, and whether every row that can be wrong is right."""
        self.add(DONE, {"right": all(row.get("right", True) for row in self.rows.values())})
