"""The built-in prompts: plain sentences out of a small grammar, cut to a number of tokens.

For: text that every tokenizer knows, of any length, the same on every machine.
Not for: measuring what a model can do; the sentences are true by accident only.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from iha_eval.errors import UserError
from iha_eval.models.tokenizer import PromptTokenizer

#: Lengths in tokens: a single one, and both sides of a cache block's border.
SHORT = (1, 63, 129)

#: Several cache blocks and several chunks of prefill.
LONG = 1000

#: Tokens by which the last prompt is longer than the window.
BEYOND = 65

#: Longest prompt that is made for a window's sake.
MOST = 8192

_PEOPLE = ("Ada", "Bruno", "Chidi", "Dagny", "Emre", "Farah", "Goro", "Hanna", "Imani", "Joris")
_DEEDS = ("carried", "counted", "painted", "sold", "borrowed", "repaired", "weighed", "lost")
_THINGS = ("lanterns", "barrels", "maps", "kettles", "violins", "ropes", "bricks", "hats")
_PLACES = ("the harbor", "an old mill", "the river", "Lisbon", "a quiet village", "the station")
_TIMES = ("before noon", "in the rain", "every Monday", "without a word", "last winter")
_OPENINGS = ("", "", "Later, ", "Nobody noticed that ", "Because of the storm, ", "As agreed, ")


@dataclass(frozen=True)
class Prompt:
    """One prompt.

    Attributes:
        name: What it is called in tables.
        ids: Its token ids.
    """

    name: str
    ids: tuple[int, ...]


def lengths(kind: str, window: int | None, room: int) -> list[int]:
    """Which lengths to read, ascending.

    Args:
        kind: "short", or "all" for a long one too, and one beyond the window.
        window: W in tokens, or None.
        room: Most tokens a prompt may have.
    """
    wanted = list(SHORT)
    if kind == "all":
        wanted.append(LONG)
        if window is not None and window + BEYOND <= MOST and window >= LONG:
            wanted.append(window + BEYOND)
    return sorted({min(length, room) for length in wanted})


def make(text: PromptTokenizer, wanted: Sequence[int], vocabulary: int) -> list[Prompt]:
    """Prompts of the wanted lengths, begun as the tokenizer begins a text.

    Args:
        text: The checkpoint's tokenizer.
        wanted: Lengths in tokens.
        vocabulary: Rows of the embedding.

    Raises:
        UserError: The tokenizer has tokens that the embedding has no row for.
    """
    check_vocabulary(text, vocabulary)
    return [Prompt(_name(length), _ids(text, length)) for length in wanted]


def check_vocabulary(text: PromptTokenizer, vocabulary: int) -> None:
    """Refuse a tokenizer whose tokens the model cannot read.

    Raises:
        UserError: It has tokens that the embedding has no row for.
    """
    largest = max(text.tokenizer.get_vocab().values(), default=-1)
    if largest >= vocabulary:
        raise UserError(
            f"The tokenizer in {text.folder} has token id {largest}, but the embedding has "
            f"vocab_size {vocabulary} rows: put the tokenizer there that the model was trained "
            "with, or enlarge the embedding."
        )


def prose(seed: int, sentences: int) -> str:
    """Sentences drawn from the grammar, the same for the same seed."""
    draw = random.Random(seed)
    return " ".join(_sentence(draw) for _ in range(sentences))


def _name(length: int) -> str:
    return f"{length} token{'s' * (length != 1)}"


def _ids(text: PromptTokenizer, length: int) -> tuple[int, ...]:
    sentences = 8
    ids: list[int] = []
    # A sentence has ten words, and a word at least one token in any sensible tokenizer.
    while len(ids) < length:
        sentences *= 2
        if sentences > 64 * (length + 8):
            raise UserError(
                f"The tokenizer in {text.folder} makes {len(ids)} tokens of {sentences // 2} "
                "sentences: put the tokenizer there that the model was trained with."
            )
        ids = text.encode(prose(length, sentences))
    return tuple(ids[:length])


def _sentence(draw: random.Random) -> str:
    opening = draw.choice(_OPENINGS)
    statement = (
        f"{draw.choice(_PEOPLE)} {draw.choice(_DEEDS)} {draw.randrange(2, 5000)} "
        f"{draw.choice(_THINGS)} near {draw.choice(_PLACES)} {draw.choice(_TIMES)}."
    )
    return opening + statement
