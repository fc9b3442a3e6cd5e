"""Questions about one paragraph, or two, among many others: SQuAD 2.0 and HotpotQA.

For: the tasks `qa_1` and `qa_2` and drafts of their documents.
Not for: reading the question sets (iha_eval.data).

Source: NVIDIA/RULER, scripts/synthetic.yaml (qa_1, qa_2), scripts/data/synthetic/constants.py and
qa.py.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from iha_eval.data import HOTPOTQA_DEV, SQUAD_DEV, DataFile, Loaded, load_rows, uncollected
from iha_eval.ruler.definition import LEAST_FILL
from iha_eval.ruler.drafts import Definition, Draft, Material
from iha_eval.ruler.draw import Stream, drawn_last, drawn_order
from iha_eval.ruler.tokens import TokenCounter

_TASK = (
    "Answer the question based on the given documents. Only give me the answer and do not output "
    "any other words."
)
QUESTION = (
    f"{_TASK}\n\nThe following are given documents.\n\n{{context}}\n\n{_TASK}\n\n"
    "Question: {query}"
)
PREFIX = "Answer:"
PARAGRAPH = "Document %d:\n%s"

#: The end of a number, where tokenizers cut.
_COLON = re.compile(r"(?<=[0-9]):")

#: Paragraphs that are counted past the length, since an estimate of the size may be off by some.
_SPARE = 4

#: Paragraphs after those that are taken among which one is looked for that fits into the rest.
_NEXT = 256

#: Paragraphs at the end of those that are taken one of which may be left out for a better one.
_LAST = 16

#: A filler is the place of the paragraph that is added, and this times the number, from the end,
#: of the one that is left out for it.
_LEFT_OUT = 2**32


@dataclass(frozen=True)
class QAQuestion:
    """A question of a set.

    Attributes:
        query: The question.
        outputs: Any of these is right.
        gold: Paragraphs that belong to it, as indices of the pool.
        near: Other paragraphs of the same article.
    """

    query: str
    outputs: list[str]
    gold: tuple[int, ...]
    near: tuple[int, ...] = ()


@dataclass(frozen=True)
class QuestionSet:
    """A whole set.

    Attributes:
        questions: In the order of the file.
        pool: All different paragraphs, sorted.
        provenance: For the results.
    """

    questions: list[QAQuestion]
    pool: list[str]
    provenance: dict[str, Any]


def _squad(loaded: Loaded) -> tuple[list[QAQuestion], list[str]]:
    """SQuAD's answerable questions; a row is a paragraph, rows of an article stand together."""
    pool = sorted({row["context"] for row in loaded.rows})
    place = {text: number for number, text in enumerate(pool)}
    articles: dict[str, list[int]] = {}
    for row in loaded.rows:
        articles.setdefault(row["title"], []).append(place[row["context"]])
    questions = []
    for row in loaded.rows:
        gold = place[row["context"]]
        near = tuple(dict.fromkeys(i for i in articles[row["title"]] if i != gold))
        questions += [
            QAQuestion(query, list(answers), (gold,), near) for query, answers in row["questions"]
        ]
    return questions, pool


def _hotpotqa(loaded: Loaded) -> tuple[list[QAQuestion], list[str]]:
    """HotpotQA's questions, each with its ten paragraphs, two of which are needed."""
    pool = sorted({text for row in loaded.rows for text in row["paragraphs"]})
    place = {text: number for number, text in enumerate(pool)}
    questions = [
        QAQuestion(
            row["question"],
            [row["answer"]],
            tuple(dict.fromkeys(place[text] for text in row["paragraphs"])),
        )
        for row in loaded.rows
    ]
    return questions, pool


@cache
def question_set(title: str, folder: Path | None) -> QuestionSet:
    """Load the question set of `qa_1` or `qa_2`, once in a process.

    Raises:
        MissingDataError: It is nowhere to be found.
        UserError: It is broken.
    """
    task = QA[title]
    with uncollected():
        loaded = load_rows(task.file, folder)
        questions, pool = task.read(loaded)
    provenance = {f"data_{name}": value for name, value in loaded.provenance.items()}
    return QuestionSet(questions, pool, provenance)


