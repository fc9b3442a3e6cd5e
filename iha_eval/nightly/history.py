"""The history: one JSON line for each night, model, task and metric, never changed afterwards.

For: adding a night, and reading all of them back. The lines of a night are written at once as a
batch; a night recorded again gets a new batch, which is read in place of the earlier ones once it
is there whole. Lines that a crash has cut off count for nothing and harm nothing.
Not for: judging what the lines say (`trends.py`, `regressions.py`).

Beside the lines lie the scores of all questions, so that nights can be compared question by
question when their outputs are gone, what the hashes in the lines stand for, and the reports.
"""

import contextlib
import gzip
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from iha_eval.errors import UserError
from iha_eval.util.files import compact, write_whole

FORMAT = 1
LINES = "history.jsonl"
REPORT_FILES = ("report.html", "report.md", "report.json")

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Entries:
    """All that a history holds.

    Attributes:
        nights: the lines of each night, by its id, oldest night first.
        broken: number of lines that cannot be read.
    """

    nights: Mapping[str, Sequence[Line]]
    broken: int


class History:
    """A history folder.

    Args:
        folder: where it lies; need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        """Reads and writes nothing yet."""
        self.folder = folder
        self.path = folder / LINES

    def read(self) -> Entries:
        """All nights; of one that was recorded several times, what counts.

        Raises:
            UserError: the file is there and cannot be read.
        """
        batches: dict[tuple[str, int], list[Line]] = {}
        accepted: set[tuple[str, int]] = set()
        broken = 0
        for text in self._data().split(b"\n"):
            if not text.strip():
                continue
            line = _parse(text)
            if line is None:
                broken += 1
            elif "accept" in line:
                accepted.add(_accepts(line, batches))
            else:
                batches.setdefault((line["night"], line["batch"]), []).append(line)
        chosen: dict[str, list[Line]] = {}
        for (night, _), lines in sorted(batches.items(), key=_batch_rank):
            chosen[night] = lines
        order = sorted(chosen, key=lambda night: (_moment(chosen[night][0]), night))
        nights = {
            night: [
                _accepted(line) if (night, line["batch"]) in accepted else line for line in lines
            ]
            for night, lines in ((name, chosen[name]) for name in order)
        }
        return Entries(nights, broken)

    def record(
        self,
        night: str,
        lines: Sequence[Line],
        scores: Mapping[str, Sequence[float | None]] | None = None,
    ) -> None:
        """Add a night, or record it again; what is there stays.

        Args:
            night: its id.
            lines: what to write, without the fields that belong to the history.
            scores: the scores of questions, by `score_key`.

        Raises:
            UserError: it cannot be written.
        """
        batch = 1 + max((n for name, n in self._batches() if name == night), default=0)
        head = {"history": FORMAT, "night": night, "batch": batch, "lines": len(lines)}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write_scores(night, batch, scores or {})
            self._append([head | dict(line) for line in lines])
        except OSError as error:
            raise self._refusal(error) from error

    def accept(self, night: str) -> None:
        """Take a night for good from now on, whatever the rules found.

        That goes for what it has now: recorded again, it has to be accepted again.

        Raises:
            UserError: there is no such night, or it cannot be written down.
        """
        known = self.read().nights
        if night not in known:
            there = f"the last ones are {', '.join(list(known)[-3:])}" if known else "it is empty"
            raise UserError(f"the history {self.folder} has no night {night!r}: {there}.")
        try:
            batch = known[night][0]["batch"]
            self._append([{"history": FORMAT, "accept": night, "batch": batch}])
        except OSError as error:
            raise self._refusal(error) from error

    def scores(self, line: Line) -> list[float | None] | None:
        """The scores behind a line, question by question; None if they are not there any more."""
        path = self._scores_path(line["night"], line["batch"])
        key = score_key(line["model"], line["task"], line["metric"])
        found = (_read_packed(path) or {}).get(key)
        return found if isinstance(found, list) else None

    def keep(self, sha256: str, value: object) -> None:
        """Keep what a hash in the lines stands for, such as a list of questions; once is enough.

        Raises:
            UserError: it cannot be written.
        """
        path = self._known_path(sha256)
        if path.exists():
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, gzip.compress(compact(value).encode(), mtime=0))
        except OSError as error:
            raise self._refusal(error) from error

    def lookup(self, sha256: str | None) -> Any:
        """What was learned of a hash; None if nothing was, or it is gone."""
        return _read_packed(self._known_path(str(sha256)))

    def keep_report(self, night: str, folder: Path) -> list[Path]:
        """Keep the report of a night: a second name for its files, or a copy on another disk.

        Returns:
            The files kept.

        Raises:
            UserError: they cannot be written.
        """
        place = self.folder / "reports" / night
        kept = []
        try:
            place.mkdir(parents=True, exist_ok=True)
            for name in REPORT_FILES:
                if (folder / name).is_file():
                    _link(folder / name, place / name)
                    kept.append(place / name)
        except OSError as error:
            raise self._refusal(error) from error
        return kept

    def _batches(self) -> Iterable[tuple[str, int]]:
        for text in self._data().split(b"\n"):
            line = _parse(text)
            if line is not None and "accept" not in line:
                yield line["night"], line["batch"]

    def _data(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise UserError(
                f"the history {self.path} cannot be read ({error.strerror}): name a history folder."
            ) from error

    def _append(self, lines: Sequence[Line]) -> None:
        data = "".join(compact(line) + "\n" for line in lines).encode("utf-8", "backslashreplace")
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(file).st_size
            # A line that a crash has cut off must not swallow the next one.
            if size and os.pread(file, 1, size - 1) != b"\n":
                data = b"\n" + data
            while data:
                data = data[os.write(file, data) :]
            os.fsync(file)
        finally:
            os.close(file)

    def _scores_path(self, night: str, batch: int) -> Path:
        return self.folder / "scores" / f"{night}-{batch}.json.gz"

    def _known_path(self, sha256: str) -> Path:
        return self.folder / "known" / f"{sha256[:32]}.json.gz"

    def _write_scores(
        self, night: str, batch: int, scores: Mapping[str, Sequence[float | None]]
    ) -> None:
        path = self._scores_path(night, batch)
        path.parent.mkdir(exist_ok=True)
        write_whole(path, gzip.compress(compact(scores).encode(), mtime=0))

    def _refusal(self, error: OSError) -> UserError:
        return UserError(
            f"the history folder {self.folder} cannot be written ({error.strerror}): make room "
            "there or mend its permissions, and start the night again."
        )


def score_key(model: str, task: str, metric: str) -> str:
    """What scores are found by."""
    return compact([model, task, metric])


def _parse(text: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
        if line["history"] != FORMAT:
            return None
        if "accept" not in line:
            moment = datetime.fromisoformat(line["date"])
            fit = isinstance(line["night"], str) and moment.tzinfo is not None
            whole = int(line["batch"]) and int(line["lines"]) and line["model"] and line["task"]
            return line if fit and whole and _has_numbers(line) else None
        return line if int(line.get("batch", 1)) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _has_numbers(line: Line) -> bool:
    """Whether a line says what was measured, be it nothing; that of a failed run need not."""
    if line.get("failed"):
        return True
    numbers = line["mean"], line["se"]
    return numbers[0] is None or all(isinstance(one, int | float) for one in numbers)


def _accepts(line: Line, batches: Iterable[tuple[str, int]]) -> tuple[str, int]:
    """Night and batch that a line accepts; without a batch, the newest of those before it."""
    night = str(line["accept"])
    newest = max((batch for name, batch in batches if name == night), default=0)
    return night, int(line.get("batch", newest))


def _batch_rank(item: tuple[tuple[str, int], list[Line]]) -> tuple[bool, int]:
    """What makes one batch of a night count more than another: being whole, then being later."""
    (_, batch), lines = item
    return len(lines) >= lines[0]["lines"], batch


def _moment(line: Line) -> datetime:
    return datetime.fromisoformat(line["date"])


def _accepted(line: Line) -> Line:
    return {**line, "regressions": [], "accepted": True}


def _read_packed(path: Path) -> Any:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return json.load(file)
    except (OSError, EOFError, ValueError, zlib.error):
        return None


def _link(source: Path, target: Path) -> None:
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    try:
        beside.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, beside)
    # Where both are one file already, rename does nothing and leaves the new name.
    beside.replace(target)
    with contextlib.suppress(FileNotFoundError):
        beside.unlink()
