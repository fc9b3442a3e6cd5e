"""What the paper reports for IHA and for its full-attention baseline, to stand beside our numbers.

For: a reference column. Not for: judging anything: the paper's models have 2.4 billion parameters,
and its prompts and documents are its own.

Source: arXiv:2602.21371.
"""

from dataclasses import dataclass
from typing import Any

SOURCE = "arXiv:2602.21371"

_TUNED = "2.4B parameters, fine-tuned, 16 answers at temperature 0.6"
_PRETRAINED = "2.4B parameters, pretrained, 5 examples"
_RULER = "2.4B parameters, RULER multi-key retrieval, relative to the global baseline"


@dataclass(frozen=True)
class PaperResult:
    """One number of the paper.

    Attributes:
        note: Of what it is.
        iha: Score of IHA, 0 to 1; None where only a ratio is reported.
        baseline: Score of the global baseline, 0 to 1; None where only a ratio is reported.
        relative: The difference as a share of the baseline's score.
    """

    note: str
    iha: float | None
    baseline: float | None
    relative: float

    def as_dict(self) -> dict[str, Any]:
        """For report.json."""
        return {
            "iha": self.iha,
            "baseline": self.baseline,
            "relative": self.relative,
            "note": f"{SOURCE}: {self.note}",
        }


def _scores(note: str, iha: float, baseline: float) -> PaperResult:
    return PaperResult(note, iha / 100, baseline / 100, (iha - baseline) / baseline)


REFERENCES: dict[tuple[str, str], PaperResult] = {
    ("ruler_mk_4k", "string_match"): PaperResult(_RULER, None, None, 0.27),
    ("ruler_mk_8k", "string_match"): PaperResult(_RULER, None, None, 0.32),
    ("ruler_mk_16k", "string_match"): PaperResult(_RULER, None, None, 1.12),
    ("gsm8k_maj", "p@1"): _scores(_TUNED, 34.3, 29.5),
    ("gsm8k_maj", "maj@16"): _scores(_TUNED, 54.2, 48.4),
    ("math500_maj", "p@1"): _scores(_TUNED, 10.0, 8.8),
    ("math500_maj", "maj@16"): _scores(_TUNED, 18.4, 15.6),
    ("gsm8k_5shot_em", "exact_match"): _scores(_PRETRAINED, 8.34, 5.61),
    ("gsm8k_5shot_maj", "maj@5"): _scores(_PRETRAINED, 8.42, 5.61),
    ("math500_4shot_em", "exact_match"): _scores(_PRETRAINED, 3.54, 2.88),
}
"""Task (or what stands for several) and metric -> what the paper has for it."""


def reference(task: str, metric: str) -> dict[str, Any] | None:
    """The paper's number for a row of a table, in the form of report.json; None if it has none."""
    found = REFERENCES.get((task, metric))
    return found.as_dict() if found else None
