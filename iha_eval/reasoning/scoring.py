"""The scores of one question, from all the answers drawn for it.

For: P@1, Maj@k, pass@k and what went wrong with answers, each from 0 to 1 per question.
Not for: means and standard errors. lm-eval takes the mean over questions, and its standard error of
that mean is s / sqrt(n) over the n per-question scores. Answers to one question depend on each
other, questions do not; so this is the standard error clustered by question.
"""

from collections.abc import Sequence
from typing import Any

from iha_eval.answers import Kind, judge, maj_at_k, pass_at_k, share_right
from iha_eval.current_model import share_cut

HOW_MAJ = (
    "expected share of right majority votes over all subsets of k of the answers drawn, exact; "
    "votes by equal answers, ties share the credit, unparseable answers have no vote but are drawn"
)
"""For the results file."""

RUN_HEALTH_METRICS = ("unparseable", "cut", "undecided")
"""Metrics that say how a run went, not how good the model is; less is better."""


def metric_list(votes: Sequence[int], voting: bool) -> list[dict[str, Any]]:
    """The metrics of a task, as lm-eval's configuration has them.

    Args:
        votes: Numbers of answers that Maj@k and pass@k are reported for.
        voting: Whether the task votes; otherwise there is `exact_match`.
    """
    at_k = [f"{name}@{k}" for name in ("maj", "pass") for k in votes]
    names = [*(["p@1", *at_k] if voting else ["exact_match"]), *RUN_HEALTH_METRICS]
    return [
        {
            "metric": name,
            "aggregation": "mean",
            "higher_is_better": name not in RUN_HEALTH_METRICS,
        }
        for name in names
    ]


def score(
    answers: Sequence[str], gold: str, kind: Kind, votes: Sequence[int], voting: bool
) -> dict[str, float]:
    """All metrics of one question.

    Args:
        answers: The texts drawn for it, at least `max(votes)`.
        gold: The right answer.
        kind: Which answers there are, see iha_eval.answers.
        votes: Numbers of answers that Maj@k and pass@k are reported for.
        voting: As in `metric_list`.

    Returns:
        Metric -> score. `unparseable` and `cut` are shares of the answers; `cut` is left out where
        the model class does not tell. `undecided` is 1 if a comparison of two answers ran out of
        time, which counts as different.
    """
    judged = judge(answers, gold, kind)
    scores = {("p@1" if voting else "exact_match"): share_right(judged)}
    if voting:
        scores |= {f"maj@{k}": maj_at_k(judged, k) for k in votes}
        scores |= {f"pass@{k}": pass_at_k(judged, k) for k in votes}
    scores["unparseable"] = judged.unparseable / len(answers)
    cut = share_cut(answers)
    if cut is not None:
        scores["cut"] = cut
    scores["undecided"] = float(judged.undecided > 0)
    return scores
