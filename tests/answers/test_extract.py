import pytest

from iha_eval.answers.extract import extract


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{5}", "5"),
        (r"\boxed{4} no, \boxed{5}.", "5"),
        (r"\fbox{5}", "5"),
        (r"\boxed {5}", "5"),
        (r"\boxed{\frac{1}{2}} which is it", r"\frac{1}{2}"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"$\boxed 5$", "5"),
        (r"$\boxed \frac12$ ok", r"\frac12"),
        (r"$\boxed x$", "x"),
        (r"\boxed{5} then cut at \boxed{6", "5"),
        (r"\boxed{5}. I put it in \boxed{} as asked", "5"),
        (r"\boxed{5}, put in \boxed as asked", "5"),
        (r"\boxedfoo{6} The answer is 5", "5"),
        ("The answer is $5$.", "5"),
        ("The answer is $4$. Or rather, the answer is $5$.", "5"),
        ("Answer: 5", "5"),
        ("**Answer:** $x+1$", "x+1"),
        ("Final Answer: The final answer is $[2,5)$. I hope it is correct.", "[2,5)"),
        ("The answer is\n\n$$x^2$$", "x^2"),
        (r"The answer is \(x^2\).", "x^2"),
        (r"The answer is \[x^2\]", "x^2"),
        ("The answer is 3.5. That is all.", "3.5"),
        ("the answer would be east.\nBye", "east"),
        ("so $1+1=2$\n\nIt is $x = 1 + 4 = 5$ .\n\n", "5"),
        ("first $4$ and then $5$", "5"),
        ("costs \\$4 and $5$", "5"),
        ("no math here", None),
        ("$5$ above\nbut not here", "5"),
        ("the answer is .", None),
        ("\\boxed{" + "x" * 1001 + "}", None),
        ("\\boxed{" + "x" * 1000 + "}", "x" * 1000),
        ("\\boxed{5} and \\boxed{" + "x" * 1001 + "}", None),
        (r"\boxed{", None),
        ("", None),
    ],
)
def test_final_answers_of_math(text: str, answer: str | None) -> None:
    assert extract(text, "math") == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("2 + 3 = <<2+3=5>>5\n#### 5", "5"),
        ("#### 1,234", "1,234"),
        ("#### $-5.50 a day", "$-5.50"),
        ("#### 4\nQ: more\n#### 5", "4"),
        ("#### none\nThe answer is 5", "5"),
        ("The answer is 5.", "5"),
        ("The answer is 5. There were 6 of them.", "5"),
        ("The answer is 2 + 3 = 5 apples", "5"),
        ("The answer is unclear\nmaybe 5", "5"),
        ("So 3 apples and\n2 + 3 = 5 apples in all.\n\n", "5"),
        ("10 - 3 - 2 = 5", "5"),
        ("10 - 3", "10 - 3"),
        ("10-3", None),
        ("it is -5", "-5"),
        ("it is \u22125", "\u22125"),
        (r"\boxed{5}", "5"),
        (r"\boxed{\$1{,}234}", r"\$1{,}234"),
        (r"\boxed{x = 5}", "5"),
        (r"\boxed{\text{Ann gets } 5 \text{ apples}}", "5"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{5} or #### 6", "5"),
        (r"\boxed{five}", None),
        (r"\boxed{x = 5, y = 6}", None),
        (r"\boxed{3, 4}", None),
        ("half is 1/2", "1/2"),
        ("it is .5", ".5"),
        ("5th of May", "5"),
        ("x2 y3", None),
        ("no number", None),
        ("9" * 1001, None),
        ("\\boxed{" + "9" * 1001 + "}", None),
        ("", None),
    ],
)
def test_final_answers_that_are_numbers(text: str, answer: str | None) -> None:
    assert extract(text, "number") == answer
