"""Statistics of one model against another: differences, p-values, power, verdicts, trends.

For: per-question scores in [0, 1] of two runs, paired by question or not.
Not for: reading runs, pairing their questions, or laying out a report.

Nothing here writes a file or draws a number that the seed does not fix.
"""

from iha_eval.statistics.corrected import benjamini_hochberg, holm
from iha_eval.statistics.difference import Difference, Estimate, Pairs, PValue, Status
from iha_eval.statistics.level import Level, level
from iha_eval.statistics.paired import compare_paired, paired_difference, paired_p
from iha_eval.statistics.power import mcnemar_power, required_questions, smallest_difference
from iha_eval.statistics.scores import ALPHA, CONFIDENCE, POWER
from iha_eval.statistics.seeds import SeedDifference, seed_difference
from iha_eval.statistics.sequential import (
    Drop,
    Watch,
    clear_since,
    look_confidence,
    threshold,
    watch,
)
from iha_eval.statistics.trend import Step, Trend, find_steps
from iha_eval.statistics.unpaired import compare_unpaired, unpaired_difference, unpaired_p
from iha_eval.statistics.verdict import MARGIN, Verdict, verdict

__all__ = [
    "ALPHA",
    "CONFIDENCE",
    "MARGIN",
    "POWER",
    "Difference",
    "Drop",
    "Estimate",
    "Level",
    "PValue",
    "Pairs",
    "SeedDifference",
    "Status",
    "Step",
    "Trend",
    "Verdict",
    "Watch",
    "benjamini_hochberg",
    "clear_since",
    "compare_paired",
    "compare_unpaired",
    "find_steps",
    "holm",
    "level",
    "look_confidence",
    "mcnemar_power",
    "paired_difference",
    "paired_p",
    "required_questions",
    "seed_difference",
    "smallest_difference",
    "threshold",
    "unpaired_difference",
    "unpaired_p",
    "verdict",
    "watch",
]