class ParagraphCosts:
    """Tokens of a set's paragraphs and of their numbers; each is encoded when first asked for."""

    def __init__(self, pool: Sequence[str], counter: TokenCounter) -> None:
        """Count the paragraphs of `pool`."""
        self._pool, self._counter = pool, counter
        self._known = np.full(len(pool), -1, dtype=np.int64)
        self._numbers = np.zeros(1, dtype=np.int64)

    def paragraphs(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Tokens of paragraphs from the number 10 up to the next one's number, [ids]."""
        missing = np.unique(ids[self._known[ids] < 0]).tolist()
        if missing:
            texts = [f"10:\n{self._pool[i]}\n\nDocument" for i in missing]
            self._known[missing] = self._counter.costs(texts)
        return self._known[ids]

    def firsts(self, ids: Sequence[int]) -> tuple[int, int]:
        """Tokens of numbers and first words of paragraphs in a row: as reckoned, and encoded."""
        tens = int(self._counter.costs([_first(10, self._pool[i]) for i in ids]).sum())
        # One text of all takes half the time of each by itself.
        text = " ".join([_first(n, self._pool[i]) for n, i in enumerate(ids, 1)])
        return tens + int(self.numbers(len(ids)).sum()), int(self._counter.fresh([text])[0])

    @cached_property
    def numbers_apart(self) -> bool:
        """Whether the tokenizer is seen to cut between a number and the first word behind it."""
        some = self._pool[:: len(self._pool) // 1000 + 1]
        text = " ".join([_first(n, paragraph) for n, paragraph in enumerate(some, 1)])
        return self._counter.cuts(text, _COLON)

    def numbers(self, count: int) -> npt.NDArray[np.int64]:
        """Tokens that the numbers 1 to `count` take more than 10 does, as an array [count]."""
        if len(self._numbers) < count:
            texts = [_first(number, "a b") for number in range(1, 2 * count + 10)]
            costs = self._counter.fresh(texts)
            self._numbers = costs - costs[9]
        return self._numbers[:count]


@lru_cache(maxsize=2)
def paragraph_costs(title: str, folder: Path | None, counter: TokenCounter) -> ParagraphCosts:
    """Those of `qa_1` or `qa_2`, shared by all lengths."""
    return ParagraphCosts(question_set(title, folder).pool, counter)


def _first(number: int, text: str) -> str:
    """A paragraph's number and its first word, up to a space."""
    return f"{number}:\n" + (text if " " in text else f"{text}\n\nDocument").split(" ", 1)[0]


class QuestionDraft(Draft):
    """A document: a question and the paragraphs in the order in which it takes them.

    What a number takes is reckoned to be the same before all words. It is so with all usual
    tokenizers; where `confirmed` sees that it is not, each number is counted with its word.
    """

    kind = "answer"

    def __init__(self, material: "QuestionMaterial", index: int) -> None:
        """Draw everything from streams of (length, index)."""
        super().__init__(material, index)
        question = material.question(index)
        self.query, self.outputs = question.query, question.outputs
        self._gold = question.gold
        self.minimum = len(question.gold)
        self._taken = self._drawn(question, len(material.set.pool), max(self.length // 16, 64))
        self._numbers_apart = True

    def _drawn(self, question: QAQuestion, pool: int, most: int) -> npt.NDArray[np.int64]:
        """Paragraphs: those of the question, of its article, and of the whole pool."""
        stream = Stream(*self._parts)
        near = [question.near[i] for i in stream.sample(len(question.near), len(question.near))]
        own = {*question.gold, *near}
        if pool > 4 * most:
            others = [i for i in stream.distinct(pool, most) if i not in own]
        else:
            others = [i for i in stream.sample(pool, pool) if i not in own]
        taken = [*question.gold, *near, *others]
        # Like the original, repeat a pool that is too small, but not what answers the question.
        repeated = [*near, *others]
        while repeated and len(taken) < most:
            taken += [repeated[i] for i in stream.sample(len(repeated), len(repeated))]
        return np.array(taken, dtype=np.int64)

    @cached_property
    def _keys(self) -> npt.NDArray[np.uint64]:
        """A number for each paragraph; a document is in the order of its numbers."""
        return Stream(*self._parts, "order").words64(len(self._taken) + 1)

    def _ids(self, size: int) -> npt.NDArray[np.int64]:
        """Paragraphs in the order in which they are taken, the one that fills the rest the last."""
        ids = self._taken[:size]
        left_out, place = divmod(self.filler, _LEFT_OUT)
        if left_out:
            ids = np.delete(ids, size - left_out)
        return np.append(ids, self._taken[place]) if place else ids

    def _order(self, size: int) -> npt.NDArray[np.int64]:
        """Paragraphs as they stand in a document."""
        ids = self._ids(size)
        return ids[drawn_order(self._keys, len(ids), self._material.settings.layout)]

    def context(self, size: int) -> str:
        """`size` paragraphs, numbered."""
        pool = self._material.set.pool
        return "\n\n".join(
            [
                PARAGRAPH % (number, pool[i])
                for number, i in enumerate(self._order(size).tolist(), 1)
            ]
        )

    def largest(self) -> int:
        """All paragraphs that are drawn."""
        return len(self._taken)

    def edges(self, size: int) -> str:
        """The paragraphs themselves: no two are alike."""
        return self.context(size)

    def inner_tokens(self) -> npt.NDArray[np.int64]:
        """Tokens of as many paragraphs as the length holds, and some more, and of their numbers."""
        measured, most = self._material.measured, len(self._taken)
        count = min(max(self.minimum + 1, self.length // 96) + _SPARE, most)
        while (costs := measured.paragraphs(self._taken[:count]))[:-_SPARE].sum() < self.length:
            if count == most:
                break
            count = min(count + count // 4 + 1, most)
        return np.asarray(np.cumsum(costs + measured.numbers(count))[self.minimum - 1 :])

    def tokens(self, size: int, inner: npt.NDArray[np.int64]) -> int:
        """Tokens of user text and answer prefix, as the sum over their pieces."""
        del inner
        ids, measured = self._ids(size), self._material.measured
        place = drawn_last(self._keys, len(ids), self._material.settings.layout)
        before, after = QUESTION.split("{context}")
        last = self._material.set.pool[ids[place]]
        around = [
            f"{before}Document",
            f"{len(ids)}:\n{last}{after.format(query=self.query)}",
            PREFIX,
        ]
        inside = measured.paragraphs(np.delete(ids, place)).sum()
        inside += measured.numbers(len(ids) - 1).sum()
        if not self._numbers_apart:
            reckoned, encoded = measured.firsts(self._order(size)[:-1].tolist())
            inside += encoded - reckoned
        return self._pieces(*around) + int(inside)

    def confirmed(self, size: int) -> bool:
        """Whether numbers take the same before all words of this document."""
        measured = self._material.measured
        if measured.numbers_apart or not self._numbers_apart:
            return True
        reckoned, encoded = measured.firsts(self._order(size)[:-1].tolist())
        self._numbers_apart = reckoned == encoded
        return self._numbers_apart

    def fillers(self, size: int, rest: int) -> Iterable[int]:
        """The next paragraphs that fit into the rest, the longest first.

        Where none comes close enough, also those that fit in place of one that was taken.
        """
        places = np.arange(size, min(size + _NEXT, len(self._taken)))
        places = places[~np.isin(self._taken[places], self._taken[:size])]
        measured = self._material.measured
        costs = measured.paragraphs(self._taken[places])
        fillers: list[tuple[int, int]] = []
        for left_out in range(min(size - self.minimum, _LAST) + 1):
            room = rest
            if left_out:
                room += int(measured.paragraphs(self._taken[[size - left_out]])[0])
            fitting = np.flatnonzero((costs <= room) & (costs > room - rest))
            for i in fitting[np.argsort(-costs[fitting], kind="stable")[:12]]:
                filler = left_out * _LEFT_OUT + int(places[i])
                fillers.append((room - int(costs[i]), filler))
            if min(fillers, default=(rest,))[0] <= (1 - LEAST_FILL) * self.length:
                break
        return [filler for _, filler in sorted(fillers)]

    def texts(self, context: str) -> tuple[str, str]:
        """User text and answer prefix around `context`."""
        return QUESTION.format(context=context, query=self.query), PREFIX

    def depth(self, size: int) -> float | None:
        """Paragraphs before the one that answers, in percent of all others; None if it is two."""
        if len(self._gold) > 1:
            return None
        order = self._order(size)
        place = int(np.flatnonzero(order == self._gold[0])[0])
        return round(100 * place / max(len(order) - 1, 1), 1)


class QuestionMaterial(Material):
    """A question set, and the order in which its questions are asked."""

    drafts = QuestionDraft

    def __init__(self, *of: Any) -> None:
        """Ask questions in documents of the length.

        Raises:
            UserError: The question set is nowhere to be found, or broken.
        """
        super().__init__(*of)
        self.set = question_set(self.task.name, self.settings.data)
        stream = Stream("ruler", self.task.name, self.length, "questions")
        count, first = len(self.set.questions), self.settings.questions == "first"
        self._order = list(range(count)) if first else stream.sample(count, count)

    @property
    def sources(self) -> dict[str, Any]:
        """The question set."""
        return dict(self.set.provenance)

    def question(self, index: int) -> QAQuestion:
        """The question of document `index`; none comes twice before all have come."""
        return self.set.questions[self._order[index % len(self._order)]]

    @cached_property
    def measured(self) -> ParagraphCosts:
        """Tokens of the paragraphs."""
        return paragraph_costs(self.task.name, self.settings.data, self.counter)


@dataclass(frozen=True)
class QuestionTask(Definition):
    """One of the two tasks.

    Attributes:
        file: The question set.
        read: Makes questions and pool of its rows.
    """

    name: str
    file: DataFile
    read: Callable[[Loaded], tuple[list[QAQuestion], list[str]]]

    new_tokens: ClassVar[int] = 32
    materials = QuestionMaterial


QA = {
    "qa_1": QuestionTask("qa_1", SQUAD_DEV, _squad),
    "qa_2": QuestionTask("qa_2", HOTPOTQA_DEV, _hotpotqa),
}
