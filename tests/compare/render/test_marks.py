"""Marks in two outputs: gold answers and differing words, in texts that try to break out."""

import re

import made_up_reports
import pytest
from markupsafe import Markup

from iha_eval.compare.render.marks import MOST_WORK, marked


def plain(html: str) -> str:
    """The text of HTML."""
    return Markup(re.sub("<[^>]+>", "", html)).unescape()


def test_gold_and_differing_words_are_marked() -> None:
    first, second = marked("42", "So the answer is 42 now", "So the answer is 41 now")
    assert first == "So the answer is <u><mark>42</mark></u> now"
    assert second == "So the answer is <u>41</u> now"


@pytest.mark.parametrize(
    ("gold", "text", "marks"),
    [
        ("5", "15 5.5 0.5 5. (5) 50", ["5", "5"]),
        ("1234567, 7654321", "7654321 and 1234567.", ["7654321", "1234567"]),
        ("Tom has 3 apples.\n#### 18", "It is 18, so 3 are left", ["18"]),
        ("a (b) + c", "then a (b) + c follows", ["a (b) + c"]),
        ("", "nothing", []),
        ("x" * 81, "x" * 81, []),
    ],
    ids=["number", "several", "solution", "signs", "empty", "long"],
)
def test_whole_gold_answers_are_marked(gold: str, text: str, marks: list[str]) -> None:
    first, second = marked(gold, text, text)
    assert first == second
    assert re.findall("<mark>(.*?)</mark>", first) == marks
    assert "<u>" not in first


def test_outputs_with_little_in_common_have_no_differences_marked() -> None:
    assert "<u>" not in "".join(marked("1", "all these words", "have nothing in common"))


def test_long_outputs_are_not_compared_word_by_word() -> None:
    words = int(MOST_WORK**0.5) + 1
    assert "<u>" not in "".join(marked("1", "a " * words, "a " * words + "b"))
    assert "<u>" in "".join(marked("1", "a " * 50, "a " * 50 + "b"))


@pytest.mark.parametrize(
    "text",
    [
        made_up_reports.SCRIPT,
        made_up_reports.HANDLER,
        made_up_reports.TEMPLATE,
        "<mark></mark></u><u> & &lt; 42",
    ],
)
def test_texts_stay_texts(text: str) -> None:
    changed = text.replace("hacked", "cracked").replace("42", "43")
    made = marked("window.hacked = true", text, changed)
    for html, given in zip(made, (text, changed), strict=True):
        assert set(re.findall("<[^>]*>", html)) <= {"<mark>", "</mark>", "<u>", "</u>"}
        assert plain(html) == given
