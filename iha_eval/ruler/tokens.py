"""Which tokenizer documents are sized with, and how many tokens a text takes.

For: the tokenizer of the published model, or the one that lm-eval's model arguments name; and
counts, by encoding a text, or, much faster, as a sum over its words. Most tokenizers never let a
token reach across a space between two words, so the count of a text is the sum of the counts of its
pieces between spaces, and each piece is encoded once in a run. Whether a tokenizer is of that sort
is established, not assumed (`additive_on`).
Not for: token ids.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from iha_eval.current_model import CurrentModel, current, tokenizer_sha256
from iha_eval.errors import UserError

#: A space between two words, or SentencePiece's mark for one.
_SPACE = re.compile(r"(?<=[^\s▁])[ ▁](?=[^\s▁])")

_FIRST_SPACE = re.compile(r"(?<! ) ")

#: Pieces encoded at a time; bounds the memory that their encodings take.
_BATCH = 4096

#: Pieces encoded as one text, where it can be told which token belongs to which.
_JOINED = 64

#: What tokens begin with where a space stood, in byte-level BPE and in SentencePiece's models.
_MARKS = ("\u0120", "\u2581")

#: Characters in which the places where a tokenizer cuts are looked at.
_LOOK = 8192

#: A word put before and after a piece, so that it is encoded as in the middle of a text.
_ANCHOR = "a"


def _pieces(text: str) -> list[str]:
    """A text cut at its spaces; of several in a row, all but the first go with what follows."""
    return _FIRST_SPACE.split(text) if "  " in text else text.split(" ")


class TokenCounter:
    """Counts tokens for one tokenizer and remembers the pieces it has seen.

    Attributes:
        sha256: Hash of the tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Count for `tokenizer`, any transformers tokenizer."""
        self._tokenizer = tokenizer
        self._vocabulary_size = len(tokenizer)
        self._known: dict[str, int] = {}
        self._additive = False
        self.sha256 = tokenizer_sha256(tokenizer)
        bos = tokenizer.bos_token_id
        # Model classes differ in whether they add a BOS; room for one keeps documents the same.
        self._room_for_bos = int(bos is not None and bos not in self._ids(_ANCHOR))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, verbose=False)["input_ids"]
        return ids

    def counts_for(self, tokenizer: Any) -> bool:
        """Whether `tokenizer` is the one this counter was made for, with no token added since."""
        return tokenizer is self._tokenizer and len(tokenizer) == self._vocabulary_size

    def prompt(self, text: str) -> int:
        """Tokens of a whole prompt: really encoded, with special tokens and room for a BOS."""
        return len(self._ids(text)) + self._room_for_bos

    def plain(self, text: str) -> int:
        """Tokens of a text by itself, without special ones."""
        return len(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    @cached_property
    def _backend(self) -> Tokenizer | None:
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None:
            return None
        # A copy, because callers leave truncation and padding switched on in theirs.
        copy: Tokenizer = Tokenizer.from_str(backend.to_str())
        copy.no_truncation()
        copy.no_padding()
        return copy

    def _counts(self, texts: Sequence[str]) -> list[int]:
        if self._backend is None:
            return [self.plain(text) for text in texts]
        encoded = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding) for encoding in encoded]

    @cached_property
    def _anchors(self) -> int:
        return self._counts([f"{_ANCHOR} {_ANCHOR}"])[0]

    def _learn(self, texts: Iterable[list[str]]) -> None:
        """Encode all pieces of texts that are not known yet, in batches."""
        missing = sorted(set().union(*texts).difference(self._known))
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            self._known.update(zip(batch, self.fresh(batch).tolist(), strict=True))

    def fresh(self, pieces: Sequence[str]) -> npt.NDArray[np.int64]:
        """Tokens of pieces that are not worth remembering, as an array [pieces]."""
        if not (self._additive and self._backend):
            return self._singly(pieces)
        # Many as one text take half the time of each by itself.
        chunks = [pieces[start : start + _JOINED] for start in range(0, len(pieces), _JOINED)]
        texts = [f"{_ANCHOR} {' '.join(chunk)} {_ANCHOR}" for chunk in chunks]
        encoded = self._backend.encode_batch_fast(texts, add_special_tokens=False)
        parts = [self._apart(encoding.ids, c) for encoding, c in zip(encoded, chunks, strict=True)]
        return np.concatenate([np.empty(0, dtype=np.int64), *parts])

    def _apart(self, ids: list[int], pieces: Sequence[str]) -> npt.NDArray[np.int64]:
        """Tokens of each piece, by the tokens of all as one text between two anchors."""
        begins = np.flatnonzero(self._marked[ids])
        # The text's first word has a mark or none.
        if len(begins) - (begins[:1] == 0).sum() == len(pieces) + 1:
            return np.diff(begins)[-len(pieces) :]
        return self._singly(pieces)

    def _singly(self, pieces: Sequence[str]) -> npt.NDArray[np.int64]:
        counts = self._counts([f"{_ANCHOR} {piece} {_ANCHOR}" for piece in pieces])
        return np.array(counts, dtype=np.int64) - self._anchors

    @cached_property
    def _marked(self) -> npt.NDArray[np.bool_]:
        """Whether a token begins with the mark of a space, as an array [ids]."""
        vocabulary = self._tokenizer.get_vocab()
        marked = np.zeros(max(vocabulary.values()) + 1, dtype=np.bool_)
        marked[[number for token, number in vocabulary.items() if token.startswith(_MARKS)]] = True
        return marked

    def pieces(self, text: str) -> int:
        """Sum over the pieces of a text between spaces, each as in the middle of a text."""
        try:
            return sum(map(self._known.__getitem__, _pieces(text)))
        except KeyError:
            self._learn([_pieces(text)])
            return self.pieces(text)

    def costs(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """`pieces` of each text, as an array [len(texts)]."""
        costs = np.empty(len(texts), dtype=np.int64)
        for start in range(0, len(texts), _BATCH):
            batch = [_pieces(text) for text in texts[start : start + _BATCH]]
            self._learn(batch)
            sums = (sum(map(self._known.__getitem__, pieces)) for pieces in batch)
            costs[start : start + len(batch)] = np.fromiter(sums, dtype=np.int64, count=len(batch))
        return costs

    def additive_on(self, sample: str) -> bool:
        """Whether `pieces` is exact: no token of texts like `sample` can reach across a space.

        That is so if the tokenizer cuts a text at every space before it forms tokens, or if its
        vocabulary has no token that reaches across one. The first is seen at the begin of
        `sample`.
        """
        backend = self._backend
        self._additive = backend is not None and (
            self.cuts(sample[:_LOOK], _SPACE) or _no_token_crosses(backend)
        )
        return self._additive

    def cuts(self, sample: str, places: re.Pattern[str]) -> bool:
        """Whether the pre-tokenizer cuts `sample` at every match of `places`, before or after."""
        backend = self._backend
        if backend is None or backend.pre_tokenizer is None:
            return False
        normalized = backend.normalizer.normalize_str(sample) if backend.normalizer else sample
        spans = [span for _, span in backend.pre_tokenizer.pre_tokenize_str(normalized)]
        edges = {edge for span in spans for edge in span}
        starts = [match.start() for match in places.finditer(normalized)]
        return bool(starts) and edges.issuperset(starts)


def _no_token_crosses(backend: Tokenizer) -> bool:
    """Whether text is not cut, but tokens have SentencePiece's space mark at their start only.

    Tokens of such a model grow by joining neighbors into a token of the vocabulary (BPE), or are
    chosen from it (Unigram), so none can span a space mark that follows something else.
    """
    if type(backend.pre_tokenizer).__name__ not in ("NoneType", "Metaspace"):
        return False
    if type(backend.model).__name__ not in ("BPE", "Unigram"):
        return False
    vocabulary = backend.get_vocab(with_added_tokens=False)
    return "▁" in vocabulary and not any("▁" in token.lstrip("▁") for token in vocabulary)


_latest: TokenCounter | None = None


def counter_for(tokenizer: Any) -> TokenCounter:
    """A counter for `tokenizer`; the one made last is kept, since tasks come one after another."""
    global _latest
    if _latest is None or not _latest.counts_for(tokenizer):
        _latest = TokenCounter(tokenizer)
    return _latest


def resolve_tokenizer(metadata: Mapping[str, Any]) -> Any:
    """The tokenizer of the model under evaluation.

    A published model counts unless the arguments name another one, as they do when `hf` or `vllm`
    run in the same process later.

    Args:
        metadata: Task metadata, into which lm-eval merges the model arguments: `tokenizer` or
            `pretrained` name a tokenizer (or are one), `revision` and `trust_remote_code` go with
            `pretrained`.

    Raises:
        UserError: If there is no published model and no name, or the name cannot be loaded.
    """
    published = current()
    name = metadata.get("tokenizer") or metadata.get("pretrained")
    if published is not None and _is_meant(published, metadata):
        return published.tokenizer
    if name is None:
        raise UserError(
            "RULER needs a tokenizer to size its documents, and this model does not say which "
            'it uses: name one with --metadata \'{"tokenizer": "NAME OR PATH"}\'.'
        )
    if not isinstance(name, str):
        return name
    revision = metadata.get("revision") if "tokenizer" not in metadata else None
    return _load(name, str(revision or "main"), bool(metadata.get("trust_remote_code")))


def _is_meant(published: CurrentModel, metadata: Mapping[str, Any]) -> bool:
    if metadata.get("tokenizer"):
        # A hub name first: what it was loaded from is a folder of the hub's cache.
        names = (published.tokenizer_name, published.tokenizer.name_or_path)
        return any(_same(metadata["tokenizer"], name) for name in names)
    if metadata.get("pretrained"):
        return _same(metadata["pretrained"], published.name)
    return True


def _same(asked: object, name: str) -> bool:
    if not isinstance(asked, str | Path) or not name:
        return False
    return str(asked) == name or Path(asked).resolve() == Path(name).resolve()


@cache
def _load(name: str, revision: str, trust_remote_code: bool) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            name, revision=revision, trust_remote_code=trust_remote_code
        )
    except Exception as error:  # transformers raises whatever the files make it raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"RULER cannot load the tokenizer {name!r} ({reason}): give another with "
            '--metadata \'{"tokenizer": "NAME OR PATH"}\'.'
        ) from error
