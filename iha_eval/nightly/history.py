"""The history: one JSON line for each night, model, task and metric, never changed afterwards.

For: adding a night, or a step of a training run, and reading all of them back. The lines of a night
are written at once as a batch; a night recorded again gets a new batch, which is read in place of
the earlier ones once it is there whole. Lines that a crash has cut off count for nothing and harm
nothing.
Not for: judging what the lines say (`trends.py`, `regressions.py`).

Beside the lines lie the scores of all questions, so that nights can be compared question by
question when their outputs are gone, what the hashes in the lines stand for, and the reports.
"""

import contextlib
import gzip
import json
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any

from iha_eval.errors import UserError
from iha_eval.util.files import compact, write_whole
from iha_eval.util.text import clean

FORMAT = 2
"""Version of the lines that are written; `_FORMATS` are read."""
LINES = "history.jsonl"
REPORT_FILES = ("report.html", "report.md", "report.json")

_FORMATS = (1, 2)
# The id of a night is part of file names.
_ID = re.compile(r"[\w.+-]{1,100}")


@dataclass(frozen=True)
class RecordedDrop:
    """What a rule found of one measure on one night.

    Attributes:
        rule: `last_good`, `pinned` or `baseline`.
        against: first night of the drop, id of the pinned night, or `baseline`; in format 1 the
            earlier night.
        points: tonight less the other, in points; below 0 is worse.
        p_corrected: p-value after the correction of that night; in format 1 only.
        z: the statistic of the alarm.
        since: first night of the drop; None without one, and in format 1.
        worse: whether it was a drop; against the baseline, everything is recorded.
    """

    rule: str
    against: str
    points: float
    p_corrected: float | None = None
    z: float | None = None
    since: str | None = None
    worse: bool = True


@dataclass(frozen=True)
class HistoryEntry:
    """One line of the history: one model on one metric of one task on one night.

    Of a run that failed there is one entry for each of its tasks, without a metric.

    Attributes:
        date: when the night began, ISO 8601 with time zone.
        model: its name in the configuration.
        task: name of the task or group.
        metric: name of the metric; None if the run failed.
        entries: the names in the configuration that the same run was asked for.
        command: hash of the command.
        commit: of the checkpoint's folder, or else of the configuration's.
        name: the model's.
        fingerprint: of the checkpoint.
        versions: of the packages that matter, by name.
        n: number of questions with a score.
        left_out: number of those without.
        asked: number of questions that the run was to ask.
        mean: mean score, 0 to 1; None without a score.
        se: its standard error.
        higher_is_better: whether more is better.
        watched: whether the rules look at it.
        documents: hash of questions, prompts and targets.
        part_of: documents of an earlier night of which a few are missing here.
        settings: hash of how the task was asked.
        room: tokens that the model had room for where no setting says so.
        failed: whether the run failed.
        reason: why it failed.
        regressions: the drops that count.
        baseline: what was found against the baseline.
        lacking: why the result counts as missing.
        not_judged: why a rule did not judge it, by the rule.
        threshold: the z from which on there was an alarm; None in format 1.
        least: points that a drop had to have at least.
        night: id of the night; given by the history.
        batch: number of the recording of that night, from 1; given by the history.
        lines: number of entries of that recording; given by the history.
        step: training step of the checkpoints; None for a night.
        accepted: whether the night was accepted later on; not written.
    """

    date: str
    model: str
    task: str
    metric: str | None = None
    entries: tuple[str, ...] = ()
    command: str | None = None
    commit: str | None = None
    name: str | None = None
    fingerprint: str | None = None
    versions: Mapping[str, str | None] = field(default_factory=dict)
    n: int | None = None
    left_out: int | None = None
    asked: int | None = None
    mean: float | None = None
    se: float | None = None
    higher_is_better: bool = True
    watched: bool = False
    documents: str | None = None
    part_of: str | None = None
    settings: str | None = None
    room: str | None = None
    failed: bool = False
    reason: str | None = None
    regressions: tuple[RecordedDrop, ...] = ()
    baseline: RecordedDrop | None = None
    lacking: str | None = None
    not_judged: Mapping[str, str] = field(default_factory=dict)
    threshold: float | None = None
    least: float = 0.0
    night: str = ""
    batch: int = 1
    lines: int = 1
    accepted: bool = False
    step: int | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Task and metric."""
        return self.task, self.metric or ""

    @property
    def moment(self) -> datetime:
        """When the night began."""
        return datetime.fromisoformat(self.date)

    @property
    def has_result(self) -> bool:
        """Whether there is a mean that counts."""
        return not self.failed and not self.lacking and self.mean is not None

    @property
    def questions(self) -> tuple[str | None, str | None]:
        """What makes results comparable: the documents, those that were lost included, and how."""
        return self.part_of or self.documents, self.settings

    def as_line(self) -> dict[str, Any]:
        """What is written, in JSON's types."""
        line = {"history": FORMAT, **asdict(self)}
        del line["accepted"]
        return line


