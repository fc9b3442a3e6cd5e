"""What is trained on when: batches, the same for both models, from short texts to long ones.

For: the batch of a step, which depends on the seed and the step alone, so that a run can go on
anywhere and two models see the same.
Not for: what a text consists of (see `documents.py`).
"""

from dataclasses import dataclass

import torch

from iha_eval.ruler import VARIANTS
from iha_eval.ruler.draw import Stream
from recipes.needle.documents import IGNORED, PURPOSE, Text, Writer


@dataclass(frozen=True)
class Stage:
    """Some steps of training.

    Attributes:
        length: Tokens of the longest texts.
        steps: How many.
        essays: In percent, texts of `multikey_1`.
        uuids: In percent, texts of `multikey_3`; the rest are `multikey_2`.
        shorter: In percent, batches of a shorter length, so that it is not forgotten.
        drills: If not 0, all texts are drills of so many needles at most.
    """

    length: int
    steps: int
    essays: int = 0
    uuids: int = 0
    shorter: int = 0
    drills: int = 0


SHORTEST, SHORTEST_ESSAY, SHORTEST_UUIDS = 128, 256, 512


def batch(
    writer: Writer, stage: Stage, tokens: int, seed: int, step: int, pad: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and targets of a step, [B, T] both; T is the length, B * T about `tokens`.

    Args:
        writer: Writes the texts.
        stage: What kinds of texts.
        tokens: Of a batch.
        seed: Of the run.
        step: Counted over the whole run.
        pad: Id that fills rows up; they are never targets and come last, so need no mask.
    """
    dice = Stream(PURPOSE, "train", seed, step)
    length = stage.length
    while dice.integer(100) < stage.shorter and length > SHORTEST:
        length //= 2
    rows = max(tokens // length, 1)
    ids = torch.full((rows, length), pad)
    targets = torch.full((rows, length), IGNORED)
    for row in range(rows):
        text = _text(writer, stage, length, Stream(PURPOSE, "train", seed, step, row))
        ids[row, : len(text.ids)] = torch.tensor(text.ids)
        targets[row, : len(text.ids)] = torch.tensor(text.targets)
    return ids, targets


def _text(writer: Writer, stage: Stage, length: int, stream: Stream) -> Text:
    """One text of a stage's kinds."""
    if stage.drills:
        return writer.drill(VARIANTS["multikey_2"], length, stage.drills, stream)
    kind, name = stream.integer(100), "multikey_2"
    if kind < stage.essays and length >= SHORTEST_ESSAY:
        name = "multikey_1"
    elif kind >= 100 - stage.uuids and length >= SHORTEST_UUIDS:
        name = "multikey_3"
    share = (5 + stream.integer(46)) / 100
    return writer.write(VARIANTS[name], length, share, stream)
