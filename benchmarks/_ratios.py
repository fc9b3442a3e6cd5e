"""What is measured of two things in turn, as ratios of one to the other, round by round.

For: the tables of the benchmarks here. Not for: statistics of evaluations (`iha_eval.compare`).
"""

import statistics
from collections.abc import Sequence


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest of the rounds' ratios."""
    pairs = [own / other for own, other in zip(ours, theirs, strict=True)]
    return {"median": statistics.median(pairs), "min": min(pairs), "max": max(pairs)}


def cell(ratio: dict[str, float]) -> str:
    """A ratio, with its smallest and largest where it varies."""
    spread = f" ({ratio['min']:.2f} to {ratio['max']:.2f})" if "min" in ratio else ""
    return f"{ratio['median']:.2f}{spread}"
