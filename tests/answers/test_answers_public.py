import random
import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from iha_eval import answers
from iha_eval.answers import Comparer, Equality, extract, read

#: Pieces of answers, whole and broken, from which nonsense is made.
# fmt: off
PIECES = [
    r"\frac", r"\sqrt", "{", "}", "(", ")", "[", "]", r"\{", r"\}", "^", "_", "1", "2", "12",
    ".5", "1.50", "x", "A", "i", "e", "d", "+", "-", r"\pm", r"\cdot", "/", "!", "=", "<", r"\le",
    r"\in", r"\cup", ",", r"\text{cm}", r"\text{", r"\begin{pmatrix}", r"\end{pmatrix}", "&",
    r"\\", r"\pi", r"\infty", "$", "%", r"^\circ", r"\left", r"\right", r"\overline", "sqrt",
    "pi", r"\binom", ";", ":", "'", r"\boxed{", "####", r"\mathbb{R}", r"\langle", r"\rangle",
    "1,000", "answer", "|", "\\", " ", "\n", "\x00", "is", "\u0663", "\u00b2",
]
# fmt: on


def test_every_name_is_there() -> None:
    assert all(hasattr(answers, name) for name in answers.__all__)


def test_importing_needs_neither_sympy_nor_lm_eval_nor_torch() -> None:
    code = (
        "import sys, iha_eval.answers\n"
        "heavy = {'sympy', 'math_verify', 'lm_eval', 'torch', 'numpy'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
@settings(max_examples=400, deadline=None)
def test_nonsense_is_read_or_not_but_never_fails(text: str) -> None:
    for found in (text, extract(text, "math"), extract(text, "number")):
        shape = read(found) if found is not None else None
        again = read(f" {found} ") if shape is not None else None
        assert (shape is None) == (again is None)
        assert shape is None or again is None or shape.form == again.form


def test_comparisons_of_nonsense_are_symmetric() -> None:
    """Two comparers with a memory of their own each; asked in opposite directions."""
    generator = random.Random(7)
    shapes = [read("".join(generator.choices(PIECES, k=4))) for _ in range(120)]
    kept = [shape for shape in shapes if shape is not None]

    def ask(one: str, other: str) -> bool:
        return len(one) == len(other)

    found: set[Equality] = set()
    for one in kept:
        for other in kept:
            verdict = Comparer(ask).compare(one, other)
            assert verdict is Comparer(ask).compare(other, one), (one, other)
            found.add(verdict)
    assert found == {Equality.EQUAL, Equality.DIFFERENT}
