"""What NVIDIA RULER's multi-key needle tasks are: sentences, kinds of keys and values, figures.

For: every number and format string that makes a document a RULER document, in one place.
Not for: drawing, sizing or scoring documents.

Source: NVIDIA/RULER, scripts/synthetic.yaml (niah_multikey_1 to 3),
scripts/data/synthetic/constants.py and niah.py.
"""

from dataclasses import dataclass
from typing import Literal

from iha_eval.errors import UserError

#: Raise it with any change that alters a document; cached documents and hashes depend on it.
GENERATOR_VERSION = 1

#: Tokens a model may generate per document.
NEW_TOKENS = 128

#: Documents per task.
DOCUMENTS = 500

#: Lengths of the nine standard tasks, in tokens, prompt and generation together.
LENGTHS = (4096, 8192, 16384)

#: Depths a needle can have in an essay haystack, in percent of its sentences: 40 points from 0 to
#: 100.
DEPTHS = tuple(round(100 * i / 39) for i in range(40))

NEEDLE = "One of the special magic {kind}s for {key} is: {value}."
QUESTION = (
    "A special magic {kind} is hidden within the following text. Make sure to memorize it. "
    "I will quiz you about the {kind} afterwards.\n{context}\n"
    "What is the special magic {kind} for {key} mentioned in the provided text?"
)
ANSWER_PREFIX = "The special magic {kind} for {key} mentioned in the provided text is"

Kind = Literal["number", "uuid"]


@dataclass(frozen=True)
class Variant:
    """One of the three multi-key tasks.

    Attributes:
        name: `multikey_1`, `_2` or `_3`.
        haystack: `essay` for running prose, `needles` for lines that are needles themselves.
        keys: Number of needles besides those of the haystack; one of them is asked for.
        key_kind: `word` for adjective-noun, `uuid` for a random UUID (version 4).
        value_kind: `number` for seven digits, `uuid` for a random UUID.
    """

    name: str
    haystack: Literal["essay", "needles"]
    keys: int
    key_kind: Literal["word", "uuid"]
    value_kind: Kind

    def needle(self, key: str, value: str) -> str:
        """The sentence that hides `value` under `key`."""
        return NEEDLE.format(kind=self.value_kind, key=key, value=value)

    def question(self, context: str, key: str) -> str:
        """The whole user text: instruction, haystack with needles, question."""
        return QUESTION.format(kind=self.value_kind, context=context, key=key)

    def answer_prefix(self, key: str) -> str:
        """The words the answer opens with; they belong to the prompt."""
        return ANSWER_PREFIX.format(kind=self.value_kind, key=key)


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("multikey_1", "essay", 4, "word", "number"),
        Variant("multikey_2", "needles", 1, "word", "number"),
        Variant("multikey_3", "needles", 1, "uuid", "uuid"),
    )
}


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