def read_entry(line: Mapping[str, Any]) -> HistoryEntry:
    """A line of the history, checked field by field; fields that are not known are passed over.

    Raises:
        ValueError: A field is missing or has a value that cannot be.
    """
    values = {each.name: line[each.name] for each in fields(HistoryEntry) if each.name in line}
    values.pop("accepted", None)
    for name, value in values.items():
        if not (name in _OPTIONAL and value is None) and not _CHECKS[name](value):
            raise ValueError(f"{name} cannot be {str(value)[:80]!r}")
    given = {name: value for name, value in values.items() if value is not None}
    given["entries"] = tuple(given.get("entries", ()))
    given["regressions"] = tuple(_read_drop(drop) for drop in given.get("regressions", ()))
    if given.get("baseline"):
        given["baseline"] = _read_drop(given["baseline"])
    for name in _SHOWN:
        if name in given:
            given[name] = clean(given[name])
    given["not_judged"] = {
        clean(rule): clean(reason) for rule, reason in given.get("not_judged", {}).items()
    }
    try:
        entry = HistoryEntry(**given)
    except TypeError as error:
        raise ValueError(str(error)) from error
    measured = entry.metric is not None and "mean" in line
    if not entry.night or not (entry.failed or measured):
        raise ValueError("a night, a metric or a mean is missing")
    if entry.mean is not None and entry.se is None:
        raise ValueError("a mean has no standard error")
    return entry


def _read_drop(value: Mapping[str, Any]) -> RecordedDrop:
    names = [each.name for each in fields(RecordedDrop)]
    try:
        drop = RecordedDrop(**{name: value[name] for name in names if name in value})
    except TypeError as error:
        raise ValueError(str(error)) from error
    optional = all(value is None or _is_number(value) for value in (drop.p_corrected, drop.z))
    numbers = _is_number(drop.points) and optional
    if not (drop.since is None or _is_id(drop.since)):
        raise ValueError("a drop begins on no night")
    if not (numbers and _is_text(drop.rule) and _is_text(drop.against)):
        raise ValueError("a drop cannot be read")
    return replace(drop, worse=bool(drop.worse))


def _is_text(value: Any) -> bool:
    """A name, which is shown as it is."""
    return isinstance(value, str) and 0 < len(value) <= 1000 and clean(value) == value


def _is_words(value: Any) -> bool:
    return isinstance(value, str)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and bool(_ID.fullmatch(value)) and value.strip(".") != ""


def _is_date(value: Any) -> bool:
    # ValueError if it is none.
    return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e6 and isfinite(value)


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _is_batch(value: Any) -> bool:
    return _is_count(value) and value > 0


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_versions(value: Any) -> bool:
    return isinstance(value, dict) and all(
        version is None or isinstance(version, str) for version in value.values()
    )


def _are_reasons(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _are_drops(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(drop, dict) for drop in value)


def _is_drop(value: Any) -> bool:
    return isinstance(value, dict)


_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("model", "task", "metric", "command", "commit"), _is_text),
    **dict.fromkeys(("fingerprint", "documents", "part_of", "settings"), _is_text),
    **dict.fromkeys(("room", "reason", "lacking", "name"), _is_words),
    **dict.fromkeys(("n", "left_out", "asked", "step"), _is_count),
    **dict.fromkeys(("batch", "lines"), _is_batch),
    **dict.fromkeys(("mean", "se"), _is_share),
    **dict.fromkeys(("threshold", "least"), _is_number),
    **dict.fromkeys(("higher_is_better", "watched", "failed"), _is_switch),
    "date": _is_date,
    "entries": _are_texts,
    "versions": _are_versions,
    "regressions": _are_drops,
    "baseline": _is_drop,
    "not_judged": _are_reasons,
    "night": _is_id,
}
# Texts of programs and models, which are made fit to be shown.
_SHOWN = ("reason", "lacking", "name")
_OPTIONAL = frozenset(_CHECKS) - {"date", "model", "task", "night", "batch", "lines"}


