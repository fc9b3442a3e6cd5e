"""What was sent with a prompt, of both runs."""

from pathlib import Path
from typing import Any

import pytest

from iha_eval.compare.inputs.samples import Sample
from iha_eval.compare.inputs.sent import sent_difference, sent_with


def _samples(*arguments: object) -> dict[tuple[str, int], Sample]:
    return {
        ("none", n): Sample(("none", n), (), {}, None, (0, 0), sent_with(one))
        for n, one in enumerate(arguments)
    }


def _call(**settings: Any) -> dict[str, Any]:
    return {"gen_args_0": {"arg_0": "What?", "arg_1": settings}}


@pytest.mark.parametrize(
    "arguments",
    [None, [["What?", {}]], {"gen_args_0": "x"}, {"gen_args_0": {"arg_0": "a", "arg_1": " b"}}],
    ids=["none", "older", "text", "continuation"],
)
def test_lines_without_settings_have_none_and_hold_nothing_against(arguments: object) -> None:
    assert sent_with(arguments) is None
    ours, theirs = _samples(arguments), _samples(_call(temperature=1.3))
    assert sent_difference(ours, theirs, (256, 256)) == ""


def test_equal_settings_are_kept_once(tmp_path: Path) -> None:
    twice = {**_call(top_p=0.5), "gen_args_1": _call(top_p=0.5)["gen_args_0"]}
    assert sent_with(twice) == '[{"top_p": 0.5}]'
    assert sent_with(twice) is sent_with(_call(top_p=0.5, until=["x"]))


@pytest.mark.parametrize(
    ("ours", "theirs", "what"),
    [
        ({"temperature": 1.3}, {"temperature": 0.6}, "temperature (1.3 against 0.6)"),
        ({"temperature": "0.6"}, {"temperature": 0.6}, ""),
        ({"max_gen_toks": 256}, {}, "max_gen_toks (256 against 512)"),
        ({"max_gen_toks": 512}, {}, ""),
        ({"until": ["a"]}, {"until": ["b"]}, ""),
        ({"seed": 1, "min_p": 0.5}, {"seed": 2}, "min_p (0.5 against none), seed (1 against 2)"),
    ],
    ids=["another", "text", "default", "budget", "end", "two"],
)
def test_what_differs_is_named(ours: dict[str, Any], theirs: dict[str, Any], what: str) -> None:
    same = _call(max_gen_toks=5)
    budgets = (256, 512 if "max_gen_toks" in ours else 256)
    found = sent_difference(_samples(same, _call(**ours)), _samples(same, _call(**theirs)), budgets)
    assert found == (f"settings sent with document 1: {what}" if what else "")


def test_every_way_in_which_a_document_was_asked_counts() -> None:
    two = [{**_call(top_p=0.5), "gen_args_1": _call(top_p=p)["gen_args_0"]} for p in (0.7, 0.9)]
    ours, theirs = map(_samples, two)
    found = sent_difference(ours, theirs, (256, 256))
    assert found == "settings sent with document 0: top_p (0.7 against 0.9)"


def test_other_documents_are_not_looked_at() -> None:
    ours = _samples(_call(top_p=0.5))
    assert sent_difference(ours, {}, (256, 256)) == ""
