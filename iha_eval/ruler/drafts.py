"""What a task is, and what one of its documents is before its size is settled.

For: the interface behind which all task families look alike to sizing, and the settings they share.
Not for: drawing (niah.py, vt.py, cwe.py, fwe.py, qa.py) or sizing (fit.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from iha_eval.errors import UserError
from iha_eval.ruler.tokens import TokenCounter

Document = dict[str, Any]

_CHOICES = {
    "layout": ("own", "nvidia"),
    "questions": ("all", "first"),
    "spelling": ("new", "old"),
}


@dataclass(frozen=True)
class RulerSettings:
    """What task metadata may change.

    Attributes:
        layout: `own` for an order that each document draws for itself, `nvidia` for the original's,
            which is the same in all documents of one size.
        questions: For qa: `all` to draw questions over all articles, `first` for the first ones.
        spelling: For vt: `old` for the "assgined" that the answer prefix had until May 2025.
        data: The folder of the question sets; None for the environment's, or else the hub.
    """

    layout: str = "own"
    questions: str = "all"
    spelling: str = "new"
    data: Path | None = None

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any], data: Path | None) -> "RulerSettings":
        """Read them.

        Args:
            metadata: lm-eval's task metadata.
            data: The folder of the question sets.

        Raises:
            UserError: One has a value that it cannot have.
        """
        chosen = {name: metadata.get(name, values[0]) for name, values in _CHOICES.items()}
        for name, value in chosen.items():
            if value not in _CHOICES[name]:
                first, second = _CHOICES[name]
                raise UserError(
                    f"metadata {name!r} is {value!r}: it can be {first!r} (the default) or "
                    f"{second!r}."
                )
        return cls(**chosen, data=data)

    def changed(self) -> dict[str, str]:
        """The settings that are not the default, for the results."""
        values = {name: str(getattr(self, name)) for name in _CHOICES}
        return {name: value for name, value in values.items() if value != _CHOICES[name][0]}


class Material:
    """What the documents of one task at one length share.

    Attributes:
        task: The task.
        length: Tokens of prompt and generation together.
        settings: What metadata asked for.
        units: What haystacks are made of, as texts whose tokens add up.
        counter: Counts tokens; known once `prepare` was called.
        drafts: The class of its documents.
    """

    units: Sequence[str] = ()
    counter: TokenCounter
    drafts: ClassVar[type["Draft"]]

    def __init__(
        self, task: Any, length: int, settings: RulerSettings, haystack: str | None = None
    ) -> None:
        """Make documents of `length` tokens; see `load_haystack` for `haystack`."""
        self.task, self.length, self.settings, self._source = task, length, settings, haystack

    @property
    def sources(self) -> dict[str, Any]:
        """Names and hashes of the texts that documents are made of."""
        return {}

    def prepare(self, counter: TokenCounter) -> None:
        """Settle what depends on the tokenizer and is the same in all documents."""
        self.counter = counter

    @cached_property
    def costs(self) -> npt.NDArray[np.int64]:
        """Tokens of each unit, as an array [units]."""
        return self.counter.costs(self.units)

    def draft(self, index: int) -> Any:
        """The draft of document `index`."""
        return self.drafts(self, index)


class Definition:
    """One of RULER's tasks.

    Attributes:
        name: Its name within its family; part of the names of random streams.
        new_tokens: Tokens a model may generate per document.
        family: The first part of the names of random streams.
    """

    name: str
    new_tokens: ClassVar[int]
    family: ClassVar[str] = "ruler"
    materials: ClassVar[type[Material]]

    @property
    def title(self) -> str:
        """Its name in RULER, such as `niah_single_1`."""
        return self.name

    def material(self, length: int, haystack: str | None, settings: RulerSettings) -> Material:
        """What its documents of `length` tokens are made of."""
        return self.materials(self, length, settings, haystack)


class Draft(ABC):
    """Everything random about one document; only its size is open.

    Attributes:
        outputs: The right answers.
        query: What is asked for.
        kind: What answers are; a key of `scoring.SCORERS`.
        filler: What fills the rest that no whole unit fits in; 0 for nothing.
        minimum: The smallest size.
        reach: Units by which an estimate of the size may be off, since the last unit counts a
            little differently.
        supply: What sizes count, where there is no more of it than the largest size takes.
    """

    minimum: int
    reach: ClassVar[int] = 1
    supply: ClassVar[str] = ""

    outputs: list[str]
    query: str
    kind: str
    filler: int = 0

    def __init__(self, material: Any, index: int) -> None:
        """Draw everything from streams of the task, the length and `index`."""
        self._material, self.length, self.index = material, material.length, index
        self.title = material.task.title
        self._parts = (material.task.family, material.task.name, material.length, index)

    @abstractmethod
    def context(self, size: int) -> str:
        """The haystack of `size` units and what is hidden in it."""

    @abstractmethod
    def edges(self, size: int) -> str:
        """`context(size)` without its inner units, which are cut out from space to space."""

    @abstractmethod
    def inner_tokens(self) -> npt.NDArray[np.int64]:
        """Tokens of the inner units for sizes `minimum`, `minimum` + 1, and so on, past the length.

        They may end there, although there are larger sizes (`largest`).
        """

    def largest(self) -> int:
        """The largest size there is."""
        return self.minimum + len(self.inner_tokens()) - 1

    @abstractmethod
    def texts(self, context: str) -> tuple[str, str]:
        """User text and answer prefix around `context`."""

    def tokens(self, size: int, inner: npt.NDArray[np.int64]) -> int:
        """Tokens of user text and answer prefix, as the sum over their pieces.

        Args:
            size: Units.
            inner: `inner_tokens`.
        """
        return self._pieces(*self.texts(self.edges(size))) + int(inner[size - self.minimum])

    def _pieces(self, *texts: str) -> int:
        return sum(map(self._material.counter.pieces, texts))

    def fillers(self, size: int, rest: int) -> Iterable[int]:
        """Fillers to try, the best first, where `rest` tokens are left at `size`."""
        del size, rest
        return ()

    def confirmed(self, size: int) -> bool:
        """Whether `tokens` is exact at `size`; where it was not, it is from then on."""
        del size
        return True

    def depth(self, size: int) -> float | None:
        """Where the answer is, in percent of the haystack; None if it is in several places."""
        del size
        return None

    def document(self, size: int, length: int = 0) -> Document:
        """The document as the task sees it.

        Args:
            size: Units.
            length: Tokens of the prompt plus the generation budget, as far as known.
        """
        text, prefix = self.texts(self.context(size))
        return {
            "index": self.index,
            "input": text,
            "outputs": self.outputs,
            "gen_prefix": prefix,
            "query": self.query,
            "kind": self.kind,
            "depth": self.depth(size),
            "length": length,
            "max_length": self.length,
        }
