"""The scores of each document, from lm-eval's sample files.

For: reading hundreds of megabytes of JSON lines and keeping hashes and numbers, and where each line
lies so that the few that are shown can be read once more.
Not for: texts (disagreements.py), nor for pairing (pairing.py).
"""

import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iha_eval.errors import UserError

HASHES = ("doc_hash", "prompt_hash", "target_hash")
"""What lm-eval hashes of each sample."""

Key = tuple[str, int]
"""Filter and document number: what tells the samples of one task apart."""

_OTHER = {
    *("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"),
    *HASHES,
}

# The end of an answer may be a token of the model's own.
_OWN = "until"


@dataclass(frozen=True, slots=True)
class Sample:
    """One document under one filter.

    Attributes:
        key: Filter and document number.
        hashes: The values of `HASHES`; None where the file has none.
        scores: Metric -> number, NaN where it is missing or not a number on this document.
        depth: Depth of the needle in percent, of documents that have one.
        place: Offset and length of the line, in bytes.
        request_settings: What was sent with its prompts, see `request_settings`.
    """

    key: Key
    hashes: tuple[str | None, ...]
    scores: Mapping[str, float]
    depth: float | None
    place: tuple[int, int]
    request_settings: str | None = None


@dataclass(frozen=True)
class TaskSamples:
    """The samples of one task.

    Attributes:
        path: The file.
        samples: By their keys, in the order of the file.
        warnings: What was wrong with the file, each a sentence.
    """

    path: Path
    samples: Mapping[Key, Sample]
    warnings: tuple[str, ...]


def read_samples(path: Path) -> TaskSamples:
    """Read a sample file; lines that cannot be read are left out, with a warning.

    Raises:
        UserError: The file cannot be read, or not one line of it can.
    """
    samples: dict[Key, Sample] = {}
    broken: list[int] = []
    repeated = 0
    for number, offset, line in _lines(path):
        sample = _sample(line, offset)
        if sample is None:
            broken.append(number)
        elif sample.key in samples:
            repeated += 1
        else:
            samples[sample.key] = sample
    if not samples:
        raise UserError(
            f"{path} has no line that can be read: it was cut off or changed, so run lm-eval again."
        )
    warnings = []
    if broken:
        shown = ", ".join(map(str, broken[:5])) + (", ..." if len(broken) > 5 else "")
        lines = "1 broken line" if len(broken) == 1 else f"{len(broken)} broken lines"
        warnings.append(f"{path.name} has {lines} (line {shown}): these documents are left out.")
    if repeated:
        warnings.append(
            f"{path.name} holds documents more than once ({repeated} lines): the first ones count."
        )
    return TaskSamples(path, samples, tuple(warnings))


def read_lines(path: Path, places: Mapping[Key, tuple[int, int]]) -> dict[Key, Mapping[str, Any]]:
    """Whole samples, read once more from where they lie.

    Args:
        path: The sample file.
        places: Key -> offset and length of its line.
    """
    entries: dict[Key, Mapping[str, Any]] = {}
    with path.open("rb") as file:
        for key, (offset, length) in sorted(places.items(), key=lambda item: item[1]):
            file.seek(offset)
            entry = parse(file.read(length))
            if entry is not None:
                entries[key] = entry
    return entries


def request_settings(arguments: object) -> str | None:
    """The settings that were sent with a document's prompts, as JSON; None if the line has none.

    Args:
        arguments: The entry `arguments` of a sample.
    """
    calls = list(arguments.values()) if isinstance(arguments, dict) else []
    settings = [call.get("arg_1") for call in calls if isinstance(call, dict)]
    texts = [
        json.dumps({name: request[name] for name in sorted(request) if name != _OWN})
        for request in settings
        if isinstance(request, dict)
    ]
    # Nearly all lines have the same.
    return sys.intern(f"[{', '.join(dict.fromkeys(texts))}]") if texts else None


def parse(line: bytes) -> dict[str, Any] | None:
    """A JSON object; broken UTF-8 becomes replacement characters; None if it is no object."""
    try:
        try:
            entry = json.loads(line)
        except UnicodeDecodeError:
            entry = json.loads(line.decode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Number, offset and content of each line that is not empty."""
    offset = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, offset, line
                offset += len(line)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror or error}): make it readable, or run lm-eval "
            "again with --log_samples."
        ) from error


def _sample(line: bytes, offset: int) -> Sample | None:
    entry = parse(line)
    if entry is None or type(entry.get("doc_id")) is not int:
        return None
    names = entry.get("metrics")
    if not isinstance(names, list):
        names = [name for name in entry if name not in _OTHER]
    doc = entry.get("doc")
    return Sample(
        key=(str(entry.get("filter", "none")), entry["doc_id"]),
        hashes=tuple(_text(entry.get(name)) for name in HASHES),
        scores={name: _number(entry.get(name)) for name in map(str, names)},
        depth=_depth(doc.get("depth")) if isinstance(doc, dict) else None,
        place=(offset, len(line)),
        request_settings=request_settings(entry.get("arguments")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else math.nan


def _depth(value: object) -> float | None:
    number = _number(value)
    return number if 0 <= number <= 100 else None
