"""Questions about one paragraph, or two, among many others: SQuAD 2.0 and HotpotQA.

For: the tasks `qa_1` and `qa_2` and drafts of their documents.
Not for: reading the question sets (iha_eval.data).

Source: NVIDIA/RULER, scripts/synthetic.yaml (qa_1, qa_2), scripts/data/synthetic/constants.py and
qa.py.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from iha_eval.data import HOTPOTQA_DEV, SQUAD_DEV, DataFile, Loaded, load_rows
from iha_eval.ruler.drafts import Definition, Draft, Material, RulerSettings, drawn_order
from iha_eval.ruler.stream import Stream
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
PARAGRAPH = "Document {number}:\n{text}"

#: Paragraphs after those that are taken among which one is looked for that fits into the rest.
_NEXT = 256


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

    def material(
        self, length: int, haystack: str | None, settings: RulerSettings
    ) -> "QuestionMaterial":
        """The question set.

        Raises:
            UserError: It is nowhere to be found, or broken.
        """
        del haystack
        return QuestionMaterial(self, length, settings)


QA = {
    "qa_1": QuestionTask("qa_1", SQUAD_DEV, _squad),
    "qa_2": QuestionTask("qa_2", HOTPOTQA_DEV, _hotpotqa),
}


@cache
def question_set(title: str, folder: Path | None) -> QuestionSet:
    """Load the question set of `qa_1` or `qa_2`, once in a process.

    Raises:
        MissingDataError: It is nowhere to be found.
        UserError: It is broken.
    """
    task = QA[title]
    loaded = load_rows(task.file, folder)
    questions, pool = task.read(loaded)
    provenance = {f"data_{name}": value for name, value in loaded.provenance.items()}
    return QuestionSet(questions, pool, provenance)


class QuestionMaterial(Material):
    """A question set, and what its paragraphs take."""

    def __init__(self, task: QuestionTask, length: int, settings: RulerSettings) -> None:
        """Ask questions in documents of `length` tokens."""
        self.set, self.settings = question_set(task.name, settings.data), settings
        self._stream = ("ruler", task.name, length)
        count = len(self.set.questions)
        if settings.questions == "first":
            self._order = list(range(count))
        else:
            self._order = Stream(*self._stream, "questions").sample(count, count)
        self._measured: tuple[TokenCounter, npt.NDArray[np.int64]] | None = None

    @property
    def sources(self) -> dict[str, Any]:
        """The question set."""
        return dict(self.set.provenance)

    def question(self, index: int) -> QAQuestion:
        """The question of document `index`; none comes twice before all have come."""
        return self.set.questions[self._order[index % len(self._order)]]

    def measured(self, ids: npt.NDArray[np.int64], counter: TokenCounter) -> npt.NDArray[np.int64]:
        """Tokens of paragraphs, as an array [2, ids].

        The first row is of what no number stands before: from a paragraph's second word up to the
        next paragraph's number. The second is of the first word, with a number of two digits.
        """
        if self._measured is None or self._measured[0] is not counter:
            unknown = np.full((2, len(self.set.pool)), -1, dtype=np.int64)
            self._measured = (counter, unknown)
        known = self._measured[1]
        missing = [int(i) for i in np.unique(ids[known[0, ids] < 0])]
        if missing:
            texts = [self.set.pool[i] for i in missing]
            several = np.array([" " in text for text in texts])
            known[0, missing] = counter.costs([_after_first(text) for text in texts]) * several
            known[1, missing] = counter.fresh([_first(10, text) for text in texts])
        return known[:, ids]

    def draft(self, definition: QuestionTask, length: int, index: int) -> "QuestionDraft":
        """The draft of document `index`."""
        return QuestionDraft(self, definition, length, index)


def _after_first(text: str) -> str:
    """A paragraph from its second word on, and what follows it up to a space."""
    return f"{text}\n\nDocument".split(" ", 1)[-1]


def _first(number: int, text: str) -> str:
    """A paragraph's number and its first word, up to a space."""
    return f"{number}:\n" + (text if " " in text else f"{text}\n\nDocument").split(" ", 1)[0]


class QuestionDraft(Draft):
    """A document: a question and the paragraphs in the order in which it takes them."""

    kind = "answer"
    own_frame = True

    def __init__(
        self, material: QuestionMaterial, task: QuestionTask, length: int, index: int
    ) -> None:
        """Draw everything from streams of (length, index)."""
        self._material, self.length, self.index = material, length, index
        self.title, self._parts = task.name, ("ruler", task.name, length, index)
        question = material.question(index)
        self.query, self.outputs = question.query, question.outputs
        self._gold = question.gold
        self.minimum = len(question.gold)
        self._taken = self._drawn(question, len(material.set.pool), max(length // 16, 64))

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

    def _order(self, size: int) -> npt.NDArray[np.int64]:
        """Paragraphs as they stand in a document, the one that fills the rest included."""
        ids = self._taken[:size]
        if self.filler:
            ids = np.append(ids, self._taken[self.filler])
        keys = Stream(*self._parts, "order").words64(len(ids))
        return ids[drawn_order(keys, len(ids), self._material.settings)]

    def context(self, size: int) -> str:
        """`size` paragraphs, numbered."""
        pool = self._material.set.pool
        return "\n\n".join(
            [
                PARAGRAPH.format(number=number, text=pool[i])
                for number, i in enumerate(self._order(size).tolist(), 1)
            ]
        )

    def edges(self, size: int) -> str:
        """The paragraphs themselves: no two are alike."""
        return self.context(size)

    def inner_tokens(self, counter: TokenCounter) -> npt.NDArray[np.int64]:
        """Tokens of all paragraphs, the numbers taken for two digits each."""
        costs = self._material.measured(self._taken, counter).sum(axis=0)
        return np.cumsum(costs)[self.minimum - 1 :]

    def tokens(self, size: int, inner: npt.NDArray[np.int64], counter: TokenCounter) -> int:
        """Tokens of user text and answer prefix, as the sum over their pieces."""
        del inner
        if not size:
            return sum(map(counter.pieces, self.texts("")))
        pool, ids = self._material.set.pool, self._order(size)
        before, after = QUESTION.split("{context}")
        last = pool[ids[-1]]
        firsts = [_first(number, pool[i]) for number, i in enumerate(ids[:-1].tolist(), 1)]
        pieces = [
            f"{before}Document",
            f"{len(ids)}:\n{last}{after.format(query=self.query)}",
            PREFIX,
        ]
        inside = int(self._material.measured(ids[:-1], counter)[0].sum())
        return int(counter.fresh(firsts).sum()) + inside + sum(map(counter.pieces, pieces))

    def fillers(self, size: int, rest: int, counter: TokenCounter) -> Iterable[int]:
        """The next paragraphs that fit into the rest, the longest first."""
        places = np.arange(size, min(size + _NEXT, len(self._taken)))
        costs = self._material.measured(self._taken[places], counter).sum(axis=0)
        # A number takes more tokens than was reckoned with where it has more digits than two.
        new = ~np.isin(self._taken[places], self._taken[:size])
        fitting = places[new & (costs <= rest)]
        longest = np.argsort(-costs[fitting - size], kind="stable")[:12]
        return [int(place) for place in fitting[longest]]

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