@dataclass(frozen=True)
class Entries:
    """All that a history holds.

    Attributes:
        nights: the entries of each night, by its id, oldest night first.
        broken: number of lines that cannot be read.
        pinned: id of the night that is pinned as a reference; None without one.
        steps: the entries of each step of a training run (`watch.py`), by its id, in their order.
    """

    nights: Mapping[str, Sequence[HistoryEntry]]
    broken: int
    pinned: str | None = None
    steps: Mapping[str, Sequence[HistoryEntry]] = field(default_factory=dict)


class History:
    """A history folder.

    Args:
        folder: where it lies; need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        """Reads and writes nothing yet."""
        self.folder = folder
        self.path = folder / LINES
        # What was read already: series share nights, and nights share questions.
        self._read: dict[Path, Any] = {}

    def read(self) -> Entries:
        """All nights; of one that was recorded several times, what counts.

        Raises:
            UserError: the file is there and cannot be read.
        """
        batches: dict[tuple[str, int], list[HistoryEntry]] = {}
        accepted: set[tuple[str, int]] = set()
        broken = 0
        pinned: str | None = None
        for text in self._data().split(b"\n"):
            if not text.strip():
                continue
            try:
                line = _parse(text)
                if "accept" in line:
                    accepted.add(_accepts(line, batches))
                elif "pin" in line:
                    pinned = _pins(line)
                else:
                    entry = read_entry(line)
                    batches.setdefault((entry.night, entry.batch), []).append(entry)
            except _UNREADABLE:
                broken += 1
        chosen: dict[str, list[HistoryEntry]] = {}
        for (night, _), entries in sorted(batches.items(), key=_batch_rank):
            chosen[night] = entries
        steps = {
            night: chosen.pop(night)
            for night in sorted(chosen, key=lambda night: chosen[night][0].step or 0)
            if chosen[night][0].step is not None
        }
        order = sorted(chosen, key=lambda night: (chosen[night][0].moment, night))
        nights = {
            night: [
                replace(entry, regressions=(), accepted=True)
                if (night, entry.batch) in accepted
                else entry
                for entry in chosen[night]
            ]
            for night in order
        }
        return Entries(nights, broken, pinned if pinned in nights else None, steps)

    def record(
        self,
        night: str,
        entries: Sequence[HistoryEntry],
        scores: Mapping[str, Sequence[float | None]] | None = None,
    ) -> None:
        """Add a night, or record it again; what is there stays.

        Args:
            night: its id.
            entries: what to write; night, batch and lines are filled in.
            scores: the scores of questions, by `score_key`.

        Raises:
            UserError: it cannot be written.
        """
        batch = 1 + max((n for name, n in self._batches() if name == night), default=0)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write_scores(night, batch, scores or {})
            self._append(
                [
                    replace(entry, night=night, batch=batch, lines=len(entries)).as_line()
                    for entry in entries
                ]
            )
        except OSError as error:
            raise self._refusal(error) from error

    def accept(self, night: str) -> None:
        """Take a night for good from now on, whatever the rules found.

        That goes for what it has now: recorded again, it has to be accepted again.

        Raises:
            UserError: there is no such night, or it cannot be written down.
        """
        batch = self._known(night)[0].batch
        self._mark({"history": FORMAT, "accept": night, "batch": batch})

    def pin(self, night: str | None) -> None:
        """Hold all later nights against one, besides the good ones before them; None ends that.

        Raises:
            UserError: there is no such night, or it cannot be written down.
        """
        if night is not None:
            self._known(night)
        self._mark({"history": FORMAT, "pin": night})

    def questions(self, documents: str | None) -> list[str] | None:
        """The questions behind a hash, each by a hash of its own; None if they are gone."""
        names = self.lookup(documents)
        fit = isinstance(names, list) and all(isinstance(name, str) for name in names)
        return names if fit else None

    def settings(self, sha256: str | None) -> dict[str, Any] | None:
        """The settings behind a hash; None if they are gone."""
        value = self.lookup(sha256)
        return value if isinstance(value, dict) else None

    def scores(self, entry: HistoryEntry) -> list[float | None] | None:
        """The scores behind an entry, question by question; None if they are not there any more."""
        packed = _read_packed(self._scores_path(entry.night, entry.batch), self._read)
        if not isinstance(packed, dict):
            return None
        scores = packed.get(score_key(entry.model, entry.task, entry.metric or ""))
        if not isinstance(scores, list):
            return None
        fit = all(score is None or _is_share(score) for score in scores)
        return scores if fit else None

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
        return _read_packed(self._known_path(str(sha256)), self._read)

    def keep_report(self, night: str, folder: Path, models: Sequence[str] = ()) -> list[Path]:
        """Keep the report of a night: a second name for its files, or a copy on another disk.

        Args:
            night: its id.
            folder: where its report lies.
            models: names of folders in it with a report of their own.

        Returns:
            The files kept.

        Raises:
            UserError: they cannot be written.
        """
        place = self.folder / "reports" / night
        kept = []
        names = [Path(part, name) for part in ("", *models) for name in REPORT_FILES]
        try:
            for part in ("", *models):
                (place / part).mkdir(parents=True, exist_ok=True)
            for name in names:
                if (folder / name).is_file():
                    _link(folder / name, place / name)
                    kept.append(place / name)
        except OSError as error:
            raise self._refusal(error) from error
        return kept

    def _known(self, night: str) -> Sequence[HistoryEntry]:
        known = self.read().nights
        if night not in known:
            there = f"the last ones are {', '.join(list(known)[-3:])}" if known else "it is empty"
            raise UserError(f"the history {self.folder} has no night {night!r}: {there}.")
        return known[night]

    def _mark(self, line: Mapping[str, Any]) -> None:
        try:
            self._append([line])
        except OSError as error:
            raise self._refusal(error) from error

    def _batches(self) -> Iterable[tuple[str, int]]:
        for text in self._data().split(b"\n"):
            # A number that a broken line has must not be given again either.
            with contextlib.suppress(*_UNREADABLE):
                line = _parse(text)
                if _is_id(line["night"]) and _is_batch(line["batch"]):
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

    def _append(self, lines: Sequence[Mapping[str, Any]]) -> None:
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
        self._read.pop(path, None)
        write_whole(path, gzip.compress(compact(scores).encode(), mtime=0))

    def _refusal(self, error: OSError) -> UserError:
        return UserError(
            f"the history folder {self.folder} cannot be written ({error.strerror}): make room "
            "there or mend its permissions, and start the night again."
        )


def score_key(model: str, task: str, metric: str) -> str:
    """What scores are found by."""
    return compact([model, task, metric])


# A line may hold anything; deep nesting is a RecursionError.
_UNREADABLE = (ValueError, KeyError, TypeError, RecursionError, OverflowError)


def _parse(text: bytes) -> dict[str, Any]:
    line = json.loads(text)
    if line["history"] not in _FORMATS:
        raise ValueError("a format of another release")
    if not isinstance(line, dict):
        raise ValueError("no mapping")
    return line


def _accepts(line: Mapping[str, Any], batches: Iterable[tuple[str, int]]) -> tuple[str, int]:
    """Night and batch that a line accepts; without a batch, the newest of those before it."""
    night = line["accept"]
    batch = line.get("batch", max((b for name, b in batches if name == night), default=1))
    if not (_is_id(night) and _is_batch(batch)):
        raise ValueError("no night is accepted")
    return night, batch


def _pins(line: Mapping[str, Any]) -> str | None:
    night: str | None = line["pin"]
    if not (night is None or _is_id(night)):
        raise ValueError("no night is pinned")
    return night


def _batch_rank(item: tuple[tuple[str, int], list[HistoryEntry]]) -> tuple[bool, int]:
    """What makes one batch of a night count more than another: being whole, then being later."""
    (_, batch), entries = item
    return len(entries) >= entries[0].lines, batch


def _read_packed(path: Path, known: dict[Path, Any]) -> Any:
    """What a packed file holds, from what was read already if it is there; None if it is broken."""
    if path not in known:
        try:
            with gzip.open(path, "rt", encoding="utf-8") as file:
                known[path] = json.load(file)
        except (OSError, EOFError, ValueError, RecursionError, zlib.error):
            return None
    return known[path]


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
