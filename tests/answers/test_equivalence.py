from importlib import metadata

import pytest

from iha_eval.answers import equivalence
from iha_eval.answers.equivalence import Comparer, Equality, default_comparer, grader_version
from iha_eval.answers.read import Shape, read
from iha_eval.errors import UserError


def shape(text: str) -> Shape:
    found = read(text)
    assert found is not None
    return found


class Oracle:
    """Answers from a list, and writes down what it was asked."""

    def __init__(self, **said: bool | None) -> None:
        self.said = said
        self.asked: list[tuple[str, str]] = []

    def __call__(self, one: str, other: str) -> bool | None:
        self.asked.append((one, other))
        return self.said.get("always", False)


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        ("1/2", "0.5", "EQUAL"),
        ("1/2", "1/3", "DIFFERENT"),
        ("even", "odd", "DIFFERENT"),
        ("A", "a", "DIFFERENT"),
        ("(1,2)", "(1,2,3)", "DIFFERENT"),
        ("(1,2)", "[1,2]", "DIFFERENT"),
        ("(1,2)", "1,2", "DIFFERENT"),
        (r"(0,1)\cup(2,3)", "(0,1),(2,3)", "DIFFERENT"),
        ("1,2,3", "1,2", "DIFFERENT"),
        ("x=5", "5", "EQUAL"),
        ("x>5", "5", "DIFFERENT"),
        ("x+y=2", "2", "DIFFERENT"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}", "DIFFERENT"),
        (r"\begin{pmatrix}1\end{pmatrix}", r"\begin{pmatrix}2\end{pmatrix}", "DIFFERENT"),
    ],
)
def test_form_value_and_shape_decide_without_asking(one: str, other: str, verdict: str) -> None:
    oracle = Oracle()
    assert Comparer(oracle).compare(shape(one), shape(other)) is Equality[verdict]
    assert oracle.asked == []


@pytest.mark.parametrize(
    ("said", "verdict"),
    [(True, Equality.EQUAL), (False, Equality.DIFFERENT), (None, Equality.UNDECIDED)],
)
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("xy", "yx"),
        ("(xy,1)", "(yx,1)"),
        ("1,xy", "yx,1"),
        (r"\begin{pmatrix}xy\end{pmatrix}", r"\begin{pmatrix}yx\end{pmatrix}"),
        ("n=xy", "yx"),
        ("n=xy", "n=yx"),
        ("y=2x", "2x-y=0"),
        ("y=2x", "x=2y"),
    ],
)
def test_the_rest_is_asked(one: str, other: str, said: bool | None, verdict: Equality) -> None:
    oracle = Oracle(always=said)
    assert Comparer(oracle).compare(shape(one), shape(other)) is verdict
    assert len(oracle.asked) == 1


def test_verdicts_are_remembered_in_both_directions() -> None:
    oracle = Oracle(always=True)
    comparer = Comparer(oracle)
    for one, other in (("xy", "yx"), ("yx", "xy"), ("x y", "yx"), ("(xy,1)", "(yx,1)")):
        assert comparer.compare(shape(one), shape(other)) is Equality.EQUAL
    assert oracle.asked == [("x y", "y x")]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equivalence, "_REMEMBERED", 2)
    oracle = Oracle()
    comparer = Comparer(oracle)
    for other in ("ya", "yb", "yc", "ya"):
        comparer.compare(shape("xz"), shape(other))
    assert len(oracle.asked) == 4


def test_a_comparison_of_parts_stops_at_the_first_undecided_one() -> None:
    oracle = Oracle(always=None)
    for one, other in (("(xy,ab)", "(yx,ba)"), ("xy,ab", "yx,ba")):
        assert Comparer(oracle).compare(shape(one), shape(other)) is Equality.UNDECIDED
    assert len(oracle.asked) == 2


def test_long_lists_are_compared_by_form_only() -> None:
    oracle = Oracle(always=True)
    one, other = (",".join(f"{sign}x{i}" for i in range(50)) for sign in "yz")
    assert Comparer(oracle).compare(shape(one), shape(other)) is Equality.DIFFERENT
    assert oracle.asked == []


def test_elements_pair_up_one_to_one(comparer: Comparer) -> None:
    one, other = shape(r"\sqrt{8}, \sqrt{8}, 1"), shape(r"2\sqrt{2}, 1, 1")
    assert comparer.compare(one, other) is Equality.DIFFERENT


def test_one_comparer_a_process() -> None:
    assert default_comparer() is default_comparer()


def test_the_version_names_what_decides() -> None:
    assert grader_version().startswith(f"math-verify {metadata.version('math-verify')}, ")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(equivalence, "version", missing)
    with pytest.raises(UserError, match="math-verify is not installed"):
        grader_version()
