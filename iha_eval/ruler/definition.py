"""Names, lengths and numbers that all RULER tasks share.

For: what makes a task name, and how metadata changes lengths and numbers of documents.
Not for: what a task asks; each family's module says so (niah.py, vt.py, cwe.py, fwe.py, qa.py).
"""

from iha_eval.errors import UserError

#: Raise it with any change that alters a document; cached documents and hashes depend on it.
GENERATOR_VERSION = 1

#: Documents per task.
DOCUMENTS = 500

#: Lengths that groups take together, in tokens, prompt and generation together.
LENGTHS = (4096, 8192, 16384)

#: All lengths that leaf tasks have.
ALL_LENGTHS = (*LENGTHS, 32768, 65536, 131072)

#: A document fills at least this share of its length, except where no unit is small enough.
LEAST_FILL = 0.98


class NoRoomError(UserError):
    """A length is too short for a task, or longer than all there is to fill it with."""


def length_label(length: int) -> str:
    """A length as task names have it: 4096 is `4k`, 1000 is `1000`."""
    return f"{length // 1024}k" if length % 1024 == 0 else str(length)


def task_name(variant: str, length: int) -> str:
    """The name of one cell, such as `ruler_mk_multikey_1_4k`."""
    return f"ruler_mk_{variant}_{length_label(length)}"


def parse_count(value: object) -> int:
    """The number of documents of a cell in a metadata value; the first 500 are the usual ones.

    Raises:
        UserError: If it is no positive integer.
    """
    if type(value) is not int or value <= 0:
        raise UserError(
            f"metadata 'documents' must be a number of documents, not {value!r}; for example "
            """--metadata '{"documents": 2000}'."""
        )
    return value


def parse_lengths(value: object) -> list[int]:
    """The lengths in a metadata value: an integer or a list of them, in tokens, without repeats.

    Raises:
        UserError: If there is none, or one that is not a positive integer.
    """
    items = value if isinstance(value, list | tuple) else [value]
    if not items or not all(type(item) is int and item > 0 for item in items):
        raise UserError(
            f"metadata 'lengths' must be a number of tokens or a list of them, not {value!r}; "
            """for example --metadata '{"lengths": [1024, 32768]}'."""
        )
    return list(dict.fromkeys(items))
