"""How far two readings are apart, and whether greedy text would be the same.

For: differences in log-probability, judged against a limit, which is fixed in float32 and measured
in narrower types. Not for: what follows (`report.py`).
"""

import math
from collections.abc import Sequence as Items
from dataclasses import dataclass

from iha_eval.verify.reading import Reading, ReadingRow, Sequence

#: Nats, in float32. Implementations sum in different orders, and with depth that grows: the
#: embedded models, on prose that they were not trained on, differ by up to 3e-4 at one token of a
#: thousand (6e-6 in the mean), a real one of 30 layers by 5e-5. A mask or position that is wrong by
#: one token shows as 1e-2 and more.
TOLERANCE = 1e-3

#: In a narrower type, an implementation may be this many times as far from the float32 reference as
#: Transformers in the same type is: in the mean, which is stable over hundreds of tokens, and at
#: the worst token, which is not.
MEAN_FACTOR, LARGEST_FACTOR = 2.0, 4.0


@dataclass(frozen=True)
class Limit:
    """What two readings may differ by.

    Attributes:
        largest: At any token, in nats.
        mean: Over all tokens, in nats.
        tie: Gap within which two tokens are as likely, in nats.
    """

    largest: float
    mean: float
    tie: float


def exact_limit(tolerance: float = TOLERANCE) -> Limit:
    """The limit in float32."""
    # Each of the two tokens may be off by that much.
    return Limit(tolerance, tolerance, 2 * tolerance)


def measured_limit(largest: float, mean: float, tolerance: float = TOLERANCE) -> Limit:
    """The limit in a narrower type, from what that type does to Transformers.

    Args:
        largest: Largest difference of Transformers in this type from itself in float32, in nats.
        mean: The mean difference.
        tolerance: The least limit, for types that change nothing.

    Returns:
        The limit; that of float32 where the type is too narrow for the model, so that what it
        does is no number to measure by.
    """
    if not (math.isfinite(largest) and math.isfinite(mean)):
        return exact_limit(tolerance)
    return Limit(
        max(tolerance, LARGEST_FACTOR * largest),
        max(tolerance, MEAN_FACTOR * mean),
        # Without the factor: with it, ties would excuse tokens that are clearly not as likely.
        2 * max(tolerance, largest),
    )


@dataclass(frozen=True)
class ReadingDifference:
    """Two readings of one sequence.

    Attributes:
        first: Name of a reading.
        second: Name of the other.
        prompt: Name of the prompt.
        largest: Largest difference in log-probability, in nats; inf where one is not a number.
        mean: Mean of the differences.
        token: Index of the token where it is largest.
        count: Number of tokens compared; 0 where no token was read by both.
        limit: What is allowed; None where nothing is judged.
    """

    first: str
    second: str
    prompt: str
    largest: float
    mean: float
    token: int
    count: int
    limit: Limit | None

    @property
    def agrees(self) -> bool:
        """Whether the largest difference is allowed; the mean is judged over all prompts."""
        return self.limit is None or not self.count or self.largest <= self.limit.largest


@dataclass(frozen=True)
class GreedyChoice:
    """Where a reading prefers another token than the reference's greedy one.

    Attributes:
        reading: Its name.
        prompt: Name of the prompt.
        step: Which generated token, from 0.
        gap: By how much it prefers the other, in nats.
        tie: Whether both are as likely as the allowed difference can tell.
    """

    reading: str
    prompt: str
    step: int
    gap: float
    tie: bool


def differences(
    first: Reading,
    second: Reading,
    sequences: Items[Sequence],
    limit: Limit | None,
    last: int | None = None,
) -> list[ReadingDifference]:
    """Compare two readings sequence by sequence.

    Args:
        first: One.
        second: The other.
        sequences: What both read.
        limit: What is allowed; None to compare without judging.
        last: Index of the last token to compare; None for all.
    """
    compared = []
    for sequence, own_row, other_row in zip(sequences, first.rows, second.rows, strict=True):
        deltas = {index: abs(gap) for index, gap in _deltas(own_row, other_row, last).items()}
        token = max(deltas, key=deltas.__getitem__, default=0)
        mean = sum(deltas.values()) / len(deltas) if deltas else 0.0
        compared.append(
            ReadingDifference(
                first.name,
                second.name,
                sequence.prompt.name,
                deltas.get(token, 0.0),
                mean,
                token,
                len(deltas),
                limit,
            )
        )
    return compared


def choices(
    reading: Reading, sequences: Items[Sequence], tie: float, last: int | None = None
) -> list[GreedyChoice]:
    """Where greedy text would part from the reference's, teacher-forced on the latter.

    Args:
        reading: What is asked.
        sequences: With the reference's greedy continuations.
        tie: Gap up to which two tokens are as likely as each other.
        last: Index of the last token to ask about; None for all.
    """
    apart = []
    for sequence, row in zip(sequences, reading.rows, strict=True):
        start = len(sequence.prompt.ids)
        end = row.end if last is None else min(row.end, last + 1)
        for index in range(start, end):
            own, best = row.at(index)
            if own != best:
                gap = _number(best - own)
                apart.append(
                    GreedyChoice(reading.name, sequence.prompt.name, index - start, gap, gap <= tie)
                )
    return apart


def pooled_mean(compared: Items[ReadingDifference]) -> float:
    """Mean difference over all tokens of several sequences."""
    count = sum(difference.count for difference in compared)
    return (
        sum(difference.mean * difference.count for difference in compared) / count if count else 0.0
    )


def _deltas(own_row: ReadingRow, other_row: ReadingRow, last: int | None) -> dict[int, float]:
    end = min(own_row.end, other_row.end)
    if last is not None:
        end = min(end, last + 1)
    places = range(max(own_row.first, other_row.first), end)
    return {index: _number(own_row.at(index)[0] - other_row.at(index)[0]) for index in places}


def _number(value: float) -> float:
    return value if math.isfinite(value) else math.inf
