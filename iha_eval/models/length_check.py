"""Nothing is ever truncated: what does not fit stops the run before the first token.

For: the length that requests need, the length a checkpoint allows, and the sentence when the one
exceeds the other.
Not for: making prompts shorter; there is no code for that here on purpose.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iha_eval.errors import UserError

# Lengths are rounded up to this many tokens, so that the next call rarely needs a new engine.
STEP = 128


@dataclass(frozen=True)
class Need:
    """What one request needs room for, in tokens.

    Attributes:
        task: name of the task.
        doc_id: index of the document in it.
        prompt: length of the prompt.
        budget: most tokens to be generated, or what scoring needs beside the prompt.
        what: the budget's name in a sentence.
    """

    task: str
    doc_id: int | None
    prompt: int
    budget: int
    what: str = "a generation budget of"

    @property
    def total(self) -> int:
        """Tokens that max_model_len has to cover."""
        return self.prompt + self.budget


def context_limit(config: Any) -> int | None:
    """The longest sequence that a checkpoint's configuration allows, in tokens.

    `max_position_embeddings`, stretched where the rotary embedding is scaled by a type whose
    factor counts on top of it (linear, dynamic; yarn from its original length).

    Returns:
        The length, or None where the configuration has none.
    """
    limit = getattr(config, "max_position_embeddings", None)
    if not isinstance(limit, int):
        return None
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kind = rope.get("rope_type", rope.get("type"))
    factor = float(rope.get("factor") or 1.0)
    if kind in ("linear", "dynamic"):
        return int(limit * factor)
    if kind == "yarn":
        return max(limit, int(rope.get("original_max_position_embeddings", 0) * factor))
    return limit


def fit_context(needs: Sequence[Need], *, asked: int | None, limit: int | None) -> int:
    """Check that every request fits, and say how long the longest sequence may be.

    Args:
        needs: what each request needs; at least one.
        asked: max_model_len as the user set it, in tokens; None if unset.
        limit: what the checkpoint allows, in tokens; None if it does not say.

    Returns:
        `asked`, or else what the requests need, rounded up to `STEP` within `limit`.

    Raises:
        UserError: a request does not fit; names the longest one and what would do.
    """
    longest = max(needs, key=lambda need: need.total)
    bound = asked if asked is not None else limit
    if bound is None or longest.total <= bound:
        rounded = -(-longest.total // STEP) * STEP
        return asked or (rounded if limit is None else min(rounded, limit))
    over = sum(need.total > bound for need in needs)
    raise UserError(_refusal(longest, over, len(needs), asked=asked, limit=limit))


def check_asked(asked: int | None, limit: int | None) -> None:
    """Refuse a max_model_len beyond what the checkpoint was made for.

    Raises:
        UserError: naming both lengths.
    """
    if asked is not None and limit is not None and asked > limit:
        raise UserError(
            f"max_model_len={asked} is more than the checkpoint allows (max_position_embeddings of "
            f"its config.json: {limit} tokens): set at most {limit}, or leave it out."
        )


def _refusal(need: Need, over: int, total: int, *, asked: int | None, limit: int | None) -> str:
    document = "" if need.doc_id is None else f", document {need.doc_id}"
    if asked is not None and (limit is None or need.total <= limit):
        held = f"max_model_len={asked}"
        remedy = f"set max_model_len={need.total}, or leave it out"
    else:
        held = (
            f"max_model_len={asked} (and the checkpoint's max_position_embeddings of {limit})"
            if asked is not None
            else f"the {limit} tokens that the checkpoint allows (max_position_embeddings)"
        )
        remedy = (
            f"max_model_len={need.total} would do but this checkpoint cannot, so leave out the "
            "task or take a shorter length or generation budget"
        )
    others = f" (and {over - 1} more of {total} requests)" if over > 1 else ""
    return (
        f"Task {need.task}{document}: a prompt of {need.prompt} tokens and {need.what} "
        f"{need.budget} come to {need.total} tokens{others}, over {held}; nothing is truncated, "
        f"so nothing was run: {remedy}."
    )
