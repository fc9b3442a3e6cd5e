"""What an implementation makes of the prompts: the common form that comparisons work on.

For: log-probabilities as plain numbers, so that a model can be freed before the next is loaded.
Not for: making them (`naive_model.py`, `transformers_model.py`, `vllm_model.py`).
"""

import math
from dataclasses import dataclass

import torch

from iha_eval.verify.prompts import Prompt


@dataclass(frozen=True)
class Sequence:
    """A prompt with the greedy continuation that the reference gave it.

    Attributes:
        prompt: The prompt.
        answer: The continuation's token ids.
    """

    prompt: Prompt
    answer: tuple[int, ...]

    @property
    def ids(self) -> list[int]:
        """All token ids."""
        return [*self.prompt.ids, *self.answer]


@dataclass(frozen=True)
class ReadingRow:
    """How likely the tokens of one sequence were found, from one of them on.

    Attributes:
        first: Index in the sequence of the first token that is spoken of.
        logprobs: log-probability of each token, given those before it.
        best: Highest log-probability of any token at the same places.
    """

    first: int
    logprobs: tuple[float, ...]
    best: tuple[float, ...]

    @property
    def end(self) -> int:
        """Index after the last token that is spoken of."""
        return self.first + len(self.logprobs)

    def at(self, index: int) -> tuple[float, float]:
        """Log-probability of the token at this index of the sequence, and the highest there."""
        return self.logprobs[index - self.first], self.best[index - self.first]


@dataclass(frozen=True)
class Reading:
    """One implementation's rows.

    Attributes:
        name: The implementation, as tables call it.
        dtype: Type it computed in, such as "float32".
        rows: A row for each sequence, in their order.
        seconds: How long it took, loading included.
        whole: Whether it read sequences in one piece, as opposed to token by token.
    """

    name: str
    dtype: str
    rows: tuple[ReadingRow, ...]
    seconds: float
    whole: bool = True

    @property
    def finite(self) -> bool:
        """Whether every value is a number: none is where the type is too narrow for the model."""
        return all(
            math.isfinite(value) for row in self.rows for value in (*row.logprobs, *row.best)
        )

    @property
    def implementation(self) -> str:
        """Who read, without the variant: "vLLM", "base Transformers"."""
        base = "base " if self.name.startswith("base ") else ""
        return base + self.name.removeprefix("base ").split()[0]


def row_of_logits(logits: torch.Tensor, ids: list[int], first: int = 1) -> ReadingRow:
    """The row of a sequence's tokens from `first` on.

    Args:
        logits: [n, vocabulary], whose last one follows the last token but one of `ids`.
        ids: The sequence.
        first: Index of the first token to speak of; `len(ids) - first` logits are looked at.
    """
    count = len(ids) - first
    logprobs = logits[len(logits) - count :].float().log_softmax(-1)
    tokens = torch.tensor(ids[first:], device=logits.device)
    own = logprobs.gather(-1, tokens[:, None])[:, 0]
    return ReadingRow(first, tuple(own.tolist()), tuple(logprobs.max(-1).values.tolist()))
