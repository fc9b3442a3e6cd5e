"""Logits that mean nothing, whichever engine computes them.

Not for: what is done about them (see `base.py`).
"""

import torch
from torch import Tensor


def non_finite_rows(logits: Tensor) -> Tensor:
    """Which rows of logits [rows, vocabulary] mean nothing, [rows].

    Those with a NaN or an infinity. Single entries of minus infinity are a model's way to rule
    tokens out, so only a row of nothing else counts.
    """
    # The largest value is NaN where any is.
    return ~torch.isfinite(logits.amax(-1))
