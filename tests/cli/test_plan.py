"""`iha-eval plan`: what is printed, and that so many questions really do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lm_eval_runs import FakeTask, lines, voting_task, write_run

from iha_eval.cli import main
from iha_eval.cli.plan import main as plan_command
from iha_eval.compare.analysis.run_plan import DRAW, SUITS
from iha_eval.errors import UserError
from iha_eval.statistics import compare_paired, required_questions

Printed = pytest.CaptureFixture[str]


def planned(capsys: Printed, *arguments: object) -> list[dict[str, Any]]:
    assert main(["plan", *map(str, arguments), "--json"]) == 0
    needs: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return needs


def test_more_answers_need_fewer_questions(capsys: Printed) -> None:
    needs = planned(capsys, "--difference", 3, "--accuracy", 30, "--samples", "1,4,16")
    assert [need["samples"] for need in needs] == [1, 4, 16]
    counts = [need["questions"] for need in needs]
    assert counts == sorted(counts, reverse=True)
    # By hand: p = 0.315, so that 2 p (1 - p) / 2 + 0.03^2 of the questions differ.
    assert counts[0] == required_questions(3, 0.315 * 0.685 + 0.03**2)


def draw(
    generator: np.random.Generator, n: int, k: int, shift: float, p: float
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of right answers, with the parts of variance that the plan assumes.

    Each question is surely right, surely wrong or open for both, or so for one model alone.
    """
    kinds = generator.choice(3, (n,), p=(1 - SUITS - DRAW, SUITS, DRAW))
    both = generator.random(n) < p
    sides = []
    for lean in (shift / 2, -shift / 2):
        own = generator.random(n) < p + lean / (SUITS + DRAW)
        drawn = generator.binomial(k, p + lean / (SUITS + DRAW), n) / k
        sides.append(np.choose(kinds, (both, own, drawn)).astype(float))
    return sides[0], sides[1]


@pytest.mark.parametrize("k", [1, 4])
def test_so_many_questions_show_the_difference_as_often_as_asked(capsys: Printed, k: int) -> None:
    [need] = planned(capsys, "--difference", 8, "--accuracy", 46, "--samples", k)
    generator = np.random.default_rng(k)
    shown = 0
    for _ in range(120):
        a, b = draw(generator, need["questions"], k, 0.08, 0.5)
        p = compare_paired(a, b)[1].value
        shown += p is not None and p <= 0.05
    assert 0.66 <= shown / 120 <= 0.92


@pytest.fixture
def runs(tmp_path: Path) -> Callable[..., list[Path]]:
    def write(*tasks: dict[str, FakeTask]) -> list[Path]:
        return [write_run(tmp_path / str(number), made) for number, made in enumerate(tasks)]

    return write


def test_two_earlier_runs_tell_variances_rates_and_sizes(
    runs: Callable[..., list[Path]], capsys: Printed
) -> None:
    generator = np.random.default_rng(3)
    ours, theirs = (
        voting_task(list(map(int, generator.binomial(4, chance, 150)))) for chance in (0.6, 0.5)
    )
    files = runs({"gsm8k_maj": ours}, {"gsm8k_maj": theirs})
    needs = planned(capsys, "--difference", 5, "--runs", *files, "--samples", "1,16")
    assert [(need["what"], need["samples"]) for need in needs] == [
        *(("P@1, gsm8k_maj", k) for k in (1, 4, 16)),
        ("Maj@4, gsm8k_maj", 4),
    ]
    # Every question has the same chance: all variance is the draw's, and k answers divide it by k.
    single, four, sixteen = (need["questions"] for need in needs[:3])
    assert single / four == pytest.approx(4, rel=0.35)
    assert single > four > sixteen
    assert needs[0]["available"] == 150
    # The runs' one call: 10 requests in 4 seconds.
    assert needs[0]["seconds"]["iha"] == pytest.approx(single * 0.4)
    main(["plan", "--difference", "5", "--runs", *map(str, files)])
    text = capsys.readouterr().out
    assert "the runs had 150 questions and differed by +" in text
    assert "at the rates of the runs: IHA " in text
    assert max(map(len, text.splitlines())) < 200


def test_right_or_wrong_answers_are_planned_by_the_share_that_differs(
    runs: Callable[..., list[Path]], capsys: Printed
) -> None:
    values = [1.0] * 30 + [0.0] * 10, [1.0] * 20 + [0.0] * 10 + [1.0] * 10
    files = runs(*({"quiz": FakeTask(lines("acc", list(side)))} for side in values))
    [need] = planned(capsys, "--difference", 10, "--runs", *files)
    assert need["questions"] == pytest.approx(required_questions(10, 0.5), rel=0.1)
    assert need["seen"] == 0.0


def test_the_command_says_what_it_assumes_and_what_there_is(capsys: Printed) -> None:
    assert main(["plan", "--difference", "2", "--accuracy", "30", "--comparisons", "3"]) == 0
    text = capsys.readouterr().out
    assert "corrected for 3 comparisons" in text
    assert "GSM8K 1,319, MATH-500 500, a RULER task at one length 500, ruler_mk 4,500" in text
    assert "ruler_all 19,500 questions" in text
    assert "Assumed of a single answer: 50% of its variance" in text


@pytest.mark.parametrize("points", ["1e-9", "1e-160"])
def test_no_answer_has_twenty_digits(capsys: Printed, points: str) -> None:
    needs = planned(capsys, "--difference", points, "--accuracy", 30)
    assert [need["questions"] for need in needs] == [None, None, None]


def test_where_there_is_no_room_above_the_other_model_is_below(capsys: Printed) -> None:
    few = planned(capsys, "--difference", 3, "--accuracy", 100)
    assert few == planned(capsys, "--difference", 3, "--accuracy", 97)
    assert few[-1]["questions"] > 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--difference", "90", "--accuracy", "30"], "no room for a difference of 90"),
        (["--difference", "3"], "--accuracy PERCENT, or --runs"),
        (["--difference", "3", "--accuracy", "130"], "from 0 to 100"),
        (["--difference", "300", "--accuracy", "30"], "100 at most"),
        (["--difference", "3", "--accuracy", "30", "--power", "1"], "from 0.05 to 1"),
    ],
)
def test_what_cannot_be_planned(arguments: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        plan_command(arguments)
