"""Answers on disk as they are finished, so that a killed run goes on where it stood.

For: a file of JSON lines beside the output: a header that says which model and which engine, then
one line an answer, found again by everything that decides it. Only whole lines count.
Not for: results; a journal is cleared away when lm-eval has saved those. Nor for greedy
log-likelihoods, which are quick to do again.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from iha_eval.errors import UserError
from iha_eval.models.requests import Answer, GenerateRequest
from iha_eval.util.files import compact, sha256, write_whole
from iha_eval.util.log import logger

FORMAT = 1
# Seconds between forcing lines out of the system's cache, which only a power cut empties.
SYNC = 1.0


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

    Raises:
        UserError: the folder cannot be written, or another process writes to the journal.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        """Opens it, and reads what it holds."""
        self.path = folder / f"journal-{sha256(identity)[:12]}.jsonl"
        self.identity = dict(identity)
        self.used: set[str] = set()
        self._answers: dict[str, Answer] = {}
        self._synced = time.monotonic()
        self._file = -1
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
        lines = self._without(keys)
        if len(lines) - 1 == self.count:
            return
        self._replace(lines)
        self.close()
        self._open()

    def close(self) -> None:
        """Let go of the file; it stays. May be called twice."""
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
                self._file = _open_locked(self.path)
            lines = self._without(self.used)
            if len(lines) > 1:
                self._replace(lines)
            else:
                self.path.unlink(missing_ok=True)
        except OSError as error:
            raise _refusal(self.path, error) from error
        self.close()

    def _without(self, keys: Collection[str]) -> list[bytes]:
        """The header, and the lines of answers of other keys."""
        whole, _ = _split(self.path.read_bytes())
        header, *lines = whole.splitlines(keepends=True) or [b""]
        found = ((_key(line), line) for line in lines)
        return [header, *(line for key, line in found if key is not None and key not in keys)]

    def _replace(self, lines: Sequence[bytes]) -> None:
        """Put a file of these lines in the journal's place, in one step."""
        try:
            write_whole(self.path, b"".join(lines))
        except OSError as error:
            raise _refusal(self.path, error) from error

    def _open(self) -> None:
        self._answers = {}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _open_locked(self.path)
            self._read()
        except OSError as error:
            raise _refusal(self.path, error) from error

    def _read(self) -> None:
        whole, rest = _split(self.path.read_bytes())
        if rest:
            # A kill in the middle of a line; the next one must begin on its own.
            os.ftruncate(self._file, len(whole))
        lines = whole.splitlines()
        if lines and _header(lines[0]) is None:
            self._put_aside()
            lines = []
        if not lines:
            self._write({"journal": FORMAT, "identity": self.identity})
            return
        broken = 0
        for line in lines[1:]:
            try:
                entry = json.loads(line)
                answer = Answer(entry["text"], int(entry["tokens"]), bool(entry["cut"]))
                self._answers[entry["key"]] = answer
            except (ValueError, KeyError, TypeError):
                broken += 1
        if broken:
            logger.warning(
                "%s has %d lines that cannot be read: what they held is generated again.",
                self.path,
                broken,
            )

    def _put_aside(self) -> None:
        """Keep a file that is no journal of this release, and begin a new one."""
        aside = self.path.with_suffix(".unread")
        self.path.replace(aside)
        logger.warning(
            "%s was not written by this release, or is damaged: it is kept as %s and not used.",
            self.path,
            aside.name,
        )
        self.close()
        self._file = _open_locked(self.path)

    def _write(self, line: Mapping[str, Any]) -> None:
        data = json.dumps(line, default=str).encode() + b"\n"
        while data:
            data = data[os.write(self._file, data) :]


def others(folder: Path, identity: Mapping[str, Any]) -> dict[Path, list[str]]:
    """Journals in a folder that belong to another model or engine, and in what those differ.

    Journals that another process is writing are left out: that run is under way.
    """
    found = {}
    own = folder / f"journal-{sha256(identity)[:12]}.jsonl"
    for path in sorted(folder.glob("journal-*.jsonl")):
        with contextlib.suppress(OSError):
            theirs = None if path == own or _is_locked(path) else _first_header(path)
            if theirs is not None:
                found[path] = differences(theirs, json.loads(compact(identity)))
    return found


def differences(theirs: Any, ours: Any, name: str = "") -> list[str]:
    """Names of the fields in which two identities differ, nested ones joined by dots."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return [
            found
            for field in sorted({*theirs, *ours})
            for found in differences(
                theirs.get(field), ours.get(field), f"{name}.{field}" if name else field
            )
        ]
    return [] if theirs == ours else [name]


def _open_locked(path: Path) -> int:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(file)
            raise UserError(
                f"{path} is being written by another run of the same command: wait for that one to "
                "end, or give this one another --output_path."
            ) from error
        # Between opening and locking, a run that ended may have removed it.
        if os.fstat(file).st_nlink:
            return file
        os.close(file)


def _is_locked(path: Path) -> bool:
    file = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _split(data: bytes) -> tuple[bytes, bytes]:
    end = data.rfind(b"\n") + 1
    return data[:end], data[end:]


def _key(line: bytes) -> Any:
    try:
        return json.loads(line)["key"]
    except (ValueError, KeyError, TypeError):
        return None


def _header(line: bytes) -> Mapping[str, Any] | None:
    try:
        entry = json.loads(line)
        return dict(entry["identity"]) if entry["journal"] == FORMAT else None
    except (ValueError, KeyError, TypeError):
        return None


def _first_header(path: Path) -> Mapping[str, Any] | None:
    with path.open("rb") as file:
        return _header(file.readline())


def _refusal(path: Path, error: OSError) -> UserError:
    return UserError(
        f"The journal {path} cannot be written ({error.strerror or error}): finished answers would "
        "be lost if the run ended, so give an --output_path with room that can be written."
    )
