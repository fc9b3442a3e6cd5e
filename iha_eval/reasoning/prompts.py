"""How problems and worked examples are laid out, with and without a chat template.

For: the templates that lm-eval fills in, and the stop strings that go with them.
Not for: the chat template itself, which is the model's.
"""

from dataclasses import dataclass

_PLAIN_INSTRUCTION = (
    "Each problem is followed by a solution that goes step by step and states its result at the "
    r"end, in the form: The answer is \boxed{result}."
)
_CHAT_INSTRUCTION = (
    r"Work this out step by step. Close with a sentence that gives the result inside \boxed{}."
)


@dataclass(frozen=True)
class Layout:
    """A way to lay out a prompt.

    Attributes:
        name: For the results file.
        description: What comes before everything else.
        question: Template of the question that is asked; `problem` is its field.
        example: Template of the question of a worked example.
        until: Strings that end an answer, where neither task nor user names any.
    """

    name: str
    description: str
    question: str
    example: str
    until: tuple[str, ...]


CHAT_STOPS = (
    *("<|im_end|>", "<|im_start|>", "<|eot_id|>", "<|endoftext|>", "<end_of_turn>"),
    *("\nUser:", "\nHuman:"),
)
"""What ends an answer of a chat besides the token that ends its turn, for a model that writes that
token in letters or the next turn itself. Nothing behind these counts in the answer anyway."""

PLAIN = Layout(
    name="plain",
    description=f"{_PLAIN_INSTRUCTION}\n\n",
    question="Problem: {{problem}}\nSolution:",
    example="Problem: {{problem}}\nSolution:",
    # A base model goes on with a problem of its own, under whatever name.
    until=("\nProblem:", "\nProblem ", "\nQuestion:", "\nQ:", "\nExercise"),
)
"""Without a chat template."""

CHAT = Layout(
    name="chat",
    description="",
    question=f"{{{{problem}}}}\n\n{_CHAT_INSTRUCTION}",
    example=f"{{{{problem}}}}\n\n{_CHAT_INSTRUCTION}",
    until=CHAT_STOPS,
)
"""Worked examples, if any, as turns of the chat."""

CHAT_ONE_TURN = Layout(
    name="chat, examples in one turn",
    description="",
    question=f"Problem: {{{{problem}}}}\n\n{_CHAT_INSTRUCTION}",
    example="Problem: {{problem}}\nSolution:",
    until=CHAT_STOPS,
)
"""Worked examples and the question in one message of the user."""


def choose(apply_chat_template: bool, as_turns: bool, count: int) -> Layout:
    """The layout that goes with lm-eval's flags.

    Args:
        apply_chat_template: Whether there is a chat template.
        as_turns: lm-eval's `fewshot_as_multiturn`.
        count: Number of worked examples.
    """
    if not apply_chat_template:
        return PLAIN
    return CHAT if as_turns or count == 0 else CHAT_ONE_TURN
