"""The documents of one task at one length, for one tokenizer.

For: sizing them once, keeping the sizes on disk, and writing each document out when it is asked
for, so that thousands of them take no memory.
Not for: what a document consists of (niah.py and its likes), or lm-eval (task.py).
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, overload

from iha_eval.ruler.cache import Sizing, read_sizing, write_sizing
from iha_eval.ruler.definition import DOCUMENTS, GENERATOR_VERSION, NoRoomError
from iha_eval.ruler.drafts import Definition, Document, Draft, Material, RulerSettings
from iha_eval.ruler.fit import Render, fit_all
from iha_eval.ruler.tokens import TokenCounter, counter_for

#: Characters of sized documents that are kept until they are asked for, those of a cell of 16k.
_KEPT = 40 * 2**20


@dataclass(frozen=True)
class RulerCell:
    """A task at a length.

    Attributes:
        definition: The task.
        length: Tokens of prompt and generation together.
        haystack: Where running text comes from; see `load_haystack`.
        count: Number of documents.
        settings: What metadata asked for.
    """

    definition: Definition
    length: int
    haystack: str | None = None
    count: int = DOCUMENTS
    settings: RulerSettings = field(default_factory=RulerSettings)

    @cached_property
    def material(self) -> Material:
        """What the documents are made of."""
        return self.definition.material(self.length, self.haystack, self.settings)

    def draft(self, index: int, filler: int = 0) -> Draft:
        """The draft of document `index`."""
        draft: Draft = self.material.draft(index)
        draft.filler = filler
        return draft

    @property
    def sources(self) -> dict[str, Any]:
        """Names and hashes of the texts that documents are made of, and changed settings."""
        return {**self.material.sources, **self.settings.changed()}


def document_sha256(document: Document) -> str:
    """Hash of a document's texts, as 64 hex digits."""
    digest = hashlib.sha256(document["input"].encode())
    digest.update("\0".join(("", document["gen_prefix"], *document["outputs"])).encode())
    return digest.hexdigest()


class Documents(Sequence[Document]):
    """The documents of a cell; each is written out anew whenever it is asked for.

    Attributes:
        provenance: Hashes and names that say which documents these are.
    """

    def __init__(
        self,
        cell: RulerCell,
        sizing: Sizing,
        budget: int,
        tokenizer_sha256: str,
        written: dict[int, Document] | None = None,
    ) -> None:
        """Serve the documents of `cell` in the sizes of `sizing`; those `written`, once as is."""
        self._cell, self._sizing, self._budget = cell, sizing, budget
        self._written = written or {}
        self.provenance: dict[str, Any] = {
            "documents_sha256": sizing.sha256,
            "tokenizer_sha256": tokenizer_sha256,
            **cell.sources,
            "generator_version": GENERATOR_VERSION,
        }

    @property
    def smallest(self) -> Document:
        """The first document with the least haystack."""
        draft = self._cell.draft(0)
        return draft.document(draft.minimum)

    def __len__(self) -> int:
        """Number of documents."""
        return len(self._sizing.sizes)

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> list[Document]: ...
    def __getitem__(self, index: int | slice) -> Document | list[Document]:
        """A document, or a list of them.

        Raises:
            IndexError: If there is no such document.
            RuntimeError: If a document differs from the one whose hash was recorded.
        """
        numbers = range(len(self))[index]
        if isinstance(numbers, range):
            return [self._write(number) for number in numbers]
        return self._write(numbers)

    def __iter__(self) -> Iterator[Document]:
        """The documents in order; Sequence's own would take an IndexError for their end."""
        return map(self._write, range(len(self)))

    def _write(self, index: int) -> Document:
        if document := self._written.pop(index, None):
            return {**document, "length": self._sizing.tokens[index] + self._budget}
        document = self._cell.draft(index, self._sizing.fillers[index]).document(
            self._sizing.sizes[index], self._sizing.tokens[index] + self._budget
        )
        if document_sha256(document) != self._sizing.digests[index]:
            raise RuntimeError(
                f"document {index} of {self._cell.definition.title} is not the one that was sized; "
                "type `iha-eval cache clear` and run again"
            )
        return document


