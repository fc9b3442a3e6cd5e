"""The published files themselves, where IHA_EVAL_DATA names them; skipped, visibly, elsewhere."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_model import Script, ScriptedModel

from iha_eval.answers import judge
from iha_eval.data import FILES, GSM8K_TEST, MATH500_TEST, load_rows
from iha_eval.data.check import check_all, complete
from iha_eval.reasoning.fewshot import GSM8K_EXAMPLES, MATH_EXAMPLES, train_examples

pytestmark = pytest.mark.data


@pytest.fixture
def published() -> Path:
    if not os.environ.get("IHA_EVAL_DATA"):
        pytest.skip("needs the published data in IHA_EVAL_DATA")
    return Path(os.environ["IHA_EVAL_DATA"])


def test_all_files_are_the_known_ones(published: Path) -> None:
    findings = check_all(published)
    assert [finding.note for finding in findings] == [""] * len(FILES)
    assert complete(findings)


@pytest.mark.parametrize(("task", "count"), [("gsm8k_maj", 1319), ("math500_maj", 500)])
def test_every_question_becomes_a_document(
    task: str, count: int, published: Path, manager: Callable[..., Any]
) -> None:
    documents = manager(data=str(published)).load(task)["tasks"][task].eval_docs
    assert len(documents) == count
    assert all(document["answer"].strip() for document in documents)
    assert "####" not in "".join(documents["answer"])


def word_runs(text: str, length: int = 8) -> set[tuple[str, ...]]:
    """All runs of words and numbers of a length in a text."""
    words = re.findall(r"[a-z]+|\d+", text.lower())
    return {tuple(words[start : start + length]) for start in range(len(words) - length + 1)}


def test_our_examples_are_in_no_test_set(published: Path) -> None:
    ours = {
        run
        for example in (*GSM8K_EXAMPLES, *MATH_EXAMPLES)
        for run in word_runs(f"{example.problem} {example.solution}")
    }
    rows = [row for file in (GSM8K_TEST, MATH500_TEST) for row in load_rows(file, published).rows]
    shared = {run for row in rows for run in word_runs(" ".join(map(str, row.values()))) & ours}
    assert not shared


def test_training_examples_state_their_answers(published: Path) -> None:
    examples = train_examples(published, 1234)
    assert len(examples) == 7473
    assert not any("<<" in example.solution for example in examples)
    for example in examples[:300]:
        assert judge([example.solution], example.answer, "number").right == (True,)


def test_both_benchmarks_run_from_the_environment(
    published: Path, run: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    class Numbers(ScriptedModel):
        """MATH's answers are no numbers, on which scripts do sums: there all is wrong."""

        def answer(self, document: Any, place: str) -> str:
            final = document["answer"].replace(",", "")
            gold = final if final.lstrip("-").isdigit() else "123456789"
            return super().answer({**document, "answer": gold}, place)

    model = Numbers(lambda document: Script(1.0))
    results = run(model, "iha_math", limit=5, metadata={"data": None})
    for name in ("gsm8k_maj", "gsm8k_5shot_maj"):
        assert results["results"][name]["p@1,none"] == 1.0
    whole = results["results"]["math500_maj"]
    assert whole["p@1,none"] == whole["maj@16,none"] < 1.0
    assert all(one["metadata"]["dataset"]["known"] for one in results["configs"].values())
    assert "not the published" not in caplog.text
