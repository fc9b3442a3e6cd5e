"""What a drawn document is before its size is settled.

For: the one interface behind which the two kinds of haystack look alike to sizing.
Not for: drawing (niah.py) or sizing (fit.py).
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from iha_eval.ruler.definition import Variant

Document = dict[str, Any]


class Draft(ABC):
    """Everything random about one document; only the number of haystack units is open.

    Attributes:
        variant: The task.
        length: Its length in tokens, prompt and generation together.
        index: Number of the document.
        key: The key that is asked for.
        value: The right answer.
        minimum: Fewest haystack units (words or lines).
        reach: Units by which an estimate of the size may be off, since the last unit counts a
            little differently.
    """

    minimum: ClassVar[int]
    reach: ClassVar[int]

    variant: Variant
    length: int
    index: int
    key: str
    value: str

    @abstractmethod
    def context(self, size: int) -> str:
        """The haystack of `size` units with its needles."""

    @abstractmethod
    def edges(self, size: int) -> str:
        """`context(size)` without its inner units, which are cut out from space to space."""

    @abstractmethod
    def inner_tokens(self, costs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Tokens of the inner units for sizes `minimum`, `minimum` + 1, and so on.

        Args:
            costs: Tokens of each unit of the material, as an array [units].
        """

    @abstractmethod
    def depth(self, size: int) -> float:
        """Where the asked needle is, in percent of the haystack."""

    def texts(self, context: str) -> tuple[str, str]:
        """User text and answer prefix around `context`."""
        return self.variant.question(context, self.key), self.variant.answer_prefix(self.key)

    def document(self, size: int, length: int = 0) -> Document:
        """The document as the task sees it.

        Args:
            size: Haystack units.
            length: Tokens of the prompt plus the generation budget, as far as known.
        """
        text, prefix = self.texts(self.context(size))
        return {
            "index": self.index,
            "input": text,
            "outputs": [self.value],
            "gen_prefix": prefix,
            "query": self.key,
            "kind": self.variant.value_kind,
            "depth": self.depth(size),
            "length": length,
            "max_length": self.length,
        }
