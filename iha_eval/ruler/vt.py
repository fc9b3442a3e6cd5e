"""Variable tracking: a chain of assignments in noise; which variables hold a value?

For: the task `vt` and drafts of its documents.
Not for: the noise itself (niah.py).

Source: NVIDIA/RULER, scripts/synthetic.yaml (vt), scripts/data/synthetic/constants.py and
variable_tracking.py.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from iha_eval.ruler.drafts import Definition
from iha_eval.ruler.draw import Stream
from iha_eval.ruler.niah import NoiseDraft, NoiseMaterial
from iha_eval.ruler.tokens import TokenCounter

QUESTION = (
    "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n"
    "{context}\n"
    "Question: Find all variables that are assigned the value {value} in the text above."
)
#: It ends in a space.
PREFIX = (
    "Answer: According to the chain(s) of variable assignment in the text above, {count} variables "
    "are {assigned} the value {value}, they are: "
)
#: Tokens that the example before the question may take.
EXAMPLE_TOKENS = 500

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SMALLEST, _VALUES = 10_000, 89_999


@dataclass(frozen=True)
class Chain:
    """A value and the variables that hold it, the first by itself, each other by the one before."""

    value: str
    names: list[str]

    @classmethod
    def drawn(cls, stream: Stream, letters: int, names: int, other: str = "") -> "Chain":
        """Draw different names and a value that is not `other`."""
        value = other
        while value == other:
            value = str(_SMALLEST + stream.integer(_VALUES))
        drawn: dict[str, None] = {}
        while len(drawn) < names:
            name = "".join(_LETTERS[i] for i in stream.integers(len(_LETTERS), letters))
            # A variable named VAR would read like the word before every name.
            if name != "VAR":
                drawn[name] = None
        return cls(value, list(drawn))

    def statements(self) -> list[str]:
        """Its lines; all but the first end in a space."""
        later = [f"VAR {b} = VAR {a} " for a, b in zip(self.names, self.names[1:], strict=False)]
        return [f"VAR {self.names[0]} = {self.value}", *later]

    def texts(self, context: str, assigned: str) -> tuple[str, str]:
        """Question and answer prefix."""
        prefix = PREFIX.format(count=len(self.names), value=self.value, assigned=assigned)
        return QUESTION.format(context=context, value=self.value), prefix


class ChainExample(NoiseDraft):
    """The solved question that stands before the real one."""

    def __init__(self, material: "ChainMaterial", stream: Stream, other: str = "") -> None:
        """Draw a chain with another value than `other`, and its places."""
        super().__init__(material, 0)
        task = material.task
        self.chain = Chain.drawn(stream, task.example_letters, task.hops + 1, other)
        places = stream
        if material.settings.layout == "nvidia":
            places = Stream("ruler", "vt", material.length, "example places")
        self._hide(self.chain.statements(), places)

    def asked(self, size: int) -> tuple[str, str]:
        """Its question with `size` noise lines, and its answer prefix."""
        return self.texts(self.context(size))

    def texts(self, context: str) -> tuple[str, str]:
        """Question and answer prefix around `context`."""
        return self.chain.texts(context, self._material.assigned)

    def solved(self, size: int) -> str:
        """The whole example, answer included, as it stands before the question."""
        return " ".join([*self.asked(size), *self.chain.names]) + "\n\n"


class ChainDraft(NoiseDraft):
    """A document: a chain, its places, and the example before it."""

    kind = "variables"

    def __init__(self, material: "ChainMaterial", index: int) -> None:
        """Draw everything from the stream of (length, index)."""
        super().__init__(material, index)
        self._stream = Stream(*self._parts)
        self._chain = Chain.drawn(self._stream, material.task.letters, material.task.hops + 1)
        self.outputs, self.query = self._chain.names, self._chain.value
        self._hide(self._chain.statements(), self._stream)

    @cached_property
    def _example(self) -> str:
        example = ChainExample(self._material, self._stream, self.query)
        return example.solved(self._material.example_lines)

    def texts(self, context: str) -> tuple[str, str]:
        """Example and question, and the answer prefix."""
        question, prefix = self._chain.texts(context, self._material.assigned)
        return self._example + question, prefix


class ChainMaterial(NoiseMaterial):
    """Noise, and how much of it the example before the question holds.

    Attributes:
        example_lines: Noise lines of the example, the same in all documents.
    """

    example_lines = 0
    drafts = ChainDraft

    @property
    def assigned(self) -> str:
        """The word as the answer prefix spells it."""
        return "assgined" if self.settings.spelling == "old" else "assigned"

    @property
    def sources(self) -> dict[str, Any]:
        """The noise."""
        return {"haystack": "noise"}

    def prepare(self, counter: TokenCounter) -> None:
        """Size the example once: the largest that takes 500 tokens, or the smallest there is."""
        super().prepare(counter)
        example = ChainExample(self, Stream("ruler", "vt", "example"))
        self.example_lines = example.minimum
        while counter.plain(" ".join(example.asked(self.example_lines + 1))) <= EXAMPLE_TOKENS:
            self.example_lines += 1


@dataclass(frozen=True)
class ChainTask(Definition):
    """The task.

    Attributes:
        hops: Assignments of one variable to the next.
        letters: Letters of a variable's name.
        example_letters: The same in the example.
    """

    name: str = "vt"
    hops: int = 4
    letters: int = 5
    example_letters: int = 3

    new_tokens: ClassVar[int] = 30
    materials = ChainMaterial


VT = {"vt": ChainTask()}
