"""One worked example of a few-shot prompt.

For: the form in which our own examples and training rows are shown alike.
Not for: which ones a prompt holds (fewshot.py).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """A problem with its solution.

    Attributes:
        problem: What is asked.
        steps: The solution up to its last sentence, which states the answer.
        answer: What the last sentence states.
    """

    problem: str
    steps: str
    answer: str

    @property
    def solution(self) -> str:
        r"""The steps and the last sentence, `The answer is \boxed{...}.`."""
        return f"{self.steps}\nThe answer is \\boxed{{{self.answer}}}."

    @property
    def document(self) -> dict[str, str]:
        """As lm-eval's templates take it."""
        return {"problem": self.problem, "solution": self.solution, "answer": self.answer}
