"""What counts in a generation that its budget ended, and in one that goes on after its answer."""

import pytest

from iha_eval.answers.extract import Kind, extract


@pytest.mark.parametrize(
    ("text", "kind", "whole", "cut"),
    [
        ("so 12", "number", "12", None),
        ("#### 12", "number", "12", None),
        ("#### 12 apples", "number", "12", "12"),
        ("The answer is 12", "number", "12", None),
        ("The answer is 12 apples", "number", "12", "12"),
        (r"\boxed{12}", "number", "12", "12"),
        ("so $x$ is", "math", "x", None),
        ("The answer is $x + 1$. We", "math", "x + 1", "x + 1"),
        ("The answer is x + 1", "math", "x + 1", None),
        ("The answer is x. We", "math", "x", "x"),
        (r"\boxed{12} then \boxed{1", "math", "12", "12"),
    ],
)
def test_a_half_written_end_is_no_answer(
    text: str, kind: Kind, whole: str | None, cut: str | None
) -> None:
    assert extract(text, kind) == whole
    assert extract(text, kind, cut=True) == cut


@pytest.mark.parametrize(
    "start",
    ["Problem:", "Problem 2:", "Question:", "**Question 3:**", "Q:", "Exercise 4.", "## Q: "],
)
@pytest.mark.parametrize("stated", [r"\boxed{5}", "#### 5", "The answer is 5."])
def test_a_problem_after_the_answer_is_not_looked_at(start: str, stated: str) -> None:
    text = f"{start} 2 + 3?\n{stated}\n\n{start} 3 + 3?\nThe answer is \\boxed{{6}}.\n#### 6"
    assert extract(text, "number") == "5"


def test_a_list_of_boxes_keeps_its_numbers_apart() -> None:
    assert extract(r"\boxed{100}, $\boxed{200}$ and \boxed{300}", "math") == "100, 200, 300"
    assert extract(r"\boxed{100}. Then \boxed{200}", "math") == "200"
    assert extract("The answer is not $9$", "math") is None
