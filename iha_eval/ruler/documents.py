"""The documents of one task at one length, for one tokenizer.

For: sizing them once, keeping the sizes on disk, and writing each document out when it is asked
for, so that thousands of them take no memory.
Not for: what a document consists of (niah.py), or lm-eval (task.py).
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

from iha_eval.ruler.cache import Sizing, read_sizing, write_sizing
from iha_eval.ruler.definition import DOCUMENTS, GENERATOR_VERSION, Variant
from iha_eval.ruler.drafts import Document, Draft
from iha_eval.ruler.draw import key_words
from iha_eval.ruler.fit import Render, fit_all
from iha_eval.ruler.haystack import load_haystack
from iha_eval.ruler.niah import EssayMaterial, LinesMaterial
from iha_eval.ruler.tokens import counter_for


@dataclass(frozen=True)
class RulerCell:
    """One task: a variant at a length.

    Attributes:
        variant: The variant.
        length: Tokens of prompt and generation together.
        haystack: Where the running text of multikey_1 comes from; see `load_haystack`.
        count: Number of documents.
    """

    variant: Variant
    length: int
    haystack: str | None = None
    count: int = DOCUMENTS

    @cached_property
    def material(self) -> EssayMaterial | LinesMaterial:
        """What the haystacks are made of."""
        if self.variant.haystack == "essay":
            return EssayMaterial(load_haystack(self.haystack), self.length)
        return LinesMaterial(self.variant, self.length)

    def draft(self, index: int) -> Draft:
        """The draft of document `index`."""
        return self.material.draft(self.variant, self.length, index)

    @property
    def sources(self) -> dict[str, str]:
        """Names and hashes of the texts that documents are made of."""
        sources = {"words_sha256": key_words().sha256}
        if isinstance(self.material, EssayMaterial):
            haystack = self.material.haystack
            sources |= {"haystack": haystack.name, "haystack_sha256": haystack.sha256}
        else:
            sources["haystack"] = "needles"
        return sources


def document_sha256(document: Document) -> str:
    """Hash of a document's texts, as 64 hex digits."""
    parts = (document["input"], document["gen_prefix"], *document["outputs"])
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class Documents(Sequence[Document]):
    """The documents of a cell; each is written out anew whenever it is asked for.

    Attributes:
        provenance: Hashes and names that say which documents these are.
    """

    def __init__(self, cell: RulerCell, sizing: Sizing, budget: int, tokenizer_sha256: str) -> None:
        """Serve the documents of `cell` in the sizes of `sizing`."""
        self._cell, self._sizing, self._budget = cell, sizing, budget
        self.provenance: dict[str, str | int] = {
            "documents_sha256": sizing.sha256,
            "tokenizer_sha256": tokenizer_sha256,
            **cell.sources,
            "generator_version": GENERATOR_VERSION,
        }

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
        """The documents in order."""
        return map(self._write, range(len(self)))

    def _write(self, index: int) -> Document:
        document = self._cell.draft(index).document(
            self._sizing.sizes[index], self._sizing.tokens[index] + self._budget
        )
        if document_sha256(document) != self._sizing.digests[index]:
            raise RuntimeError(
                f"document {index} of {self._cell.variant.name} is not the one that was sized; "
                "delete the folder that IHA_EVAL_CACHE names, or the default one, and run again"
            )
        return document


def _size(cell: RulerCell, tokenizer: Any, render: Render, budget: int) -> Sizing:
    drafts = [cell.draft(index) for index in range(cell.count)]
    fits = fit_all(drafts, cell.material.units, counter_for(tokenizer), render, budget)
    digests = (
        document_sha256(draft.document(fit.size)) for draft, fit in zip(drafts, fits, strict=True)
    )
    return Sizing(
        sizes=tuple(fit.size for fit in fits),
        tokens=tuple(fit.tokens for fit in fits),
        digests=tuple(digests),
    )


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
    counter = counter_for(tokenizer)
    draft = cell.draft(0)
    probe = render(draft.document(draft.minimum))
    key: dict[str, object] = {
        "generator_version": GENERATOR_VERSION,
        "variant": cell.variant.name,
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
    sizing = _size(cell, tokenizer, render, budget)
    write_sizing(key, sizing)
    return Documents(cell, sizing, budget, counter.sha256)


def _is_current(cell: RulerCell, sizing: Sizing) -> bool:
    """Whether first and last document still come out as recorded."""
    if not all(0 < size <= len(cell.material.units) for size in sizing.sizes):
        return False
    return all(
        document_sha256(cell.draft(i).document(sizing.sizes[i])) == sizing.digests[i]
        for i in (0, cell.count - 1)
    )


def plain_prompt(document: Document) -> str:
    """The prompt of a document without chat template: question, a space, answer prefix."""
    return f"{document['input']} {document['gen_prefix']}"
