r"""Training data as dialogues: JSON lines or a data set of the hub, in the forms that are about.

For: telling the form of a row, and refusing a broken one with its line.
Not for: tokens, and not for a benchmark's test questions, which nobody should train on.

Forms: `messages` (role, content), `conversations` (from, value; OpenThoughts and ShareGPT, with
`system` beside it), `prompt` and `completion`, and GSM8K's `question` and `answer`, which is laid
out as `gsm8k_maj` asks and reads it: its instruction, and an end that says `\boxed{}`.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from iha_eval.errors import UserError
from iha_eval.reasoning.fewshot import from_gsm8k
from iha_eval.reasoning.prompts import CHAT

#: `role` (system, user or assistant) and `content`.
Message = dict[str, str]

#: `prompt`: what comes before the last answer; `completion`: that answer, which is learned.
Dialogue = dict[str, list[Message]]

HUB = "hub:"
_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
_FORMS = "messages, conversations, prompt with completion, or question with answer"


def read(name: str) -> Iterator[Dialogue]:
    """The dialogues of a file or of a data set of the hub, in their order.

    Args:
        name: Path of a file of JSON lines, or `hub:OWNER/NAME`, whose split `train` is read.

    Raises:
        UserError: It cannot be read, or a row has none of the forms.
    """
    rows = _hub(name.removeprefix(HUB)) if name.startswith(HUB) else _lines(Path(name))
    for where, row in rows:
        yield dialogue(row, where)


def dialogue(row: object, where: str) -> Dialogue:
    """One row as a dialogue whose last message is the assistant's.

    Args:
        row: What was read.
        where: Its place, for the message.

    Raises:
        UserError: The row has none of the forms, or does not end with an answer.
    """
    messages = _messages(row, where) if isinstance(row, Mapping) else None
    if messages is None:
        raise UserError(f"{where} is in no known form: give it {_FORMS}.")
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise UserError(
            f"{where} does not end with an answer of the assistant to somebody: there is nothing "
            "to learn from it, so take it out or complete it."
        )
    return {"prompt": messages[:-1], "completion": messages[-1:]}


def _messages(row: Mapping[str, Any], where: str) -> list[Message] | None:
    match row:
        case {"messages": list(turns)}:
            return [_message(turn, "role", "content", where) for turn in turns]
        case {"conversations": list(turns)}:
            messages = [_message(turn, "from", "value", where) for turn in turns]
            system = row.get("system")
            return [_say("system", system), *messages] if system else messages
        case {"prompt": str(asked), "completion": str(answer)}:
            return [_say("user", asked), _say("assistant", answer)]
        case {"question": str(problem), "answer": str(answer)} if "####" in answer:
            example = from_gsm8k(problem, answer)
            asked = CHAT.question.replace("{{problem}}", example.problem)
            return [_say("user", asked), _say("assistant", example.solution)]
    return None


def _message(turn: object, role: str, content: str, where: str) -> Message:
    if isinstance(turn, Mapping) and isinstance(text := turn.get(content), str):
        if speaker := _ROLES.get(str(turn.get(role))):
            return _say(speaker, text)
        raise UserError(
            f"{where} has a message of {role}={turn.get(role)!r}: use one of "
            f"{', '.join(sorted(_ROLES))}."
        )
    raise UserError(f"{where} has a message without {role!r} and {content!r}: give it both.")


def _say(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _lines(path: Path) -> Iterator[tuple[str, object]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path}, line {number}", _parsed(line, f"{path}, line {number}")
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror or error}): name a file of JSON lines, or a "
            f"data set of the hub as {HUB}OWNER/NAME."
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error.reason}): save it as UTF-8.") from error


def _parsed(line: str, where: str) -> object:
    try:
        return json.loads(line)
    except ValueError as error:
        raise UserError(f"{where} is not JSON: write one JSON object a line.") from error


def _hub(repository: str) -> Iterator[tuple[str, object]]:
    # Slow to import, and a local file does without.
    from datasets import load_dataset

    try:
        rows = load_dataset(repository, split="train")
    except Exception as error:
        # The library's own classes, the hub's, the network's: one thing to the user.
        raise UserError(
            f"the data set {repository} cannot be had from the hub ({type(error).__name__}): check "
            "its name and the network, or name a local file of JSON lines."
        ) from error
    for number, row in enumerate(rows, start=1):
        yield f"{HUB}{repository}, row {number}", row
