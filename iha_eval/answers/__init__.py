"""Answers to math questions: finding them, comparing them, and voting over them.

For: `judge`, which turns the generations for one question into classes of equal answers, and the
scores P@1, pass@k and Maj@k of what it finds.
Not for: lm-eval's tasks and their documents. Importing this needs neither lm-eval nor sympy.

Source: GSM8K, Cobbe et al., arXiv:2110.14168; MATH, Hendrycks et al., arXiv:2103.03874; majority
voting, Wang et al., arXiv:2203.11171.
"""

from iha_eval.answers.equivalence import Comparer, Equality, grader_version
from iha_eval.answers.extract import Kind, extract
from iha_eval.answers.read import read
from iha_eval.answers.votes import Judged, judge, maj_at_k, pass_at_k, share_right

__all__ = [
    "Comparer",
    "Equality",
    "Judged",
    "Kind",
    "extract",
    "grader_version",
    "judge",
    "maj_at_k",
    "pass_at_k",
    "read",
    "share_right",
]
