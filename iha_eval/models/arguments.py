"""What may be written in `--model_args`, checked one by one before anything is loaded.

For: names, types and defaults that both model classes share; whatever is left over goes to the
class's own engine. Every refusal is one sentence.
Not for: what vLLM makes of its own arguments (see `models/vllm/engine_arguments.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iha_eval.errors import UserError
from iha_eval.generation_kwargs import DEFAULT_BUDGET

DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class ModelArguments:
    """The arguments that both model classes take.

    Attributes:
        pretrained: folder or hub name of the checkpoint; None is the embedded default.
        revision: branch, tag or commit on the hub.
        tokenizer: folder or hub name, where the checkpoint's own is not meant.
        trust_remote_code: whether code shipped with a checkpoint may run.
        dtype: type to compute in; "auto" is the checkpoint's own.
        max_model_len: longest prompt plus generation in tokens; None is what the requests need.
        max_gen_toks: generation budget in tokens where a task sets none.
        concurrency: most requests in flight; None is as many as the engine takes.
        add_bos_token: whether prompts get special tokens; None is the tokenizer's own way.
        prefix_token_id: token that an empty context stands for; None is BOS, or else EOS.
        seed: seed of the run; every sampled answer's own seed is derived from it.
        chat_template_args: further arguments of the chat template.
        journal: folder for the journal; "" is none, None is beside lm-eval's output.
        batch_invariant: whether an answer may not depend, to the last bit, on what else is in the
            batch; None is where it is cheap (vLLM's CPU build).
        device: torch device, where lm-eval's `--device` gave one.
        engine: everything else, for the engine.
    """

    pretrained: str | None = None
    revision: str | None = None
    tokenizer: str | None = None
    trust_remote_code: bool = False
    dtype: str = "auto"
    max_model_len: int | None = None
    max_gen_toks: int = DEFAULT_BUDGET
    concurrency: int | None = None
    add_bos_token: bool | None = None
    prefix_token_id: int | None = None
    seed: int = 0
    chat_template_args: dict[str, Any] = field(default_factory=dict)
    journal: str | None = None
    batch_invariant: bool | None = None
    device: str | None = None
    engine: dict[str, Any] = field(default_factory=dict)


# What a user may write; `concurrency` and `engine` are made of other names.
SHARED_NAMES = (
    *(
        name
        for name in ModelArguments.__dataclass_fields__
        if name not in ("concurrency", "engine")
    ),
    "max_length",
    "batch_size",
    "max_batch_size",
)


def parse(given: Mapping[str, Any]) -> ModelArguments:
    """Check the arguments of a model class and sort them.

    Args:
        given: name to value, as lm-eval hands `--model_args`, `--batch_size`, `--device` on.

    Returns:
        The shared arguments; names not in `SHARED_NAMES` stand in `engine`, unchecked.

    Raises:
        UserError: a shared argument has a value that cannot be meant.
    """
    rest = {name: value for name, value in given.items() if value is not None}

    def take(name: str) -> Any:
        return rest.pop(name, None)

    length, alias = count("max_model_len", take("max_model_len")), take("max_length")
    if length is not None and alias is not None:
        raise UserError(
            f"max_model_len={length} and max_length={alias} mean the same: give only max_model_len."
        )
    batch_size, most = take("batch_size"), take("max_batch_size")
    return ModelArguments(
        pretrained=_text("pretrained", take("pretrained")),
        revision=_text("revision", take("revision")),
        tokenizer=_text("tokenizer", take("tokenizer")),
        trust_remote_code=bool(_flag("trust_remote_code", take("trust_remote_code"))),
        dtype=_dtype(take("dtype")),
        max_model_len=length or count("max_length", alias),
        max_gen_toks=count("max_gen_toks", take("max_gen_toks")) or DEFAULT_BUDGET,
        concurrency=_concurrency(batch_size, most),
        add_bos_token=_flag("add_bos_token", take("add_bos_token")),
        prefix_token_id=count("prefix_token_id", take("prefix_token_id"), least=0),
        seed=count("seed", take("seed"), least=0) or 0,
        chat_template_args=_mapping("chat_template_args", take("chat_template_args")),
        journal=_journal(take("journal")),
        batch_invariant=_flag("batch_invariant", take("batch_invariant")),
        device=_text("device", take("device")),
        engine=rest,
    )


def refuse_unknown(model: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Refuse names that the engine of a model class does not know.

    Args:
        model: name under which the class is registered.
        given: arguments for the engine.
        known: names that the engine takes.

    Raises:
        UserError: naming the unknown ones and all that are known.
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise UserError(
            f"{model} has no argument {', '.join(unknown)}: it knows "
            f"{', '.join(sorted({*SHARED_NAMES, *known}))}."
        )


def count(name: str, value: Any, least: int = 1) -> int | None:
    """A whole number out of an argument, or None where it was not given.

    Raises:
        UserError: it is not a whole number, or below `least`.
    """
    if value is None:
        return None
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or isinstance(value, bool) or number != float(value) or number < least:
        raise UserError(f"{name}={value!r} is not a whole number of at least {least}.")
    return number


def _concurrency(batch_size: Any, most: Any) -> int | None:
    """None for all at once: that is what unset and "auto" mean, and lm-eval's unset is 1."""
    bound = count("max_batch_size", most)
    automatic = isinstance(batch_size, str) and batch_size.partition(":")[0] == "auto"
    if batch_size is None or automatic:
        return bound
    try:
        size = int(batch_size)
    except (TypeError, ValueError):
        size = 0
    if size < 1:
        raise UserError(f'batch_size={batch_size!r} is neither "auto" nor a whole number above 0.')
    return bound if size == 1 else min(size, bound or size)


def _flag(name: str, value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise UserError(f"{name}={value!r} is neither True nor False.")


def _text(name: str, value: Any) -> str | None:
    # A folder named 7 arrives as a number, a Path from Python code as itself.
    if value is None or isinstance(value, str | Path | int):
        return None if value is None else str(value)
    raise UserError(f"{name}={value!r} is not a name or a path.")


def _journal(value: Any) -> str | None:
    if value is True:
        raise UserError("journal=True names no folder: say journal=FOLDER, or False for none.")
    return "" if value is False else _text("journal", value)


def _mapping(name: str, value: Any) -> dict[str, Any]:
    if value is None or isinstance(value, dict):
        return value or {}
    raise UserError(f"{name}={value!r} is not a mapping: give --model_args as JSON.")


def _dtype(value: Any) -> str:
    name = str(value or "auto").removeprefix("torch.")
    if name not in DTYPES:
        raise UserError(f"dtype={value!r} is not one of {', '.join(DTYPES)}.")
    return name
