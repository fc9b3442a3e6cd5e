"""How much haystack a document can hold.

For: the largest number of words or lines with which prompt and generation budget still fit the
length.
Not for: writing documents.

Source: NVIDIA/RULER searches by bisection, once per length, and shrinks documents that came out too
long; here every document is filled by itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from tqdm import tqdm

from iha_eval.ruler.definition import LEAST_FILL, NoRoomError
from iha_eval.ruler.drafts import Document, Draft
from iha_eval.ruler.tokens import TokenCounter

#: Turns a document into the prompt the model gets, chat template included.
Render = Callable[[Document], str]


@dataclass(frozen=True)
class FittedSize:
    """The size of one document in units, its prompt's tokens, and what fills the rest."""

    size: int
    tokens: int
    filler: int = 0


def _ends(text: str) -> str:
    """A text's first word and its last three, as spaces may stand at its end."""
    return " ".join([text.split(" ", 1)[0], *text.rsplit(" ", 3)[1:]])


class _Sum:
    """Counts a document as a sum over its pieces; `TokenCounter.additive_on` says if exactly."""

    def __init__(self, counter: TokenCounter, render: Render) -> None:
        self._counter, self._render = counter, render
        self._blank: Document = {}
        self._frames: dict[tuple[str, ...], int] = {}

    def _frame(self, draft: Draft) -> int:
        """What chat template and special tokens add, by the words that stand beside them."""
        text, prefix = ends = tuple(map(_ends, draft.texts("")))
        if ends not in self._frames:
            self._blank = self._blank or draft.document(draft.minimum)
            document = {**self._blank, "input": text, "gen_prefix": prefix}
            whole = self._counter.prompt(self._render(document))
            self._frames[ends] = whole - sum(map(self._counter.pieces, ends))
        return self._frames[ends]

    def exact(self, draft_of: Callable[[int], Draft], count: int, room: int) -> bool:
        """Whether this tokenizer's counts are sums, checked on whole documents."""
        for index in sorted({0, count - 1}):
            draft = draft_of(index)
            fit = self.largest(draft, room)
            document = draft.document(fit.size)
            # A tokenizer cuts all documents of a task alike.
            if index == 0 and not self._counter.additive_on(document["input"]):
                return False
            if self._counter.prompt(self._render(document)) != fit.tokens:
                return False
        return True

    def largest(self, draft: Draft, room: int) -> FittedSize:
        """The largest size that fits `room` tokens, or the smallest size if none does."""
        draft.filler = 0
        inner = draft.inner_tokens()
        frame = self._frame(draft)
        smallest, largest = draft.minimum, draft.minimum + len(inner) - 1

        @cache
        def fit(size: int, filler: int = 0) -> FittedSize:
            draft.filler = filler
            return FittedSize(size, frame + draft.tokens(size, inner), filler)

        # What inner units take is taken off the room as a whole, since edges may overlap with them.
        rest = room - fit(smallest).tokens + int(inner[0])
        guess = smallest + int(np.searchsorted(inner, rest, side="right")) - 1
        best = fit(min(max(guess, smallest) + draft.reach, largest))
        while best.tokens > room and best.size > smallest:
            best = fit(best.size - 1)
        while best.size < largest and (more := fit(best.size + 1)).tokens <= room:
            best = more
        filled = _filled(draft, best, room, fit)
        if not draft.confirmed(filled.size):
            return self.largest(draft, room)
        return filled


def _filled(
    draft: Draft, fit: FittedSize, room: int, measure: Callable[[int, int], FittedSize]
) -> FittedSize:
    """A fit with the first filler that fits the rest, if any does."""
    if fit.tokens <= room:
        for filler in draft.fillers(fit.size, room - fit.tokens):
            if (filled := measure(fit.size, filler)).tokens <= room:
                return filled
    draft.filler = 0
    return fit


def _by_encoding(
    draft: Draft, room: int, start: int, counter: TokenCounter, render: Render, largest: int
) -> FittedSize:
    """The largest fitting size near `start`, with every candidate really encoded."""

    @cache
    def fit(size: int, filler: int = 0) -> FittedSize:
        draft.filler = filler
        return FittedSize(size, counter.prompt(render(draft.document(size))), filler)

    best, over = None, largest + 1
    candidate = fit(start)
    while True:
        if candidate.tokens <= room:
            best = candidate
        else:
            over = candidate.size
        low = best.size if best else draft.minimum - 1
        if over - low <= 1:
            return _filled(draft, best or candidate, room, fit)
        per_unit = candidate.tokens / (candidate.size + 1)
        step = int((room - candidate.tokens) / per_unit)
        candidate = fit(min(max(candidate.size + step, low + 1), over - 1))


def fit_all(
    draft_of: Callable[[int], Draft],
    count: int,
    counter: TokenCounter,
    render: Render,
    budget: int,
) -> Iterator[tuple[Draft, FittedSize]]:
    """Size every document, such that prompt plus `budget` never exceeds the length.

    Args:
        draft_of: Draws the document of a number.
        count: Number of documents.
        counter: Counts tokens.
        render: Makes the prompt of a document.
        budget: Tokens to be generated.

    Yields:
        Each draft and its size, in order; the smallest size where even that does not fit. No more
        than one draft is kept in memory.

    Raises:
        NoRoomError: If all there is does not fill a document.
    """
    sums = _Sum(counter, render)
    first = draft_of(0)
    room = first.length - budget
    exact, slow = sums.exact(draft_of, count, room), f"Sizing {first.title} by whole encodings"
    numbers = range(count) if exact else tqdm(range(count), desc=slow)
    for index in numbers:
        draft = draft_of(index)
        fit = sums.largest(draft, room)
        if not exact:
            # TokenCounter's sums cost next to nothing beside whole encodings.
            largest = draft.largest()
            fit = _by_encoding(draft, room, fit.size, counter, render, largest)
        least = LEAST_FILL * draft.length - budget
        if draft.supply and fit.tokens < least and fit.size == draft.largest():
            most = fit.tokens + budget
            raise NoRoomError(
                f"{draft.title} cannot fill {draft.length} tokens: all of its {fit.size:,} "
                f"{draft.supply} take no more than {most}; ask for {most // 1024 * 1024} or less."
            )
        yield draft, fit
