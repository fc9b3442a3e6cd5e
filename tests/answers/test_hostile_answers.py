"""Answers that are meant to hang, fill the memory or crash: judged, counted, and survived."""

import time
from collections.abc import Iterator

import pytest

from iha_eval.answers.equivalence import Comparer
from iha_eval.answers.extract import Kind, extract
from iha_eval.answers.read import read
from iha_eval.answers.sympy_pool import Workers
from iha_eval.answers.votes import judge

MIB = 1 << 20

#: Answers whose value nobody can work out.
ENDLESS = {
    "tower of braces": "10^{10^{10^{10}}}",
    "factorial of a factorial": "((9!)!)!",
}

#: Answers that look as bad, but differ from 5 to the first digits or are no LaTeX.
HUGE = {
    "tower of carets": "9^9^9^9",
    "factorial": "10000000000!",
    "power of a root": r"\sqrt{2}^{10^{12}}",
    "binomial": r"\binom{10^{12}}{10^{11}}",
}

#: Texts that are large, deep or broken.
TEXTS = {
    "3 MB of braces": "{" * (3 * MIB),
    "3 MB of closed braces": "\\boxed{" + "{}" * (MIB * 3 // 2) + "}",
    "3 MB of open boxes": "\\boxed{" * (3 * MIB // 7),
    "3 MB of round brackets": "\\boxed{" + "(" * (3 * MIB) + "}",
    "3 MB of dollars": "$" * (3 * MIB),
    "3 MB of math openings": "\\(" * (MIB * 3 // 2),
    "3 MB of hashes": "#" * (3 * MIB),
    "3 MB of answers": "answer is " * (MIB // 3),
    "3 MB of digits": "The answer is " + "1" * (3 * MIB),
    "3 MB of thousands": "1,000" * (MIB * 3 // 5),
    "3 MB of line breaks": "5" + "\n" * (3 * MIB),
    "3 MB of spaces": "answer" + " " * (3 * MIB),
    "100 kB of an answer": "\\boxed{" + "x+" * 50_000 + "1}",
}

SHORT = {
    "deep brackets": "(" * 480 + "1" + ")" * 480,
    "deep braces": "{" * 480 + "1" + "}" * 480,
    "deep fractions": r"\frac{1}{" * 100 + "2" + "}" * 100,
    "deep roots": r"\sqrt{" * 140 + "2" + "}" * 140,
    "deep powers": "x^" * 400 + "2",
    "open brackets": "(" * 900,
    "closed brackets": ")" * 900,
    "signs": "-" * 900 + "1",
    "factorial of a factorial of": "3" + "!" * 900,
    "plus-minus": r"\pm 1" * 180,
    "commas": "," * 900,
    "long list": ",".join(str(i) for i in range(250)),
    "NUL": "\x00\x00",
    "control characters": "5\x00\x01\x1b[31m",
    "lone surrogate": "\ud800 + 1",
    "broken fraction": r"\frac{1}{",
    "broken root": r"\sqrt[3",
    "broken matrix": r"\begin{pmatrix} 1 & 2 \\ 3",
    "ended matrix": r"\end{pmatrix}",
    "empty matrix": r"\begin{pmatrix}\end{pmatrix}",
    "backslashes": "\\" * 901,
    "division by zero": r"\frac{1}{0}",
    "zero to minus one": "0^{-1}",
    "circled digits": "\u2460\u00b2\u0663",
    "code": "__import__('os').system('exit 1')",
    "only signs": "=<>=",
    "relation without sides": "=",
}


@pytest.fixture(scope="module")
def hasty() -> Iterator[Workers]:
    workers = Workers(limit=0.3)
    yield workers
    workers.close()


def boxed(answer: str) -> str:
    return f"so \\boxed{{{answer}}}"


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_comparison_is_undecided_and_the_worker_replaced(
    hasty: Workers, name: str
) -> None:
    assert hasty.ask("1 + x", "x + 1") is True
    before, killed = hasty.pids[0], hasty.killed
    judged = judge([boxed(ENDLESS[name]), boxed("5")], "5", "math", Comparer(hasty.ask))
    assert (judged.right, judged.undecided, judged.wrong) == ((False, True), 1, (1,))
    assert hasty.killed == killed + 1
    assert hasty.ask("2 x", "x + x") is True
    assert before not in hasty.pids


@pytest.mark.parametrize("name", HUGE)
def test_a_huge_value_is_different_without_being_worked_out(hasty: Workers, name: str) -> None:
    killed = hasty.killed
    judged = judge([boxed(HUGE[name]), boxed("5")], "5", "math", Comparer(hasty.ask))
    assert (judged.right, judged.undecided, judged.wrong) == ((False, True), 0, (1,))
    assert hasty.killed == killed


def test_an_answer_that_cannot_be_read_costs_its_limit_once(hasty: Workers) -> None:
    outputs = [boxed("8^{8^{8^{8^{8}}}}"), *[boxed(str(n)) for n in range(5)]]
    killed = hasty.killed
    judged = judge(outputs, "100", "math", Comparer(hasty.ask))
    assert judged.undecided == 1
    assert hasty.killed == killed + 1


def test_many_undecidable_answers_cost_one_limit_each(hasty: Workers) -> None:
    outputs = [boxed(f"({n}^{{9^{{9^{{9}}}}}}+x)!") for n in range(2, 8)]
    killed = hasty.killed
    judged = judge([*outputs, boxed("5")], "x+5", "math", Comparer(hasty.ask))
    assert judged.wrong == (1,) * 7
    assert judged.undecided == 6
    assert hasty.killed - killed == 6


def test_many_wrong_equations_need_no_algebra(workers: Workers) -> None:
    outputs = [boxed(f"x^7+i x^5+x^3y^3+y^7={n}ixy+1") for n in range(1, 9)]
    killed = workers.killed
    judged = judge(outputs, "x^7+y^7=1", "math", Comparer(workers.ask))
    assert (judged.wrong, judged.undecided) == ((1,) * 8, 0)
    assert workers.killed == killed


RUNS = (" ", "~", r"\quad ", "{", "(", "1", ",", r"\text{", "\n", "$", r"\(", "1,", "-", "not ")


@pytest.mark.parametrize("template", ["x{}y", "#### 5{}6", "The answer is 5{}6", r"\boxed{{5{}6}}"])
@pytest.mark.parametrize("run", RUNS)
def test_a_run_of_one_sign_costs_little(run: str, template: str, comparer: Comparer) -> None:
    """Processor time with much to spare; a pattern that is cubic in the run takes minutes."""
    for length in (900, 2000):
        text = template.format(run * (length // len(run)))
        started = time.process_time()
        read(text)
        for kind in ("math", "number"):
            extract(text, kind)
            judge([text], "5", kind, comparer)
        assert time.process_time() - started < 1


@pytest.mark.parametrize("kind", ["math", "number"])
@pytest.mark.parametrize("name", TEXTS)
def test_a_huge_text_is_looked_through(name: str, kind: Kind, comparer: Comparer) -> None:
    found = extract(TEXTS[name], kind)
    assert found is None or len(found) <= 1000
    judged = judge([TEXTS[name], "\\boxed{5}"], "5", kind, comparer)
    assert judged.right[1]
    assert judged.unparseable + sum(judged.wrong) + judged.correct == 2


@pytest.mark.parametrize("name", SHORT)
def test_a_broken_answer_is_judged(name: str, hasty: Workers) -> None:
    outputs = [boxed(SHORT[name]), f"The answer is {SHORT[name]}", boxed("12"), boxed(r"\sqrt{8}")]
    judged = judge(outputs, r"2\sqrt{2}", "math", Comparer(hasty.ask))
    assert judged.right[2:] == (False, True)
    assert judged.unparseable + sum(judged.wrong) + judged.correct == 4


@pytest.mark.parametrize("name", SHORT)
def test_a_broken_answer_equals_itself_or_is_unparseable(name: str, hasty: Workers) -> None:
    judged = judge([boxed(SHORT[name])] * 2, "gold", "math", Comparer(hasty.ask))
    assert judged.wrong == (2,) or judged.unparseable == 2
