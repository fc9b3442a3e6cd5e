"""Rows of a benchmark: read, checked one by one, and hashed.

For: refusing a broken file with its line, before any token is generated, and for one hash that is
the same for a JSON-lines file and the hub's Parquet files.
Not for: where a file lies (sources.py).
"""

import gc
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from iha_eval.data.known import DataFile
from iha_eval.errors import UserError
from iha_eval.util.text import cut_short

Row = dict[str, Any]
"""The used fields of one row, in the order of `DataFile.fields`."""

_WORDS = {str: "a text", int: "a whole number", list: "a list"}


def read_rows(file: DataFile, path: Path) -> list[Row]:
    """The rows of a JSON-lines file; empty lines are passed over.

    Args:
        file: What it should be.
        path: Where it lies.

    Raises:
        UserError: It cannot be read, holds no row, or a line is not a row; with the line's number.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror or error}): make it a readable file, or name "
            "another folder."
        ) from error
    if file.whole:
        return check_rows(file, _of_whole(file, content, path), str(path))
    lines = enumerate(content.split(b"\n"), start=1)
    rows = [_parse(file, line, f"{path}, line {n}") for n, line in lines if line.strip()]
    if not rows:
        raise UserError(f"{path} is empty: put the {file.title} there, {describe(file)}.")
    return rows


@contextmanager
def uncollected() -> Iterator[None]:
    """Spare Python the search for garbage, which many new objects start among all others too."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def check_rows(file: DataFile, rows: Iterable[Mapping[str, Any]], where: str) -> list[Row]:
    """Rows that came from elsewhere, checked and reduced to the used fields.

    Raises:
        UserError: There is none, or one of them is not whole; with its number.
    """
    checked = [check_row(file, row, f"{where}, row {n}") for n, row in enumerate(rows, start=1)]
    if not checked:
        raise UserError(f"{where} is empty: it should be the {file.title}, {describe(file)}.")
    return checked


def check_row(file: DataFile, row: object, where: str) -> Row:
    """The used fields of one row.

    Args:
        file: What it belongs to.
        row: What was read.
        where: Its place, for the message.

    Raises:
        UserError: A field is missing, of another type, empty, or lacks the final answer.
    """
    if not isinstance(row, Mapping):
        raise UserError(f"{where} is not a JSON object: it should be {describe(file)}.")
    for name, kind in file.fields.items():
        if name not in row:
            raise UserError(f"{where} has no {name!r}: it should be {describe(file)}.")
        value = row[name]
        # Not isinstance: true is no number.
        if type(value) is not kind or not _is_usable(value):
            raise UserError(
                f"{where} has {name}={_short(value)}, which is not {_WORDS[kind]}: restore the "
                f"{file.title} there."
            )
    if file.final and file.final not in row["answer"]:
        raise UserError(
            f"{where} has an answer without {file.final!r}, after which the final answer stands: "
            f"restore the {file.title} there."
        )
    return {name: row[name] for name in file.fields}


def rows_sha256(rows: Iterable[Row]) -> str:
    """One hash over the used fields of all rows in their order, as 64 hex digits."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{json.dumps(list(row.values()))}\n".encode())
    return digest.hexdigest()


def describe(file: DataFile) -> str:
    """What its rows are, in words."""
    if file.whole:
        return "the JSON document as its authors publish it"
    names = [repr(name) for name in file.fields]
    return f"one JSON object a line with {', '.join(names[:-1])} and {names[-1]}"


def _parse(file: DataFile, line: bytes, where: str) -> Row:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not UTF-8: save the file as UTF-8.") from error
    # Brackets without end make json give up with a RecursionError.
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not JSON ({error}): it should be {describe(file)}.") from error
    return check_row(file, row, where)


def _is_usable(value: object) -> bool:
    if not isinstance(value, str):
        return True
    try:
        return bool(value.strip() and value.encode("utf-8"))
    except UnicodeEncodeError:
        # Half a character, which JSON can spell and no tokenizer takes.
        return False


def _short(value: object) -> str:
    return cut_short(ascii(value))


def _of_whole(file: DataFile, content: bytes, path: Path) -> list[dict[str, Any]]:
    """The rows of one JSON document.

    Raises:
        UserError: It is no JSON, or not built like the published file.
    """
    try:
        document = json.loads(content)
        return _squad(document) if file.whole == "squad" else _hotpotqa(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"{path} is not built like the {file.title} ({reason}): put {describe(file)} there."
        ) from error


def _squad(document: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a paragraph; questions that the paragraph does not answer are left out."""
    return [
        {
            "title": article["title"],
            "context": paragraph["context"],
            "questions": [
                [question["question"], [answer["text"] for answer in question["answers"]]]
                for question in paragraph["qas"]
                if not question["is_impossible"]
            ],
        }
        for article in document["data"]
        for paragraph in article["paragraphs"]
    ]


def _hotpotqa(document: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a question with its ten paragraphs, each below its title."""
    return [
        {
            "question": entry["question"],
            "answer": entry["answer"],
            "paragraphs": [f"{title}\n{''.join(lines)}" for title, lines in entry["context"]],
        }
        for entry in document
    ]


def squad_of_questions(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """SQuAD's rows of the hub, a question each, as a row a paragraph."""
    paragraphs: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        questions = paragraphs.setdefault((row["title"], row["context"]), [])
        if row["answers"]["text"]:
            questions.append([row["question"], list(row["answers"]["text"])])
    return [
        {"title": title, "context": context, "questions": questions}
        for (title, context), questions in paragraphs.items()
    ]
