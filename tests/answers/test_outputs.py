"""Whole outputs of models, each with its verdict; see outputs.py."""

import sys
from collections import Counter
from pathlib import Path

import pytest

from iha_eval.answers.equivalence import Comparer
from iha_eval.answers.votes import judge
from iha_eval.current_model import GeneratedText

sys.path.insert(0, str(Path(__file__).parent))
from outputs import KNOWN_MISSES, OUTPUTS, Output


def taken_for_right(output: Output, comparer: Comparer) -> bool:
    text = GeneratedText(output.text, cut=output.cut)
    judged = judge([text], output.gold, output.kind, comparer)  # type: ignore[arg-type]
    assert judged.undecided == 0
    return judged.right[0]


def test_no_output_is_judged_wrongly_but_the_known_misses(
    comparer: Comparer, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = [one for one in OUTPUTS if taken_for_right(one, comparer) != one.right]
    counts = Counter("negatives" if one.right else "positives" for one in wrong)
    with capsys.disabled():
        print(
            f"\n{len(OUTPUTS)} outputs: {counts['positives']} false positives, "
            f"{counts['negatives']} false negatives, {len(KNOWN_MISSES)} known misses"
        )
    assert wrong == KNOWN_MISSES


def test_there_are_enough_outputs_of_both_kinds_each_with_a_reason() -> None:
    kinds = Counter((one.kind, one.right) for one in OUTPUTS)
    assert len(OUTPUTS) >= 60
    assert min(kinds[kind, right] for kind in ("math", "number") for right in (True, False)) >= 8
    assert all(one.reason for one in OUTPUTS)
    assert len(set(OUTPUTS)) == len(OUTPUTS)
