"""From what the user names to a checked checkpoint folder.

For: a folder, a hub name, or nothing at all (the embedded default checkpoint).
Not for: what makes a checkpoint good or bad, which `model_adapters.checkpoint` knows.
"""

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from iha_eval.errors import UserError
from iha_eval.util.log import logger
from model_adapters import checkpoint, default_checkpoint
from model_adapters.errors import AdapterError

# Weights in any other format are not read, so they are not fetched either.
WANTED = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.py", "LICENSE*", "NOTICE*")

#: Bytes of one number, by the type of weights.
ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Source:
    """Where a checkpoint comes from.

    Attributes:
        name: what the user called it; for the default, the name of its folder.
        checkpoint: what its folder holds, checked.
        note: what is to be said about it in log and results; empty for a user's own.
    """

    name: str
    checkpoint: checkpoint.Checkpoint
    note: str


def find_checkpoint(
    pretrained: str | None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    hf_token: str | None = None,
) -> Source:
    """Find and check the checkpoint to evaluate.

    Args:
        pretrained: a folder, a hub name, the name of an embedded checkpoint (see
            `model_adapters.default_checkpoint`), or None for the default of those.
        revision: branch, tag or commit; for hub names only.
        trust_remote_code: whether code in the folder may define its architecture.
        hf_token: the user's token at the hub; None is the one that is logged in.

    Returns:
        The checkpoint with its name.

    Raises:
        UserError: there is no such checkpoint, or it cannot be served.
    """
    note = ""
    try:
        embedded = default_checkpoint.IHA if pretrained is None else pretrained
        if embedded in default_checkpoint.DESCRIPTIONS:
            folder = default_checkpoint.folder(embedded)
            note = default_checkpoint.DESCRIPTIONS[embedded]
            given = "No pretrained= given: evaluating" if pretrained is None else "Evaluating"
            logger.warning("%s the %s (in %s).", given, note, folder)
        else:
            folder = locate(embedded, revision, hf_token)
        contents = checkpoint.read(folder, trust_remote_code=trust_remote_code)
        return Source(pretrained or folder.name, contents, note)
    except AdapterError as error:
        raise UserError(str(error)) from error


def locate(name: str, revision: str | None = None, hf_token: str | None = None) -> Path:
    """The folder of a checkpoint or tokenizer; fetched from the hub where it is not local.

    Raises:
        UserError: it is a file, or neither a folder nor to be had from the hub.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise UserError(f"{name} is a file, not a checkpoint folder: {_instead(folder)}.")
    neither = f"{name} is not a folder here"
    try:
        wanted = list(WANTED)
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=wanted, token=hf_token)
        )
    except HFValidationError as error:
        raise UserError(f"{neither} and cannot be the name of a hub repository.") from error
    except HfHubHTTPError as error:
        at = f" at revision {revision}" if revision else ""
        raise UserError(
            f"{neither} and the hub has no {name}{at} for you ({type(error).__name__}): check the "
            "spelling, or log in where it is private."
        ) from error
    except (LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"{neither}, nor in the hub's local cache, and the hub cannot be reached: give the "
            "path of a checkpoint folder."
        ) from error


def compute_dtype(contents: checkpoint.Checkpoint, asked: str) -> str:
    """The type to compute in: vLLM's own "auto" would turn float32 weights into bfloat16."""
    own = contents.weights_dtype
    return asked if asked != "auto" or own not in ITEM_BYTES else own


def _instead(file: Path) -> str:
    """What to do with a file that was named in a folder's place."""
    if file.suffix.lower() == ".gguf":
        return f"convert it first (iha-eval convert {file} --out DIR --pseudo-heads P)"
    return "give the path of the folder that it lies in"
