"""lm-eval's conventions about text: chat templates, special tokens, names, lengths.

For: what lm-eval and its tasks ask of any model class besides answers and scores.
Not for: those (see `base.py`), nor how a tokenizer is used (see `tokenizer.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lm_eval.api.model import TemplateLM

from iha_eval import current_model
from iha_eval.models.arguments import ModelArguments
from iha_eval.models.source import Source
from iha_eval.models.tokenizer import Text


@dataclass(frozen=True, kw_only=True)
class PublishedModel(current_model.ActiveModel):
    """What tasks may know of the model; encodes with the very code that encodes requests.

    Attributes:
        encoder: token ids of a prompt, as the model receives them.
    """

    encoder: Callable[[str], list[int]]

    def encode(self, text: str) -> list[int]:
        """Token ids of a prompt, special tokens included."""
        return self.encoder(text)


class Conventions(TemplateLM):
    """The part of lm-eval's interface that needs a tokenizer and no engine.

    Attributes:
        arguments: the model's arguments, checked.
        source: the checkpoint.
        text: its tokenizer.
    """

    arguments: ModelArguments
    source: Source
    text: Text
    _limit: int | None

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """A chat as the checkpoint's template writes it; see `Text.chat`."""
        return self.text.chat(chat_history, add_generation_prompt)

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """Token ids of a text; see `Text.encode`."""
        return self.text.encode(string, add_special_tokens)

    @property
    def tokenizer_name(self) -> str:
        """By what lm-eval's request cache tells tokenizers apart."""
        return str(self.text.folder).replace("/", "__")

    @property
    def eot_token_id(self) -> int | None:
        """The tokenizer's end-of-sequence token."""
        return self.text.eos_id

    @property
    def prefix_token_id(self) -> int:
        """The token that an empty context stands for."""
        return self.text.prefix_id

    @property
    def max_length(self) -> int | None:
        """Longest sequence in tokens: as asked, or what the checkpoint allows."""
        return self.arguments.max_model_len or self._limit

    @property
    def max_gen_toks(self) -> int:
        """Generation budget in tokens where a task sets none."""
        return self.arguments.max_gen_toks
