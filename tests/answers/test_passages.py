import pytest

from iha_eval.answers.passages import affirmed, passages, runs, stated, value


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
