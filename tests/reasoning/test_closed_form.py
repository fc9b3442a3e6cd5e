"""Estimates against the truth: a model whose P@1, Maj@k and pass@k are known in closed form.

Each question is hard, fair or easy by lot, so the truth is a mean over three scripts, and questions
differ more than answers to one question do.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from lm_eval.api.metrics import mean_stderr
from scripted_model import Script, ScriptedModel

from iha_eval.answers import judge
from iha_eval.reasoning.task import MathTask

KINDS = (
    Script(right=0.15, wrong=(0.4, 0.2, 0.05), cut=0.25),
    Script(right=0.4, wrong=(0.2, 0.15, 0.1), cut=0.5),
    Script(right=0.75, wrong=(0.1,), cut=1.0),
)
VOTES = (1, 2, 4, 8, 16)
QUESTIONS = 240


def by_lot(seed: int) -> Callable[[Mapping[str, Any]], Script]:
    return lambda document: random.Random(f"{seed}|{document['index']}").choice(KINDS)


def truth() -> dict[str, float]:
    return {
        "p@1": fmean(kind.right for kind in KINDS),
        "unparseable": fmean(kind.unparseable for kind in KINDS),
        "cut": fmean(kind.unparseable * kind.cut for kind in KINDS),
        "undecided": 0.0,
        **{f"maj@{k}": fmean(kind.maj(k) for kind in KINDS) for k in VOTES},
        **{f"pass@{k}": fmean(kind.passes(k) for kind in KINDS) for k in VOTES},
    }


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More questions than other tests need."""
    path = tmp_path_factory.mktemp("many") / "gsm8k/test.jsonl"
    path.parent.mkdir()
    row = '{{"question": "How much is question {0} worth?", "answer": "#### {1}"}}\n'
    path.write_text("".join(row.format(n, 900 + 10 * n) for n in range(QUESTIONS)))
    return path.parents[1]


def test_a_script_is_a_distribution() -> None:
    for kind in KINDS:
        assert sum(kind.outcomes.values()) == pytest.approx(1.0)
        assert kind.maj(1) == pytest.approx(kind.right)
        # Two right, or one right beside none, or half of one right beside a wrong one.
        silent = 2 * kind.right * kind.unparseable
        assert kind.maj(2) == pytest.approx(kind.right**2 + silent + kind.right * sum(kind.wrong))
        for k in VOTES:
            assert kind.passes(k) == pytest.approx(1 - (1 - kind.right) ** k)


def test_estimates_match_the_truth_within_their_standard_errors(
    run: Callable[..., Any], many: Path
) -> None:
    model = ScriptedModel(by_lot(7), seed=7)
    options = {"metadata": {"data": str(many)}, "limit": None}
    results = run(model, "gsm8k_maj", **options)
    scores = results["results"]["gsm8k_maj"]
    expected = truth()
    reported = {metric.partition(",")[0] for metric in scores if metric.endswith(",none")}
    assert {metric for metric in reported if not metric.endswith("_stderr")} == set(expected)
    for metric, value in expected.items():
        error = scores[f"{metric}_stderr,none"]
        assert abs(scores[f"{metric},none"] - value) <= 3.5 * error, metric
        # Narrow enough to tell.
        assert error < 0.035
    assert scores["maj@1,none"] == pytest.approx(scores["p@1,none"], abs=1e-12)
    assert scores["pass@1,none"] == pytest.approx(scores["p@1,none"], abs=1e-12)
    # The same answers under the vote that these tasks are there to replace.
    by_string = fmean(
        judge(
            [Counter(sample["resps"][0]).most_common(1)[0][0]], sample["target"], "number"
        ).correct
        for sample in results["samples"]["gsm8k_maj"]
    )
    assert abs(by_string - expected["maj@16"]) > 3.5 * scores["maj@16_stderr,none"]


def test_standard_errors_are_the_spread_over_seeds(manager: Callable[..., Any], many: Path) -> None:
    """Runs that differ in questions' kinds and in answers, as runs on other questions would."""
    runs, questions, k = 150, 40, 4
    task = manager(data=str(many), k=k).load("gsm8k_maj")["tasks"]["gsm8k_maj"]
    documents = task.eval_docs.to_list()[:questions]
    means, errors = [], []
    for seed in range(runs):
        scores = scored(task, ScriptedModel(by_lot(seed), seed), documents, k)
        means.append({metric: fmean(values) for metric, values in scores.items()})
        errors.append({metric: mean_stderr(values) for metric, values in scores.items()})
    # The spread of a spread, four times.
    tolerance = 4 / math.sqrt(2 * (runs - 1))
    for metric in ("p@1", "maj@2", "maj@4", "pass@4", "unparseable", "cut"):
        spread = stdev(one[metric] for one in means)
        claimed = math.sqrt(fmean(one[metric] ** 2 for one in errors))
        assert claimed == pytest.approx(spread, rel=tolerance), metric
        # The mean over runs is as much closer to the truth.
        expected = truth()[metric]
        assert abs(fmean(one[metric] for one in means) - expected) < 3.5 * spread / math.sqrt(runs)
    # Taking the answers to one question for independent would claim too little.
    share = truth()["p@1"]
    unclustered = math.sqrt(share * (1 - share) / (questions * k))
    assert unclustered < (1 - tolerance) * stdev(one["p@1"] for one in means)


def scored(
    task: MathTask, model: ScriptedModel, documents: list[dict[str, Any]], k: int
) -> dict[str, list[float]]:
    per_question = [
        task.process_results(
            document, [[model.answer(document, f"{document['index']}|{n}") for n in range(k)]]
        )
        for document in documents
    ]
    return {metric: [one[metric] for one in per_question] for metric in per_question[0]}
