"""The paper's numbers: those that fit each other, and those that are said not to."""

import pytest

from iha_eval.compare.analysis.paper import MODELS, PAPER_RESULTS, reference


def counts(percent: float, questions: int) -> bool:
    """Whether a percentage with two digits can be a whole number of so many questions."""
    return round(100 * round(percent * questions / 100) / questions, 2) == percent


@pytest.mark.parametrize("task", ["gsm8k_5shot_em", "gsm8k_5shot_maj"])
def test_gsm8k_of_pretrained_models_is_whole_questions(task: str) -> None:
    [percents] = [result.percents for (name, _), result in PAPER_RESULTS.items() if name == task]
    assert all(percent is not None and counts(percent, 1319) for percent in percents)


def test_votes_of_pretrained_models_differ_from_single_answers_by_two_questions() -> None:
    single = PAPER_RESULTS["gsm8k_5shot_em", "exact_match"].percents
    voted = PAPER_RESULTS["gsm8k_5shot_maj", "maj@5"].percents
    apart = [
        round((a or 0) * 13.19) - round((b or 0) * 13.19)
        for a, b in zip(single, voted, strict=True)
    ]
    assert max(map(abs, apart)) == 2


def test_math500_of_pretrained_models_is_of_5000_questions_and_says_so() -> None:
    result = PAPER_RESULTS["math500_4shot_em", "exact_match"]
    percents = [percent for percent in result.percents if percent is not None]
    assert not any(counts(percent, 500) for percent in percents)
    assert [round(50 * percent) for percent in percents] == [177, 144, 113]
    assert "177, 144 and 113 of 5,000" in result.caveats[0]


@pytest.mark.parametrize("row", PAPER_RESULTS, ids="-".join)
def test_every_row_has_five_models_or_a_ratio(row: tuple[str, str]) -> None:
    told = reference(*row)
    assert told is not None
    assert told["relative"] is not None
    assert list(told["models"]) in ([], list(MODELS))
    assert told["note"].startswith("arXiv:2602.21371, ")


def test_what_the_paper_does_not_have() -> None:
    assert reference("gsm8k_maj", "pass@16") is None
