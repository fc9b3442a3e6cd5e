"""Texts of unknown origin on the page."""

import pytest
import report_dicts

from iha_eval.util.page_text import one_line, visible


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (7, "7"), ("a\tb\nc", "a\tb\nc"), ("a\r\nb\x00", "a\nb\u2400")],
    ids=["none", "number", "kept", "control"],
)
def test_visible(value: object, text: str) -> None:
    assert visible(value) == text


def test_visible_cuts_the_middle() -> None:
    text = visible("a" * 50 + "b" * 50, 20)
    assert text.startswith("aaa")
    assert text.endswith("bbb")
    assert "80 characters left out" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("  two\n lines ", "two lines"),
        ("abcdefghijk", "abcdefghi…"),
        (3, "3"),
        ("\ud800\u202e", "\ufffd<U+202E>"),
    ],
    ids=["space", "cut", "number", "unfit"],
)
def test_one_line(value: object, text: str) -> None:
    assert one_line(value, 10) == text


def test_endless_label_costs_little() -> None:
    assert len(one_line(report_dicts.ENDLESS * 100)) == 80
