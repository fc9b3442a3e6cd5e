"""How much haystack a document can hold.

For: the largest number of words or lines with which prompt and generation budget still fit the
length.
Not for: writing documents.

Source: NVIDIA/RULER searches by bisection, once per length, and shrinks documents that came out too
long; here every document is filled by itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from iha_eval.errors import UserError
from iha_eval.ruler.drafts import Document, Draft
from iha_eval.ruler.tokens import TokenCounter

#: Turns a document into the prompt the model gets, chat template included.
Render = Callable[[Document], str]


@dataclass(frozen=True)
class FittedSize:
    """The size of one document in haystack units, and its prompt's tokens."""

    size: int
    tokens: int


class _Sum:
    """Counts a document as a sum over its pieces; `TokenCounter.additive_on` says if exactly."""

    def __init__(
        self, counter: TokenCounter, costs: npt.NDArray[np.int64], probe: Draft, render: Render
    ) -> None:
        self._counter, self._costs = counter, costs
        # What chat template and special tokens add is the same for every document of a task.
        document = probe.document(probe.minimum)
        self._frame = counter.prompt(render(document)) - self._pieces(probe, probe.minimum)

    def _pieces(self, draft: Draft, size: int) -> int:
        return sum(map(self._counter.pieces, draft.texts(draft.edges(size))))

    def largest(self, draft: Draft, room: int) -> FittedSize:
        """The largest size that fits `room` tokens, or the smallest size if none does."""
        inner = draft.inner_tokens(self._costs)
        smallest, largest = draft.minimum, draft.minimum + len(inner) - 1

        def fit(size: int) -> FittedSize:
            tokens = self._frame + self._pieces(draft, size) + int(inner[size - smallest])
            return FittedSize(size, tokens)

        rest = room - fit(smallest).tokens
        guess = smallest + int(np.searchsorted(inner, rest, side="right")) - 1
        best = fit(min(max(guess, smallest) + draft.reach, largest))
        while best.tokens > room and best.size > smallest:
            best = fit(best.size - 1)
        while best.size < largest and (more := fit(best.size + 1)).tokens <= room:
            best = more
        return best


def _by_encoding(
    draft: Draft, room: int, start: int, counter: TokenCounter, render: Render, largest: int
) -> FittedSize:
    """The largest fitting size near `start`, with every candidate really encoded."""

    def fit(size: int) -> FittedSize:
        return FittedSize(size, counter.prompt(render(draft.document(size))))

    best, over = None, largest + 1
    candidate = fit(start)
    while True:
        if candidate.tokens <= room:
            best = candidate
        else:
            over = candidate.size
        low = best.size if best else draft.minimum - 1
        if over - low <= 1:
            return best or candidate
        per_unit = candidate.tokens / (candidate.size + 1)
        step = int((room - candidate.tokens) / per_unit)
        candidate = fit(min(max(candidate.size + step, low + 1), over - 1))


def fit_all(
    drafts: Sequence[Draft],
    units: Sequence[str],
    counter: TokenCounter,
    render: Render,
    budget: int,
) -> list[FittedSize]:
    """The size of every document, such that prompt plus `budget` never exceeds the length.

    Args:
        drafts: The documents of one task.
        units: The units of their haystack.
        counter: Counts tokens.
        render: Makes the prompt of a document.
        budget: Tokens to be generated.

    Returns:
        A fit per draft.

    Raises:
        UserError: If the length cannot hold even the smallest document.
    """
    room = drafts[0].length - budget
    sums = _Sum(counter, counter.costs(units), drafts[0], render)
    fits = [sums.largest(draft, room) for draft in drafts]
    if not _sums_are_exact(drafts, fits, units, counter, render):
        progress = tqdm(drafts, desc=f"Sizing {drafts[0].variant.name} by encoding whole documents")
        fits = [
            _by_encoding(draft, room, fit.size, counter, render, largest=len(units))
            for draft, fit in zip(progress, fits, strict=True)
        ]
    worst = max(range(len(fits)), key=lambda i: fits[i].tokens)
    if fits[worst].tokens > room:
        raise _too_short(drafts[worst], fits[worst], budget)
    return fits


def _sums_are_exact(
    drafts: Sequence[Draft],
    fits: Sequence[FittedSize],
    units: Sequence[str],
    counter: TokenCounter,
    render: Render,
) -> bool:
    """Whether this tokenizer's counts are sums, checked on the haystack and on whole documents."""
    largest = max(fit.size for fit in fits)
    if not counter.additive_on(" ".join([*units[:largest], drafts[0].edges(drafts[0].minimum)])):
        return False
    picked = {0, len(drafts) // 2, len(drafts) - 1}
    return all(
        counter.prompt(render(drafts[i].document(fits[i].size))) == fits[i].tokens for i in picked
    )


def _too_short(draft: Draft, fit: FittedSize, budget: int) -> UserError:
    # Another length draws other needles, so what is named has some tokens to spare.
    enough = (fit.tokens + budget + 32) // 128 * 128 + 128
    return UserError(
        f"A length of {draft.length} tokens is too short for {draft.variant.name}: its smallest "
        f"document takes up to {fit.tokens} tokens and the answer {budget}; ask for {enough}."
    )
