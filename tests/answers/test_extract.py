import pytest

from iha_eval.answers.extract import (
    Kind,
    affirmed,
    extract,
    has_value,
    numbers,
    passages,
    runs,
    stated,
    value,
)


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
        ("it is \u22125", "-5"),
        (r"\boxed{5}", "5"),
        (r"\boxed{\$1{,}234}", r"\$1{,}234"),
        (r"\boxed{x = 5}", "5"),
        (r"\boxed{\text{Ann gets } 5 \text{ apples}}", "5"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{5} or #### 6", "5"),
        (r"\boxed{five}", "five"),
        (r"\boxed{x = 5, y = 6}", None),
        (r"\boxed{3, 4}", None),
        ("half is 1/2", "1/2"),
        ("it is .5", ".5"),
        ("5th of May", None),
        ("x2 y3", None),
        ("no number", None),
        ("9" * 1001, None),
        ("\\boxed{" + "9" * 1001 + "}", None),
        ("", None),
    ],
)
def test_final_answers_that_are_numbers(text: str, answer: str | None) -> None:
    assert extract(text, "number") == answer


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


@pytest.mark.parametrize(
    ("text", "contents"),
    [
        ("a $x$ b $$y$$", ["x", "y"]),
        (r"\( x \) and \[y\]", ["x", "y"]),
        ("$$\nx\n$$", ["x"]),
        (r"\$5 and $x$", ["x"]),
        (r"$\$5$", [r"\$5"]),
        ("$4 and then $5$", ["5"]),
        ("$4 in all\n\n$x$", ["x"]),
        ("$ $ and $x$", ["x"]),
        (r"$x and \(y", []),
        (r"\\(x\\)", []),
        ("", []),
    ],
)
def test_passages(text: str, contents: list[str]) -> None:
    found = passages(text)
    assert [one.content for one in found] == contents
    assert all(text[one.start : one.end].strip("$\\()[]\n ") for one in found)


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("$3$ and $5$", ["3, 5"]),
        ("$3$, $5$, and $7$", ["3, 5, 7"]),
        ("$3$ then $5$", ["3", "5"]),
        ("$3$ $5$", ["3", "5"]),
        ("not $5$ but $6$", ["6"]),
        ("it isn't $5$", []),
    ],
)
def test_lists_and_denials(text: str, answers: list[str]) -> None:
    assert [stated(run) for run in runs(text, affirmed(text, passages(text)))] == answers


@pytest.mark.parametrize(
    ("content", "left"),
    [
        ("x = 1+4 = 5.", "5"),
        ("f(x)=2x", "2x"),
        ("2+3=5", "5"),
        ("5x-7y=0", "5x-7y=0"),
        ("x", "x"),
    ],
)
def test_the_value_of_a_chain(content: str, left: str) -> None:
    assert value(content) == left


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("5 and that", ["5"]),
        ("1 1/2 cups", ["1 1/2"]),
        ("3:30 PM", [None]),
        ("1 million", ["1 million"]),
        ("1e3", ["1e3"]),
        ("2^4, 2^{-1}", ["2^4", "2^{-1}"]),
        ("20 + 5", ["20 + 5"]),
        ("12,5", [None]),
        ("5 to 7", [None]),
        ("5-7", [None]),
        ("5\u20137", [None]),
        ("70 000 or more", [None]),
        ("is - 5", ["-5"]),
        ("apples - 5", ["5"]),
        ("3 x 4", ["3 x 4"]),
        ("not 5 but 6", ["6"]),
        ("1/0", [None]),
        ("$-5.50", ["$-5.50"]),
        (r"\frac{1}{2}", [r"\frac{1}{2}"]),
        ("x2", []),
        ("9" * 1001, [None]),
    ],
)
def test_numbers_are_read_as_a_whole(text: str, found: list[str | None]) -> None:
    assert numbers(text) == found


def test_values() -> None:
    assert has_value("2+3")
    assert not has_value("x")
    assert not has_value("")
