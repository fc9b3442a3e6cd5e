"""Answers on disk as they are finished, so that a killed run goes on where it stood.

For: a file of JSON lines beside the output: a header that says which model and which engine, then
one line an answer, found again by everything that decides it, and one line for what each engine
ran on. Only whole lines count, and only those whose checksum is right; it covers the identity of
the file too, so that a line of another model's journal is none of ours. Damage costs the lines that
are damaged and no others.
Not for: results; a journal is cleared away when lm-eval has saved those. Nor for greedy
log-likelihoods, which are quick to do again.
"""

import contextlib
import hashlib
import itertools
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from iha_eval.errors import UserError
from iha_eval.models.requests import Answer, GenerateRequest
from iha_eval.util.files import compact, sha256, write_whole
from iha_eval.util.lock import Lock, TakenError, is_taken
from iha_eval.util.log import logger

FORMAT = 2
# Without checksums; still read.
FORMAT_BEFORE = 1
# Seconds between forcing lines out of the system's cache, which only a power cut empties.
SYNC = 1.0
CHECK = "check"
"""Entry of each line that holds its checksum."""


def answer_key(request: GenerateRequest, document: str) -> str:
    """What an answer is found by: a hash of all that decides it besides model and engine.

    Args:
        request: task, prompt, sampling parameters and seed count; the place in the call does not.
        document: hash of the document, see `document_sha256`.
    """
    decides = {
        "task": request.task,
        "document": document,
        "prompt": hashlib.sha256(request.prompt.tobytes()).hexdigest(),
        "sampling": asdict(request.sampling),
    }
    return sha256(decides)


def document_sha256(document: Any) -> str:
    """Hash of a document as 64 hex digits; whatever JSON does not know counts as its text."""
    return sha256(document)


