"""How large a difference may be: fixed in float32, measured in narrower types.

For: one place for the numbers and their reasons. Not for: applying them (`compare.py`).
"""

import math
from dataclasses import dataclass

TOLERANCE = 1e-3
"""Nats, in float32. Implementations sum in different orders, and with depth that grows: the
embedded models, on prose that they were not trained on, differ by up to 3e-4 at one token of a
thousand (6e-6 in the mean), a real one of 30 layers by 5e-5. A mask or position that is wrong by
one token shows as 1e-2 and more."""

MEAN_FACTOR, LARGEST_FACTOR = 2.0, 4.0
"""In a narrower type, an implementation may be this many times as far from the float32 reference
as Transformers in the same type is: in the mean, which is stable over hundreds of tokens, and at
the worst token, which is not."""


@dataclass(frozen=True)
class Limit:
    """What two readings may differ by.

    Attributes:
        largest: at any token, in nats.
        mean: over all tokens, in nats.
        tie: gap within which two tokens are as likely, in nats.
    """

    largest: float
    mean: float
    tie: float


def exact(tolerance: float = TOLERANCE) -> Limit:
    """The limit in float32."""
    # Each of the two tokens may be off by that much.
    return Limit(tolerance, tolerance, 2 * tolerance)


def measured(largest: float, mean: float, tolerance: float = TOLERANCE) -> Limit:
    """The limit in a narrower type, from what that type does to Transformers.

    Args:
        largest: largest difference of Transformers in this type from itself in float32, in nats.
        mean: the mean difference.
        tolerance: the least limit, for types that change nothing.

    Returns:
        The limit; that of float32 where the type is too narrow for the model, so that what it
        does is no number to measure by.
    """
    if not (math.isfinite(largest) and math.isfinite(mean)):
        return exact(tolerance)
    return Limit(
        max(tolerance, LARGEST_FACTOR * largest),
        max(tolerance, MEAN_FACTOR * mean),
        # Without the factor: with it, ties would excuse tokens that are clearly not as likely.
        2 * max(tolerance, largest),
    )
