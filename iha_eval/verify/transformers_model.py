"""A checkpoint read by the Transformers implementation, in one piece and token by token.

For: any checkpoint that Transformers loads; it also writes the greedy continuations that every
implementation then reads.
Not for: evaluation (see `models/hf/model.py`).
"""

import gc
import time
from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from transformers import AutoModelForCausalLM

# Registers IHA's configuration and model with Transformers.
import model_adapters  # noqa: F401
from iha_eval.errors import UserError
from iha_eval.verify.prompts import Prompt
from iha_eval.verify.reading import Reading, ReadingRow, Sequence, row_of_logits
from model_adapters.checkpoint import read_config

NAME = "Transformers"
KINDS = ("sdpa", "eager")


@dataclass
class TransformersModel:
    """A loaded model; freed at the end of a `with` block.

    Attributes:
        folder: The checkpoint.
        dtype: Type to compute in, such as "float32".
        label: What its readings are called.
    """

    folder: Path
    dtype: str
    label: str = NAME
    _model: Any = field(init=False, default=None)

    def __enter__(self) -> Self:
        """Load it.

        Raises:
            UserError: Transformers does not load it.
        """
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self._model = AutoModelForCausalLM.from_pretrained(
                self.folder,
                # Without what a checkpoint may ask the hub for.
                config=read_config(Path(self.folder)),
                dtype=getattr(torch, self.dtype),
                attn_implementation=KINDS[0],
            )
        except (ValueError, ImportError, RuntimeError) as error:
            raise UserError(
                f"Transformers does not load {self.folder} ({' '.join(str(error).split())}): mend "
                "the checkpoint, or the installation with the help of iha-eval doctor."
            ) from error
        self._model.to(device).eval()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free it, before the next one is loaded."""
        self._model = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def continued(self, prompts: Items[Prompt], tokens: int) -> tuple[list[Sequence], Reading]:
        """Continue each prompt greedily with the key/value cache, past any end of text.

        Args:
            prompts: What to continue.
            tokens: How many tokens to generate.

        Returns:
            The sequences, and how likely the generated tokens were found on the way.
        """
        start = time.perf_counter()
        made = [self._continue(prompt, tokens) for prompt in prompts]
        rows = tuple(row for _, row in made)
        seconds = time.perf_counter() - start
        name = f"{self.label} cached"
        return [sequence for sequence, _ in made], Reading(
            name, self.dtype, rows, seconds, whole=False
        )

    @torch.inference_mode()
    def read(self, sequences: Items[Sequence], kind: str = KINDS[0]) -> Reading:
        """Read each sequence in one piece, without a cache.

        Args:
            sequences: What to read.
            kind: Attention implementation, one of `KINDS`.
        """
        start = time.perf_counter()
        self._model.set_attn_implementation(kind)
        rows = []
        for sequence in sequences:
            # The last token is predicted, not read.
            logits = self._model(self._tensor(sequence.ids[:-1]), use_cache=False).logits[0]
            rows.append(row_of_logits(logits, sequence.ids))
        name = f"{self.label} {kind}"
        return Reading(name, self.dtype, tuple(rows), time.perf_counter() - start)

    def _continue(self, prompt: Prompt, tokens: int) -> tuple[Sequence, ReadingRow]:
        answer: list[int] = []
        logits, cache, unread = [], None, list(prompt.ids)
        for _ in range(tokens):
            output = self._model(self._tensor(unread), past_key_values=cache, use_cache=True)
            cache, last = output.past_key_values, output.logits[0, -1]
            logits.append(last)
            unread = [int(last.argmax())]
            answer += unread
        sequence = Sequence(prompt, tuple(answer))
        return sequence, row_of_logits(torch.stack(logits), sequence.ids, len(prompt.ids))

    def _tensor(self, ids: list[int]) -> torch.Tensor:
        return torch.tensor([ids], device=self._model.device)
