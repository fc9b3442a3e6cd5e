"""Which worked examples the prompts of a task hold: the same ones for every question.

For: a prefix that all prompts of a task share, and a record of what it was.
Not for: how examples are laid out (prompts.py). Nothing here reads a test set.
"""

import hashlib
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iha_eval.data import GSM8K_TRAIN, load_rows
from iha_eval.errors import UserError
from iha_eval.reasoning.example import Example

OWN, TRAIN = "own", "train"
SOURCES = (OWN, TRAIN)

# GSM8K's calculator annotations, as in 48/2 = <<48/2=24>>24.
_ANNOTATION = re.compile(r"<<[^<>]*>>")


def train_examples(folder: Path | None, seed: int) -> list[Example]:
    """All of GSM8K's training rows as examples, in an order drawn by seed.

    The first five of eight are thus what five alone would be.

    Args:
        folder: The data folder; None for the hub.
        seed: Of the order.

    Raises:
        UserError: The training set is missing or broken.
    """
    rows = load_rows(GSM8K_TRAIN, folder).rows
    random.Random(seed).shuffle(rows)
    return [from_gsm8k(row["question"], row["answer"]) for row in rows]


def from_gsm8k(question: str, answer: str) -> Example:
    """A row of GSM8K as an example: without annotations, its `#### n` rewritten."""
    steps, _, final = answer.rpartition("####")
    return Example(question.strip(), _ANNOTATION.sub("", steps).strip(), final.strip())


def first(examples: Sequence[Example], count: int, task: str) -> list[Example]:
    """The examples of a prompt.

    Args:
        examples: All there are.
        count: How many are asked for.
        task: Whose they are, for the message.

    Raises:
        UserError: There are fewer, or the number is negative.
    """
    if not 0 <= count <= len(examples):
        raise UserError(
            f"num_fewshot={count} is not possible for {task}, which has {len(examples)} worked "
            f"examples: use --num_fewshot 0 to {len(examples)}."
        )
    return list(examples[:count])


def examples_record(examples: Sequence[Example], source: str, seed: int) -> dict[str, Any]:
    """Provenance of the examples in a prompt, for the results file."""
    if not examples:
        return {"source": "none", "count": 0}
    text = json.dumps([[one.problem, one.solution] for one in examples])
    record: dict[str, Any] = {
        "source": source,
        "count": len(examples),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    return {**record, "seed": seed} if source == TRAIN else record
