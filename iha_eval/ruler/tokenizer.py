"""Which tokenizer documents are sized with.

For: the published model's, or the one that lm-eval's model arguments name.
Not for: counting (tokens.py).
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from iha_eval.current_model import CurrentModel, current
from iha_eval.errors import UserError


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
            "ruler_mk needs a tokenizer to size its documents, and this model does not say which "
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
            f"ruler_mk cannot load the tokenizer {name!r} ({reason}): give another with "
            '--metadata \'{"tokenizer": "NAME OR PATH"}\'.'
        ) from error