def _size(
    cell: RulerCell, counter: TokenCounter, render: Render, budget: int
) -> tuple[Sizing, dict[int, Document]]:
    """Sizes, and the documents that had to be written out for them, as far as memory is kept."""
    rows: list[tuple[int, int, int, str]] = []
    written, kept = {}, 0
    for draft, fit in fit_all(cell.draft, cell.count, counter, render, budget):
        draft.filler = fit.filler
        document = draft.document(fit.size)
        rows.append((fit.size, fit.tokens, fit.filler, document_sha256(document)))
        kept += len(document["input"])
        if kept <= _KEPT:
            written[draft.index] = document
    sizes, tokens, fillers, digests = zip(*rows, strict=True)
    if max(tokens) + budget > cell.length:
        enough = _enough(cell, counter, render, budget, max(tokens))
        raise NoRoomError(
            f"A length of {cell.length} tokens is too short for {cell.definition.title}: its "
            f"smallest document takes up to {max(tokens)} tokens and the answer {budget}; ask for "
            f"{enough}."
        )
    return Sizing(sizes, tokens, digests, fillers), written


def _enough(cell: RulerCell, counter: TokenCounter, render: Render, budget: int, most: int) -> int:
    """A longer length that holds all documents, of which the largest has `most` tokens here."""
    # Another length draws other documents, so they are sized there too.
    while most + budget > cell.length:
        cell = replace(cell, length=-(-(most + budget) // 128) * 128)
        cell.material.prepare(counter)
        sized = fit_all(cell.draft, cell.count, counter, render, budget)
        most = max(fit.tokens for _, fit in sized)
    return cell.length


def load_documents(cell: RulerCell, tokenizer: Any, render: Render, budget: int) -> Documents:
    """The documents of `cell`, sized for `tokenizer`: from the disk cache, or drawn and cached.

    Args:
        cell: Which documents.
        tokenizer: A transformers tokenizer.
        render: Makes the prompt of a document, chat template included.
        budget: Tokens to be generated.

    Raises:
        UserError: If the length cannot hold a document, or the haystack cannot be read.
    """
    # Materials belong to one tokenizer.
    counter, cell = counter_for(tokenizer), replace(cell)
    cell.material.prepare(counter)
    draft = cell.draft(0)
    probe = render(draft.document(draft.minimum))
    key: dict[str, object] = {
        "generator_version": GENERATOR_VERSION,
        "variant": cell.definition.name,
        "length": cell.length,
        "count": cell.count,
        "budget": budget,
        "tokenizer_sha256": counter.sha256,
        "prompt_sha256": hashlib.sha256(probe.encode()).hexdigest(),
        **cell.sources,
    }
    sizing = read_sizing(key, cell.count)
    if sizing is not None and _is_current(cell, sizing):
        return Documents(cell, sizing, budget, counter.sha256)
    sizing, written = _size(cell, counter, render, budget)
    write_sizing(key, sizing)
    return Documents(cell, sizing, budget, counter.sha256, written)


def _is_current(cell: RulerCell, sizing: Sizing) -> bool:
    """Whether first and last document still come out as recorded."""
    # No unit of any task takes less than half a token.
    if not all(0 < size <= 2 * cell.length for size in sizing.sizes):
        return False
    try:
        return all(
            document_sha256(cell.draft(i, sizing.fillers[i]).document(sizing.sizes[i]))
            == sizing.digests[i]
            for i in (0, cell.count - 1)
        )
    except IndexError:
        return False


def plain_prompt(document: Document) -> str:
    """The prompt of a document without chat template: question, a space, answer prefix."""
    return f"{document['input']} {document['gen_prefix']}"
