import pytest

from iha_eval.answers.read import Expression, Matrix, Named, Ordered, Shape, Unordered, read


def shape(text: str) -> Shape:
    found = read(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "kind", "form"),
    [
        ("1/2", Expression, "=1/2"),
        ("x+1", Expression, "x+1"),
        ("x+y=2", Expression, "x+y=2"),
        ("(1,2)", Ordered, "(=1,=2)"),
        ("[1,2)", Ordered, "[=1,=2)"),
        (r"\langle 1,2 \rangle", Ordered, "<=1,=2>"),
        ("((1,2),3)", Ordered, "((=1,=2),=3)"),
        ("[5]", Ordered, "[=5]"),
        ("(5)", Expression, "=5"),
        ("((x))", Expression, "x"),
        ("(1,2", Expression, "(1,2"),
        ("2,1", Unordered, "{=1,=2}"),
        ("2,2,1", Unordered, "{=1,=2,=2}"),
        (r"\{2,2,1\}", Unordered, "{=1,=2}"),
        (r"\{5\}", Expression, "=5"),
        (r"\{(1,2),(0,1)\}", Unordered, "{(=0,=1),(=1,=2)}"),
        (r"\{1,\pm 2\}", Unordered, "{=-2,=1,=2}"),
        (r"1\pm 2", Unordered, "{=-1,=3}"),
        (r"\{x \mid x > 2\}", Named, "x\x1f(=2,\\infty)"),
        (r"\{x : 1 < x < 2\}", Named, "x\x1f(=1,=2)"),
        (r"(2,3)\cup(0,1)", Unordered, "{(=0,=1)U(=2,=3)}"),
        (r"\mathbb{R}", Ordered, "(-\\infty,\\infty)"),
        ("x=5", Named, "x\x1f=5"),
        ("AB=5", Named, "AB\x1f=5"),
        ("Area=5", Named, "Area\x1f=5"),
        ("xy=5", Expression, "xy=5"),
        (r"\angle ABC=5", Named, "\\angle ABC\x1f=5"),
        ("x_1=5", Named, "x_{1}\x1f=5"),
        ("f(x)=5", Named, "f(x)\x1f=5"),
        ("f^{-1}(x)=5", Named, "f^{-1}(x)\x1f=5"),
        ("x=2+3=5", Named, "x\x1f=5"),
        ("2+3=5", Expression, "=5"),
        ("=5", Expression, "=5"),
        (r"\pi=5", Expression, "\\pi=5"),
        (r"x \in [0,1]", Named, "x\x1f[=0,=1]"),
        ("x<2", Named, "x\x1f(-\\infty,=2)"),
        (r"x\le2", Named, "x\x1f(-\\infty,=2]"),
        ("x>2", Named, "x\x1f(=2,\\infty)"),
        (r"2\le x", Named, "x\x1f[=2,\\infty)"),
        (r"0<x\le2", Named, "x\x1f(=0,=2]"),
        (r"2\ge x>0", Named, "x\x1f(=0,=2]"),
        ("0<x>2", Expression, "0<x>2"),
        ("x<y", Expression, "x<y"),
        ("0<1<2<3", Expression, "0<1<2<3"),
        ("x<", Expression, "x<"),
        (r"x\ne2", Named, "x\x1f{(-\\infty,=2)U(=2,\\infty)}"),
        (r"x\ney", Expression, r"x\ney"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", Matrix, "matrix[=1,=2;=3,=4]"),
        (r"\begin{pmatrix}1&\\3\end{pmatrix}", Matrix, r"matrix[=1,\text{};=3]"),
        (r"\left[\begin{array}{c}1\\2\end{array}\right]", Matrix, "matrix[=1;=2]"),
        (r"\begin{cases}1\end{cases}", Expression, r"\begin{cases}1\end{cases}"),
        (r"\begin{pmatrix}1", Expression, r"\begin{pmatrix}1"),
        (r"\text{East}", Expression, '"east"'),
        ("no solution", Expression, r"\emptyset"),
        ("no luck", Expression, '"noluck"'),
        ("June 20", Expression, '"june20"'),
        (r"\text{(C)}", Expression, "C"),
        ("c", Expression, "c"),
        ("4343_6", Expression, "4343_{6}"),
        ("1,,2", Expression, "1,,2"),
        ("()", Expression, "()"),
        ("(", Expression, "("),
        (")", Expression, ")"),
    ],
)
def test_shapes(text: str, kind: type[Shape], form: str) -> None:
    found = shape(text)
    assert (type(found), found.form) == (kind, form)


@pytest.mark.parametrize("text", ["", "  ", "$$", "\x00", ".", "x" * 1001])
def test_nothing_to_read(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "x",
        r"\text{even}",
        "4343_6",
        "2 3",
        "1:2",
        "f(1,2)'",
        r"x\approx 2",
        "(x+1",
        "x+1)(",
        "x+" * 200 + "1",
    ],
)
def test_what_math_verify_would_misread_is_compared_by_form(text: str) -> None:
    found = shape(text)
    assert isinstance(found, Expression)
    assert found.latex is None


def test_brackets_below_the_limit_are_not_looked_into() -> None:
    found = shape("[" * 30 + "1" + "]" * 30)
    while isinstance(found, Ordered):
        found = found.parts[0]
    assert found.form.startswith("[")
