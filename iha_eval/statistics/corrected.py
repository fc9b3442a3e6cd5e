"""P-values of many cells, corrected for there being many.

For: the tables of a report, where each cell is one test and all of them are read together.
Not for: choosing what belongs to one family; the caller passes one family at a time.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from iha_eval.statistics.scores import Floats


def holm(
    p_values: Sequence[float | None], least: Sequence[float] | None = None
) -> list[float | None]:
    """Holm's step-down correction: at most 5% of families with no true difference show one.

    A cell in which hardly any question differs cannot show a difference, whatever the truth, and
    needs no share of the 5%: each p-value is multiplied by the number of cells, among those not yet
    passed, that could have given one as small (Tarone 1990).

    Args:
        p_values: One a cell; None, for a cell without a test, stays None and is not counted.
        least: The smallest p-value that each cell could have given; 0 of all if None, which is
            Holm's correction as he wrote it.

    Raises:
        ValueError: If a p-value is NaN or outside [0, 1].
    """
    smallest = [0.0] * len(p_values) if least is None else least
    of_tested = [low for p, low in zip(p_values, smallest, strict=True) if p is not None]
    return _among_tested(p_values, lambda tested: _holm(tested, np.array(of_tested)))


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Benjamini and Hochberg's correction: of the differences shown, 5% are false in the long run.

    Args:
        p_values: One a cell; None, for a cell without a test, stays None and is not counted.

    Raises:
        ValueError: If a p-value is NaN or outside [0, 1].
    """
    return _among_tested(p_values, lambda tested: stats.false_discovery_control(tested))


def _among_tested(
    p_values: Sequence[float | None], correct: Callable[[Floats], Floats]
) -> list[float | None]:
    tested = np.array([p for p in p_values if p is not None], dtype=np.float64)
    if not ((tested >= 0) & (tested <= 1)).all():
        raise ValueError(f"p-values must lie between 0 and 1, not {list(p_values)}")
    # false_discovery_control refuses an empty family.
    corrected = iter(correct(tested).tolist() if tested.size else [])
    return [None if p is None else float(next(corrected)) for p in p_values]


def _holm(tested: Floats, least: Floats) -> Floats:
    order = np.argsort(tested, kind="stable")
    remaining = [
        int((least[order[place:]] <= tested[cell]).sum()) for place, cell in enumerate(order)
    ]
    corrected = np.empty_like(tested)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(tested[order] * remaining))
    return corrected
