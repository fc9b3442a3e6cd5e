"""A checkpoint read by the naive implementation, which is the paper's text as code.

For: IHA and plain Llama checkpoints, in float32 on the CPU, straight from the safetensors files.
Not for: long sequences: it forms all (N*P)^2 scores of a layer, so only as many first tokens of a
sequence are read as memory allows; causality makes that the same as reading it whole.
"""

import math
import time
from collections.abc import Sequence as Items

import torch
from safetensors.torch import load_file

from iha_eval.verify.reading import Reading, ReadingRow, Sequence, row_of_logits
from model_adapters import naive
from model_adapters.bases import plain_as_iha
from model_adapters.checkpoint import Checkpoint
from model_adapters.config import IHAConfig

NAME = "naive"
# Scores, masked scores, weights, and one more while softmax works, in float32.
COPIES = 4
# Of the memory that is free, and never more.
SHARE, MOST = 0.25, 2 * 2**30


def configuration(checkpoint: Checkpoint) -> IHAConfig | None:
    """The checkpoint's configuration as the naive implementation takes it; None if it cannot."""
    return plain_as_iha(checkpoint.config)


def reach(config: IHAConfig, free: int) -> int:
    """Most tokens it may read at once.

    Args:
        config: The configuration.
        free: Bytes of memory that are free.
    """
    scores = min(MOST, SHARE * free) / (4 * COPIES * config.num_attention_heads)
    widest = max(map(config.pseudo_heads, range(config.num_hidden_layers)))
    return max(1, int(math.sqrt(scores)) // widest)


@torch.inference_mode()
def read(
    checkpoint: Checkpoint, config: IHAConfig, sequences: Items[Sequence], most: int
) -> Reading:
    """Read every sequence, up to `most` tokens of it.

    Args:
        checkpoint: Where the weights are.
        config: See `configuration`.
        sequences: What to read.
        most: See `reach`.
    """
    start = time.perf_counter()
    weights = {
        name: tensor.float()
        for file in sorted(checkpoint.path.glob("*.safetensors"))
        if not file.name.startswith("consolidated")
        for name, tensor in load_file(file).items()
    }
    rows = []
    for sequence in sequences:
        ids = sequence.ids[:most]
        # The last token is predicted, not read.
        logits = naive.logits(weights, config, ids[:-1]) if len(ids) > 1 else None
        rows.append(ReadingRow(1, (), ()) if logits is None else row_of_logits(logits, ids))
    return Reading(NAME, "float32", tuple(rows), time.perf_counter() - start)
