"""How many answers a model in training has right on texts that it is not trained on.

For: a cheap look at each length on the way; an answer counts if every token of it is the most
likely one, which is what greedy decoding would have given.
Not for: the scores that are reported; those are lm-eval's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from iha_eval.ruler import VARIANTS
from iha_eval.ruler.stream import Stream
from recipes.needle.documents import IGNORED, PURPOSE, Text

if TYPE_CHECKING:
    from recipes.needle.train import Trainer

# In percent, the part of a text that answers may take: most of it is to be searched.
SHARE = 0.1


def exact_answers(trainer: Trainer) -> dict[str, float]:
    """Part of the answers that are right, for each (variant, length) of the preset."""
    preset, shares = trainer.preset, {}
    trainer.model.eval()
    for name, length in preset.held_out:
        right = asked = number = 0
        while asked < preset.questions:
            stream = Stream(PURPOSE, "held out", name, length, number)
            text = trainer.writer.write(VARIANTS[name], length, SHARE, stream)
            found = _right(trainer, text)
            right, asked, number = right + sum(found), asked + len(found), number + 1
        shares[f"{name}@{length}"] = round(right / asked, 4)
    trainer.model.train()
    return shares


@torch.no_grad()
def _right(trainer: Trainer, text: Text) -> list[bool]:
    """For each answer of a text, whether all of it is most likely given what comes before."""
    from recipes.needle.train import answers

    ids = torch.tensor([text.ids], device=trainer.device)
    targets = torch.tensor([text.targets], device=trainer.device)
    logits, learned = answers(trainer.model, ids, targets)
    hits = (logits.argmax(-1) == learned).tolist()
    places = (targets[0, 1:] != IGNORED).nonzero().flatten().tolist()
    found: list[bool] = []
    for number, (place, hit) in enumerate(zip(places, hits, strict=True)):
        if number == 0 or place != places[number - 1] + 1:
            found.append(True)
        found[-1] &= hit
    return found