class Journal:
    """The answers of one model under one engine, open for as long as answers are made.

    Only one process writes to a journal at a time.

    Args:
        folder: where it lies; made if need be.
        identity: model, engine and tasks: what must be the same for an answer to be used again.

    Attributes:
        path: its file.
        identity: the same.
        used: keys of the answers that this run asks for.
        facts: what the engine that wrote last ran on and with; empty if none has started.
        non_finite: places at which logits were not finite, over all runs that wrote to it.

    Raises:
        UserError: the folder cannot be written, or another process writes to the journal.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        """Opens it, and reads what it holds."""
        self._owner = sha256(identity)
        self.path = folder / f"journal-{self._owner[:12]}.jsonl"
        self.identity = dict(identity)
        self.used: set[str] = set()
        self.facts: dict[str, Any] = {}
        self.non_finite = 0
        self._answers: dict[str, Answer] = {}
        self._synced = time.monotonic()
        self._file = -1
        self._lock: Lock | None = None
        self._open()

    @property
    def count(self) -> int:
        """Number of answers in it."""
        return len(self._answers)

    def find(self, key: str) -> Answer | None:
        """The answer of that key, if it is finished."""
        return self._answers.get(key)

    def add(self, key: str, request: GenerateRequest, answer: Answer) -> None:
        """Write down a finished answer; it outlives this process from here on.

        Raises:
            UserError: it cannot be written.
        """
        self._answers[key] = answer
        line = {
            "key": key,
            "task": request.task,
            "doc_id": request.doc_id,
            "repeat": request.repeat,
            **asdict(answer),
        }
        self._append(line)

    def note(self, facts: Mapping[str, Any]) -> None:
        """Write down what the engine runs on and with, for a run that finds all answers here.

        Raises:
            UserError: it cannot be written.
        """
        plain = json.loads(compact(facts))
        if plain != self.facts:
            self.facts = plain
            self._append({"engine": plain})

    def count_non_finite(self, count: int) -> None:
        """Write down that logits were not finite at so many places, for the run that goes on.

        Raises:
            UserError: it cannot be written.
        """
        self.non_finite += count
        self._append({"non_finite": count})

    def _append(self, line: Mapping[str, Any]) -> None:
        try:
            self._write(line)
            if time.monotonic() - self._synced >= SYNC:
                os.fsync(self._file)
                self._synced = time.monotonic()
        except OSError as error:
            raise _refusal(self.path, error) from error

    def forget(self, keys: Collection[str]) -> None:
        """Drop answers; those to other questions stay.

        Raises:
            UserError: the file cannot be written.
        """
        if not any(key in self._answers for key in keys):
            return
        self._replace(self._without(keys)[0])
        self.close()
        self._open()

    def close(self) -> None:
        """Let go of the file; it stays. May be called twice."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def retire(self) -> None:
        """Drop what this run asked for, which is in its results; without answers the file goes.

        Raises:
            UserError: the file cannot be written.
        """
        try:
            if self._file < 0:
                self._file, self._lock = _open_locked(self.path)
            lines, answers = self._without(self.used)
            if answers:
                self._replace(lines)
            else:
                self.path.unlink(missing_ok=True)
        except OSError as error:
            raise _refusal(self.path, error) from error
        self.close()

    def _without(self, keys: Collection[str]) -> tuple[list[bytes], int]:
        """The lines of a journal without these answers, and how many answers that leaves."""
        lines, answers = [self._line({"journal": FORMAT, "identity": self.identity})], 0
        if self.facts:
            lines.append(self._line({"engine": self.facts}))
        if self.non_finite:
            lines.append(self._line({"non_finite": self.non_finite}))
        for entry in self._sound(self.path.read_bytes()):
            if "key" in entry and entry["key"] not in keys:
                lines.append(self._line(entry))
                answers += 1
        return lines, answers

    def _replace(self, lines: Sequence[bytes]) -> None:
        """Put a file of these lines in the journal's place, in one step."""
        try:
            write_whole(self.path, b"".join(lines))
        except OSError as error:
            raise _refusal(self.path, error) from error

    def _open(self) -> None:
        self._answers = {}
        self.non_finite = 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file, self._lock = _open_locked(self.path)
            self._read()
        except OSError as error:
            raise _refusal(self.path, error) from error

    def _read(self) -> None:
        whole, rest = _split(self.path.read_bytes())
        if rest:
            # A kill in the middle of a line; the next one must begin on its own.
            os.ftruncate(self._file, len(whole))
        entries = list(self._sound(whole))
        for entry in entries:
            if "key" in entry:
                self._answers[entry["key"]] = Answer(entry["text"], entry["tokens"], entry["cut"])
            elif "engine" in entry:
                self.facts = entry["engine"]
            elif "non_finite" in entry:
                self.non_finite += entry["non_finite"]
        lines = whole.split(b"\n")[:-1]
        if not lines:
            self._write({"journal": FORMAT, "identity": self.identity})
            return
        sound = bool(entries) and "journal" in entries[0]
        if not sound or _before(lines[0]):
            # What is appended from here on has checksums, so the whole file must.
            self._renew(kept=not sound)
        elif len(entries) < len(lines):
            logger.warning(
                "%s has %d lines that are damaged: what they held is generated again.",
                self.path,
                len(lines) - len(entries),
            )

    def _renew(self, *, kept: bool) -> None:
        """Write the file anew with its sound lines; a damaged one is kept aside first."""
        if kept:
            numbers = (f".unread{number or ''}" for number in itertools.count())
            names = (self.path.with_suffix(suffix) for suffix in numbers)
            aside = next(name for name in names if not name.exists())
            write_whole(aside, self.path.read_bytes())
            logger.warning(
                "%s begins with no header of this release, or with a damaged one: it is kept as "
                "%s, and %d answers that are sound are used.",
                self.path,
                aside.name,
                len(self._answers),
            )
        self._replace(self._without(())[0])
        self.close()
        self._file, self._lock = _open_locked(self.path)

    def _sound(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The entries of all lines that can be trusted, in order."""
        head, *_ = data.split(b"\n", 1)
        unchecked = _before(head) and self._is_mine(head)
        for line in data.split(b"\n")[:-1]:
            entry = _entry(line, self._owner, unchecked=unchecked)
            if entry is not None:
                yield entry

    def _is_mine(self, head: bytes) -> bool:
        header = _header(head)
        return header is not None and sha256(header) == self._owner

    def _line(self, entry: Mapping[str, Any]) -> bytes:
        plain = json.loads(json.dumps({n: x for n, x in entry.items() if n != CHECK}, default=str))
        return json.dumps({**plain, CHECK: _checksum(plain, self._owner)}).encode() + b"\n"

    def _write(self, entry: Mapping[str, Any]) -> None:
        data = self._line(entry)
        while data:
            data = data[os.write(self._file, data) :]


def others(folder: Path, identity: Mapping[str, Any]) -> dict[Path, list[str]]:
    """Journals in a folder that belong to another model or engine, and in what those differ.

    Journals that another process is writing are left out: that run is under way.
    """
    differing = {}
    own = folder / f"journal-{sha256(identity)[:12]}.jsonl"
    for path in sorted(folder.glob("journal-*.jsonl")):
        with contextlib.suppress(OSError):
            theirs = None if path == own or _is_locked(path) else _first_header(path)
            if theirs is not None:
                differing[path] = differences(theirs, json.loads(compact(identity)))
    return differing


def differences(theirs: Any, ours: Any, name: str = "") -> list[str]:
    """Names of the fields in which two identities differ, nested ones joined by dots."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return [
            difference
            for field in sorted({*theirs, *ours})
            for difference in differences(
                theirs.get(field), ours.get(field), f"{name}.{field}" if name else field
            )
        ]
    return [] if theirs == ours else [name]


