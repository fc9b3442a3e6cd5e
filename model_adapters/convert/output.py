"""What a conversion makes: a folder that appears whole or not at all, and the check that it serves.

For: all conversions, and the files that go along with weights. Not for: the weights themselves (see
`shards.py`), nor for showing what was made (the command line does).
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from model_adapters import checkpoint
from model_adapters.convert.errors import ConversionError
from model_adapters.errors import AdapterError

#: Says where a converted checkpoint came from; no loader reads it, no fingerprint counts it.
PROVENANCE = "iha_conversion.json"

# Tokenizer, prompts and terms of use; a model card would speak of another model.
COMPANIONS = (
    "tokenizer*",
    "*.model",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "generation_config.json",
    "LICENSE*",
    "LICENCE*",
    "NOTICE*",
    "COPYING*",
    "USE_POLICY*",
)
# Written anew, or of no meaning in the copy.
_REPLACED = ("config.json", "*.safetensors", "*.safetensors.index.json", PROVENANCE)


@contextlib.contextmanager
def appearing(out: Path) -> Iterator[Path]:
    """A scratch folder that becomes `out` when the block ends well, and is gone otherwise.

    Args:
        out: What must not exist yet, or be an empty folder.

    Yields:
        The folder to write to, on the same file system as `out`; what lies beside it is removed.

    Raises:
        ConversionError: `out` exists, or cannot be written.
    """
    try:
        _check_free(out)
        # Made only at the end, so that a failure leaves no empty folders either.
        beside = next(folder for folder in out.absolute().parents if folder.is_dir())
        # A name may be as long as is allowed, and this one is longer.
        prefix = f".{out.name[:32]}."
        with tempfile.TemporaryDirectory(dir=beside, prefix=prefix) as scratch:
            _check_names(out.absolute().relative_to(beside), Path(scratch))
            # A temporary folder is its owner's alone; this one gets the usual permissions.
            made = Path(scratch) / "made"
            made.mkdir()
            yield made
            out.parent.mkdir(parents=True, exist_ok=True)
            made.rename(out)
    except OSError as error:
        raise ConversionError(
            f"{out} cannot be written ({error.strerror or error}): name a folder that can."
        ) from error


def _check_free(out: Path) -> None:
    """Refuse what exists, an empty folder apart.

    Raises:
        ConversionError: It exists.
        OSError: Nothing of that name can exist.
    """
    if Path.cwd().is_relative_to(os.path.realpath(out)):
        raise ConversionError(
            f"{out} is the folder you are in, or above it: name a new one, such as {out / 'iha'}."
        )
    try:
        out.lstat()
    except FileNotFoundError:
        return
    if not out.is_dir() or any(out.iterdir()):
        raise ConversionError(f"{out} exists already: remove it, or name another folder.")


def _check_names(wanted: Path, scratch: Path) -> None:
    """Raise now what making the folders would raise at the end, such as for too long a name."""
    for name in wanted.parts:
        with contextlib.suppress(FileNotFoundError):
            (scratch / name).lstat()


def check_room(folder: Path, size: int) -> None:
    """Refuse to begin what would fill the disk.

    Args:
        folder: Where it is to be written.
        size: Bytes, about.

    Raises:
        ConversionError: There is not that much room.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise ConversionError(
            f"the disk has {free / 1e9:.1f} GB free, but the weights take {size / 1e9:.1f} GB: "
            "make room, or name a folder on another disk with --out."
        )


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """As Transformers writes its own: indented by two, keys sorted, a line end at the end."""
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_provenance(folder: Path, kind: str, source: Mapping[str, Any], **options: Any) -> None:
    """Note down what was converted and how.

    Args:
        folder: The new checkpoint.
        kind: Which conversion it was.
        source: What is known of what it was made from.
        **options: What was asked for.
    """
    content = {
        "conversion": kind,
        "iha_eval_version": metadata.version("iha-eval"),
        "source": dict(source),
        "options": options,
    }
    write_json(folder / PROVENANCE, content)


def copy_companions(source: Path, target: Path) -> tuple[list[str], list[str]]:
    """Copy tokenizer, chat template, generation settings and license.

    Returns:
        Names of the files copied, and of those left behind on purpose.
    """
    copied, left = [], []
    for file in sorted(source.iterdir()):
        if file.name.startswith(".") or any(file.match(pattern) for pattern in _REPLACED):
            continue
        if not any(file.match(pattern) for pattern in COMPANIONS):
            left.append(file.name)
        elif file.is_dir():
            left.append(f"{file.name}/")
        else:
            shutil.copyfile(file, target / file.name)
            copied.append(file.name)
    return copied, left


#: Told the phase, the bytes just done in it (0 where it begins) and its bytes in all.
Progress = Callable[[str, int, int], None]
#: The phases; all but writing are told only where they begin.
UNPACKING, CHECKING, WRITING, READING = "unpacking", "checking", "writing", "reading back"


@dataclass(frozen=True)
class Outcome:
    """A finished conversion.

    Attributes:
        made: The new checkpoint.
        source: The old one; None for a state dict.
        copied: Names of the files that went along.
        left: Names of those that did not.
        facts: What it is, name and value.
        notes: Sentences that the user should read.
        moves: What went where, tensor by tensor, for a state dict.
    """

    made: checkpoint.Checkpoint
    source: checkpoint.Checkpoint | None
    copied: list[str]
    left: list[str]
    facts: dict[str, str]
    notes: list[str]
    moves: list[tuple[str, str, str]] = field(default_factory=list)


def silent(phase: str, count: int, total: int) -> None:
    """Progress that nobody watches."""
    del phase, count, total


def checked(folder: Path, out: Path) -> checkpoint.Checkpoint:
    """Read back what was written, as whoever evaluates it will.

    Args:
        folder: Where it lies now.
        out: Where it is going to lie.

    Raises:
        ConversionError: It could not be served.
    """
    try:
        return replace(checkpoint.read(folder), path=out)
    except AdapterError as error:
        text = str(error).replace(str(folder), str(out))
        raise ConversionError(text) from error
