"""The scores of one question, worked out by hand."""

import pytest

from iha_eval.answers import Judged
from iha_eval.current_model import GeneratedText
from iha_eval.reasoning import scoring
from iha_eval.reasoning.scoring import metric_list, score


def written(*values: str | None) -> list[str]:
    return ["I give up" if value is None else f"So \\boxed{{{value}}}" for value in values]


def test_a_voting_question() -> None:
    """Two of four are right, one is wrong, one states no answer."""
    answers = written("1,000", "7", None, "1000")
    assert score(answers, "1000", "number", (1, 2, 4), voting=True) == {
        "p@1": 0.5,
        "maj@1": 0.5,
        # Six pairs: both right 1, right and wrong 1/2 twice, right and none 1 twice, the rest 0.
        "maj@2": pytest.approx(4 / 6),
        "maj@4": 1.0,
        "pass@1": 0.5,
        "pass@2": pytest.approx(5 / 6),
        "pass@4": 1.0,
        "unparseable": 0.25,
        "undecided": 0.0,
    }


@pytest.mark.parametrize(("answer", "right"), [(r"\frac12", 1.0), ("0.6", 0.0), (None, 0.0)])
def test_a_greedy_question(answer: str | None, right: float) -> None:
    assert score(written(answer), "0.5", "math", (1,), voting=False) == {
        "exact_match": right,
        "unparseable": float(answer is None),
        "undecided": 0.0,
    }


def test_cut_answers_are_counted_where_all_answers_tell() -> None:
    told = [GeneratedText(text, cut=cut) for text, cut in zip("abcd", (1, 1, 1, 0), strict=True)]
    assert score(told, "5", "number", (1,), voting=True)["cut"] == 0.75
    assert "cut" not in score([*told, "plain"], "5", "number", (1,), voting=True)


@pytest.mark.parametrize(("comparisons", "share"), [(0, 0.0), (1, 1.0), (7, 1.0)])
def test_an_undecided_comparison_marks_its_question(
    comparisons: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = Judged(("1", "2"), (True, False), (1,), 0, comparisons)
    monkeypatch.setattr(scoring, "judge", lambda *given: judged)
    assert score(["a", "b"], "1", "math", (1, 2), voting=True)["undecided"] == share


def test_every_metric_is_a_mean_and_knows_its_direction() -> None:
    listed = metric_list((1, 4), voting=True)
    assert {entry["metric"]: entry["higher_is_better"] for entry in listed} == {
        **dict.fromkeys(("p@1", "maj@1", "maj@4", "pass@1", "pass@4"), True),
        **dict.fromkeys(("unparseable", "cut", "undecided"), False),
    }
    assert {entry["aggregation"] for entry in listed} == {"mean"}


@pytest.mark.parametrize("voting", [True, False])
def test_scores_and_metrics_have_the_same_names(voting: bool) -> None:
    told = [GeneratedText("5", cut=False)] * 4
    scores = score(told, "5", "number", (1, 4), voting)
    assert list(scores) == [entry["metric"] for entry in metric_list((1, 4), voting)]