def _open_locked(path: Path) -> tuple[int, Lock]:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            lock = Lock(file, _beside(path))
        except TakenError as error:
            os.close(file)
            raise UserError(_in_use(path, error.holder)) from error
        except OSError:
            os.close(file)
            raise
        # Between opening and locking, a run that ended may have removed it.
        if os.fstat(file).st_nlink:
            return file, lock
        lock.release()
        os.close(file)


def _in_use(path: Path, holder: str) -> str:
    if not holder:
        return (
            f"{path} is being written by another run of the same command: wait for that one to "
            "end, or give this one another --output_path."
        )
    return (
        f"{path} is being written by another run of the same command, {holder}: wait for that one "
        f"to end, or give this one another --output_path; if it is gone, remove {_beside(path)} "
        "(the file system there knows no locks)."
    )


def _beside(path: Path) -> Path:
    """The file that stands for the lock where the file system knows none."""
    return path.with_name(f"{path.name}.held")


def _is_locked(path: Path) -> bool:
    file = os.open(path, os.O_RDONLY)
    try:
        return is_taken(file, _beside(path))
    finally:
        os.close(file)


def _split(data: bytes) -> tuple[bytes, bytes]:
    end = data.rfind(b"\n") + 1
    return data[:end], data[end:]


def _checksum(entry: Mapping[str, Any], owner: str) -> str:
    """Of a line without its checksum, and of the identity of the journal that it belongs to."""
    return sha256([owner, entry])[:16]


def _entry(line: bytes, owner: str, *, unchecked: bool) -> dict[str, Any] | None:
    """What a line holds, or None where it is not to be trusted, whatever it is instead."""
    try:
        entry = json.loads(line)
        check = entry.pop(CHECK, None)
        right = check == _checksum(entry, owner) if check is not None else unchecked
        if not right or not _is_whole(entry):
            return None
        return dict(entry)
    # Damage can make anything of a line: brackets without end, numbers without end, other types.
    except Exception:
        return None


def _is_whole(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is a header, an engine's facts, or an answer with all that belongs to it."""
    if "journal" in entry:
        return isinstance(entry["identity"], dict)
    if "engine" in entry:
        return isinstance(entry["engine"], dict)
    if "non_finite" in entry:
        return _is_count(entry["non_finite"])
    return (
        isinstance(entry["key"], str)
        and isinstance(entry["text"], str)
        and _is_count(entry["tokens"])
        and isinstance(entry["cut"], bool)
    )


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _before(head: bytes) -> bool:
    """Whether a header is of the format that had no checksums."""
    try:
        entry = json.loads(head)
        return bool(entry["journal"] == FORMAT_BEFORE and CHECK not in entry)
    except Exception:
        return False


def _header(line: bytes) -> Mapping[str, Any] | None:
    """The identity that a header names, whosever it is; None where it is no header."""
    try:
        entry = json.loads(line)
        return dict(entry["identity"]) if entry["journal"] in (FORMAT_BEFORE, FORMAT) else None
    except Exception:
        return None


def _first_header(path: Path) -> Mapping[str, Any] | None:
    with path.open("rb") as file:
        return _header(file.readline())


def _refusal(path: Path, error: OSError) -> UserError:
    return UserError(
        f"The journal {path} cannot be written ({error.strerror or error}): finished answers would "
        "be lost if the run ended, so give an --output_path with room that can be written."
    )
