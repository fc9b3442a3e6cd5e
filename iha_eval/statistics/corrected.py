"""P-values of many cells, corrected for there being many.

For: the tables of a report, where each cell is one test and all of them are read together.
Not for: choosing what belongs to one family; the caller passes one family at a time.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from iha_eval.statistics.scores import Floats


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction: at most 5% of families with no true difference show one.

    Args:
        p_values: One a cell; None, for a cell without a test, stays None and is not counted.

    Raises:
        ValueError: If a p-value is NaN or outside [0, 1].
    """
    return _among_tested(p_values, _holm)


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


def _holm(tested: Floats) -> Floats:
    order = np.argsort(tested, kind="stable")
    scaled = tested[order] * np.arange(tested.size, 0, -1)
    corrected = np.empty_like(tested)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return corrected
