r"""Whole outputs as models write them, each with a gold answer and whether it is right.

For: `test_outputs`. Not for: single answers, whose pairs are in pairs.jsonl.
"""

from typing import NamedTuple


class Output(NamedTuple):
    """One generation."""

    kind: str
    text: str
    gold: str
    right: bool
    reason: str
    cut: bool = False


_MATH = [
    (r"$x=\boxed{3}$ and $y=\boxed{5}$", "3,5", True, "names between boxes"),
    ("The final answer is:\n\\[\n\\frac{1}{2}\n\\]", r"\frac{1}{2}", True, "display after a colon"),
    ("The final answer is:\n$$\nx^2+1\n$$", "x^2+1", True, "dollars on lines of their own"),
    ("We add.\n\nHence\n$$\n\\sqrt{8}\n$$", r"2\sqrt{2}", True, "display at the end"),
    ("Hence\n\\[\nx = 7.\n\\]\n", "7", True, "display with a period"),
    ("So it is $12$.\n\nLet me know if you have questions!", "12", True, "pleasantry"),
    ("So it is \\(12\\).\n\n---\n\nI hope this helps.", "12", True, "rule and pleasantry"),
    (r"Thus $\boxed{3 \cdot 4 = 12}$.", "12", True, "product worked out in the box"),
    (r"Thus $\boxed{\sqrt{16}=4}$.", "4", True, "root worked out in the box"),
    (r"Thus $\boxed{\binom52=10}$.", "10", True, "binomial worked out in the box"),
    (r"Thus $\boxed{f(2)=5}$.", "5", True, "function at a number"),
    (r"Thus $\boxed{a+b=5}$.", "5", True, "the sum that is asked for"),
    (r"Thus $\boxed{5=x}$.", "5", True, "name on the right"),
    (r"Thus $\boxed{2\sqrt2\approx2.83}$.", r"2\sqrt{2}", True, "approximation after it"),
    (r"\boxed{\text{Answer: }9}", "9", True, "label in the box"),
    ("The answer is $3$ and $5$.", "3", False, "two answers"),
    ("The answer is $3$ and $5$.", "3,5", True, "two answers"),
    ("The answers are $3$, $5$, and $7$.", "3,5,7", True, "a list in pieces"),
    ("The answer is not $9$", "9", False, "denied"),
    ("It is certainly not $9$.", "9", False, "denied on the last line"),
    ("The answer is not $5$ but $6$.", "6", True, "corrected"),
    ("The answer is not $5$ but $6$.", "5", False, "corrected"),
    (r"We get \boxed{3}, \boxed{5}, \boxed{7}.", "3,5,7", True, "a list of boxes"),
    (r"We get \boxed{3} and \boxed{5}.", "5", False, "a list of boxes"),
    (r"First \boxed{3}. No, \boxed{5}.", "5", True, "a box corrected"),
    ("The answer should be $5$.", "5", True, "should be"),
    ("Answer := $5$", "5", True, "assigned"),
    ("The plane is $5x-7y+11z+4=0$.", "5x-7y+11z+4=0", True, "an equation at the end"),
    ("The plane is $5x-7y+11z+4=0$.", "x+y=0", False, "another equation"),
    ("The line is $y = 2x + 3$.", "y = 2x+3", True, "a line at the end"),
    ("So $x = 1 + 4 = 5$.", "5", True, "a chain at the end"),
    (r"\boxed{5}." + "\n\nProblem 2: What? \\boxed{9}", "5", True, "run-on after a box"),
    ("The answer is $5$.\n\nQuestion: why?\nThe answer is $6$.", "5", True, "run-on, Question"),
    ("The answer is $5$.\n\nQ: why?\nA: $6$.", "5", True, "run-on, Q"),
    ("Problem 1: a side is asked for.\nWe find $5$.", "5", True, "a heading before the answer"),
    (r"\boxed{42 \text{ apples}}", "42", True, "unit"),
    (r"\boxed{3/4 cup}", r"\frac34", True, "typed unit"),
    (r"\boxed{12\text{ million}}", "12", False, "a million is no unit"),
    (r"\boxed{12\text{ million}}", "12000000", True, "a million is a number"),
    (r"\boxed{5 \text{ or more}}", "5", False, "no unit"),
    (r"\boxed{\{\}}", r"\emptyset", True, "the empty set"),
    (r"\boxed{\sin 30^\circ}", r"\frac12", True, "degrees in a sine"),
    (r"\boxed{\textbf{(C)}\ 12}", "12", True, "a choice and its text"),
    (r"\boxed{\textbf{(C)}\ 12}", r"\text{(C)}", True, "a choice and its text"),
    ("Answer: A)", "A", True, "a choice with a bracket"),
    (r"\boxed{\text{A and B}}", "A,B", True, "letters in a text"),
    (r"\boxed{(1,2)}", r"\{1,2\}", False, "a pair is no set"),
    ("It costs $4 and then $5 more.", "4 and then", False, "prices are no math"),
    ("The answer is 5. We used $x=3$.", "5", True, "math in the next sentence"),
    ("The answer is 5 because $x=3$.", "5", True, "a reason after it"),
    (r"\boxed{x \in \{1,2\}}", "1,2", True, "membership"),
    ("No math here.", "5", False, "nothing to find"),
]
_NUMBER = [
    ("The answer is 1 1/2 cups.", "1", False, "mixed number"),
    ("The answer is 1 1/2 cups.", "1.5", True, "mixed number"),
    ("The answer is 3:30 PM.", "3", False, "time of day"),
    ("The answer is 1 million.", "1", False, "million"),
    ("The answer is 1 million.", "1000000", True, "million"),
    ("The answer is 1e3.", "1000", True, "exponent"),
    ("The answer is 2^4.", "2", False, "power"),
    ("The answer is 2^4.", "16", True, "power"),
    ("The answer is 20 + 5.", "20", False, "sum not worked out"),
    ("The answer is 20 + 5.", "25", True, "sum not worked out"),
    ("The answer is 12,5.", "12", False, "decimal comma or list"),
    (r"So \boxed{3, 4}.", "4", False, "two numbers in a box"),
    (r"So \boxed{5 \text{ to } 7}.", "7", False, "a range in a box"),
    ("It takes 5 to 7", "7", False, "a range"),
    ("It takes 5-7", "7", False, "a range with a hyphen"),
    ("The answer is 70 000.", "70000", True, "space between thousands"),
    (r"The answer is $70\,000$.", "70000", True, "thin space"),
    (r"The answer is $1 \times 10^3$.", "1000", True, "scientific"),
    ("The answer is - 5.", "-5", True, "sign apart"),
    ("The answer is 2*9, which is 18.", "18", True, "product worked out"),
    ("The answer is not 5 but 6.", "6", True, "corrected"),
    ("The answer is 2 hours, or 120 minutes.", "2", True, "the first of two units"),
    (r"The answer is $\frac{3}{4}$.", "3/4", True, "fraction"),
    (r"\boxed{3 \times 4 = 12 \text{ apples}}", "12", True, "product in the box"),
    ("So Ann has 18 eggs.\n\nLet me know if you have questions!", "18", True, "pleasantry"),
    ("20 + 5 = 25 apples\n#### 25", "25", True, "GSM8K's own form"),
    ("#### 4\n\nQuestion: 2 + 3?\n#### 5", "4", True, "run-on"),
    ("She earns $1,234.50", "1234.5", True, "price"),
    ("**Answer:** 5 apples", "5", True, "bold"),
    ("She had 5 x 4 apples", "20", True, "typed times"),
    ("There are 12 apples and 1", "1", True, "last number", False),
    ("There are 12 apples and 1", "1", False, "the budget ran out in a number", True),
    ("#### 12", "12", False, "the budget ran out in a number", True),
    ("#### 12\n", "12", True, "a line of its own, then cut", True),
    ("The answer is 12. Now", "12", True, "stated, then cut", True),
    (r"\boxed{12} and th", "12", True, "boxed, then cut", True),
]
_CUT_MATH = [
    ("We have $x=3$ and then $y$ is", "3", False, "no answer stated, then cut", True),
    ("The answer is $x + ", "x", False, "cut in a formula", True),
    ("The answer is $x + 1$. We", "x+1", True, "stated, then cut", True),
]
_MISSED = [
    ("math", "So it is $5$.\n\nTell me if $x$ is unclear!", "5", True, "math in a pleasantry"),
    ("number", "So 18.\n\nI can give 2 more examples!", "18", True, "number in a pleasantry"),
    ("number", "She needs 2 dozen", "2", True, "dozens asked for, read as 24"),
]

#: What is judged wrongly, with the reason; the rest is judged as it should be.
KNOWN_MISSES = [Output(*row) for row in _MISSED]
OUTPUTS = [
    *(Output("math", *row) for row in _MATH + _CUT_MATH),
    *(Output("number", *row) for row in _NUMBER),
    *KNOWN_MISSES,
]
