"""The model under evaluation, as far as prompts go: its tokenizer and how it starts a prompt.

For: model classes, which publish themselves here, and tasks, which size their documents by what the
model will see (lm-eval builds the model before it loads the tasks, and passes nothing from the one
to the other). Also for what comes back: lm-eval passes on nothing but strings, so an answer is one
that remembers whether its budget cut it.
Not for: the engine or the weights; nothing here keeps those alive. Answers of other model classes
are plain strings: whether those were cut is not known.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CurrentModel:
    """What a task may know of the model.

    Attributes:
        tokenizer: A transformers tokenizer, as the model class uses it.
        add_bos: What the model class puts before a prompt. None: whatever special tokens the
            tokenizer adds by itself; True: a BOS token unless the prompt has one; False: nothing.
        name: The checkpoint as the user named it (the `pretrained` argument), or an empty string.
        tokenizer_name: The tokenizer as the user named it (the `tokenizer` argument), or an empty
            string.
    """

    tokenizer: Any
    add_bos: bool | None = None
    name: str = ""
    tokenizer_name: str = ""

    def encode(self, text: str) -> list[int]:
        """Token ids of a prompt, special tokens included, exactly as the model receives them."""
        special = self.add_bos is None
        ids: list[int] = list(
            self.tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
        )
        bos = self.tokenizer.bos_token_id
        if self.add_bos and bos is not None and ids[:1] != [bos]:
            ids.insert(0, bos)
        return ids


_published: CurrentModel | None = None


def publish(model: CurrentModel) -> None:
    """Make `model` the one that tasks see; it replaces any earlier one."""
    global _published
    _published = model


def current() -> CurrentModel | None:
    """The model published last, or None."""
    return _published


def clear() -> None:
    """Forget the published model."""
    global _published
    _published = None


def tokenizer_sha256(tokenizer: Any) -> str:
    """A hash of everything that decides how `tokenizer` encodes a text, as 64 hex digits.

    Truncation and padding are left out: callers switch them on and off without meaning another
    tokenizer.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        state = json.dumps([type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())])
    else:
        state = backend.to_str()
        # The serialized form opens with truncation and padding; what encodes starts here.
        state = state[max(state.find('"added_tokens"'), 0) :]
    return hashlib.sha256(f"{tokenizer.bos_token_id}|{state}".encode()).hexdigest()


class GeneratedText(str):
    """An answer's text that remembers how it ended.

    Attributes:
        cut: True where the generation budget ended it, not a stop string or an end token; None
            where that is not known.
    """

    __slots__ = ("cut",)

    cut: bool | None

    # lm-eval makes texts of its own of the type that it finds an answer to have.
    def __new__(cls, text: object = "", *, cut: bool | None = None) -> "GeneratedText":
        """The text itself, to everything that knows nothing of `cut`."""
        made = super().__new__(cls, text)
        made.cut = cut
        return made

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, bool | None]]:
        """For copies and pickles, which lm-eval's cache of answers makes."""
        return (str(self),), {"cut": self.cut}


def share_cut(answers: Sequence[str]) -> float | None:
    """The share of answers that their budget cut, 0 to 1; None if any of them does not tell."""
    told = [getattr(answer, "cut", None) for answer in answers]
    known = [cut for cut in told if cut is not None]
    return sum(known) / len(known) if known and len(known) == len(told) else None
