"""What the paper reports for IHA and for its four other models, to stand beside our numbers.

For: a reference column, with what does not fit beside it. Not for: judging anything: the paper's
models have 2.4 billion parameters, and its prompts and documents are its own.

Source: arXiv:2602.21371, Tables 1 and 2, Figure 2, and the text for the average over RULER.
"""

from dataclasses import dataclass
from typing import Any

SOURCE = "arXiv:2602.21371"

#: The models of Tables 1 and 2, in the order of the numbers below; Global is full attention.
MODELS = ("IHA", "Global", "Global+Local", "Talking Heads", "Diff")

_TUNED = "Table 1: 2.4B parameters, fine-tuned, 16 answers at temperature 0.6"
_PRETRAINED = "Table 2: 2.4B parameters, pretrained, 5 examples"
_RULER = "Figure 2: 2.4B parameters, RULER multi-key retrieval, relative to the global baseline"

_RULER_CAVEAT = (
    "the text and Figure 2 have +27, +32 and +112% at 4k, 8k and 16k, the abstract 10-20%; "
    "scores are not given"
)
_SUITE = "text: 2.4B parameters, average EM over all of RULER"
_SUITE_CAVEAT = (
    "the paper calls it EM and names no lengths; string match is RULER's own share of references "
    "found, here at 4k, 8k and 16k, the lengths of Figure 2"
)
_MATH_CAVEATS = (
    "3.54, 2.88 and 2.26% are no multiples of 0.2, so they are not one greedy run of 500 questions "
    "(they are 177, 144 and 113 of 5,000)",
    "the paper gives 5 examples, math500_4shot four",
)
_VOTE_CAVEAT = "Maj@5 and exact match differ by at most 2 of 1,319 questions in all five models"
_CODE_CAVEAT = "lm-eval's own prompts, with another number of examples"


@dataclass(frozen=True)
class PaperResult:
    """What the paper has for one row.

    Attributes:
        note: What it is.
        percents: Scores of `MODELS` in percent, None where there is none; empty where only a ratio
            is reported.
        ratio: The difference between IHA and Global as a share of Global's score, where that is all
            there is.
        caveats: What does not fit.
    """

    note: str
    percents: tuple[float | None, ...] = ()
    ratio: float | None = None
    caveats: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For report.json: scores from 0 to 1."""
        scores = {
            name: None if percent is None else percent / 100
            for name, percent in zip(MODELS, self.percents, strict=False)
        }
        iha, baseline = scores.get("IHA"), scores.get("Global")
        computed = iha / baseline - 1 if iha is not None and baseline else None
        return {
            "iha": iha,
            "baseline": baseline,
            "relative": self.ratio if computed is None else computed,
            "note": f"{SOURCE}, {self.note}",
            "models": scores,
            "caveat": "; ".join(self.caveats) or None,
        }


#: Task (or what stands for several) and metric -> what the paper has for it.
PAPER_RESULTS: dict[tuple[str, str], PaperResult] = {
    ("ruler_mk_4k", "string_match"): PaperResult(_RULER, ratio=0.27, caveats=(_RULER_CAVEAT,)),
    ("ruler_mk_8k", "string_match"): PaperResult(_RULER, ratio=0.32, caveats=(_RULER_CAVEAT,)),
    ("ruler_mk_16k", "string_match"): PaperResult(_RULER, ratio=1.12, caveats=(_RULER_CAVEAT,)),
    ("ruler_all", "string_match"): PaperResult(
        _SUITE, (44.0, 35.0, 40.6, None, 37.2), caveats=(_SUITE_CAVEAT,)
    ),
    ("gsm8k_maj", "p@1"): PaperResult(_TUNED, (34.3, 29.5, 26.5, 29.3, 31.6)),
    ("gsm8k_maj", "maj@16"): PaperResult(_TUNED, (54.2, 48.4, 46.9, 49.4, 53.5)),
    ("math500_maj", "p@1"): PaperResult(_TUNED, (10.0, 8.8, 7.6, 7.8, 9.0)),
    ("math500_maj", "maj@16"): PaperResult(_TUNED, (18.4, 15.6, 15.0, 18.2, 18.0)),
    ("gsm8k_5shot_em", "exact_match"): PaperResult(_PRETRAINED, (8.34, 5.61, 6.82, 5.46, 5.46)),
    ("gsm8k_5shot_maj", "maj@5"): PaperResult(
        _PRETRAINED, (8.42, 5.61, 6.90, 5.38, 5.61), caveats=(_VOTE_CAVEAT,)
    ),
    ("math500_4shot_em", "exact_match"): PaperResult(
        _PRETRAINED, (3.54, 2.88, 2.26, None, None), caveats=_MATH_CAVEATS
    ),
    ("mbpp", "pass_at_1"): PaperResult(
        _PRETRAINED, (24.5, 23.4, 23.6, 23.8, 25.0), caveats=(_CODE_CAVEAT,)
    ),
    ("humaneval", "pass@1,create_test"): PaperResult(
        _PRETRAINED, (17.1, 17.2, 16.0, 16.0, 15.4), caveats=(_CODE_CAVEAT,)
    ),
}


def reference(task: str, metric: str) -> dict[str, Any] | None:
    """The paper's numbers for a row of a table, in the form of report.json; None if it has none."""
    result = PAPER_RESULTS.get((task, metric))
    return result.as_dict() if result else None
