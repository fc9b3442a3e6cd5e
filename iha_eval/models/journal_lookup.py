"""What of a call is finished already, by the journal, and what is left to be generated.

For: where the journal lies, which requests it answers, and saying what is not used and why.
Not for: the file itself (see `journal.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance

from iha_eval.models import invocation
from iha_eval.models.arguments import ModelArguments
from iha_eval.models.journal import Journal, answer_key, document_sha256, others
from iha_eval.models.requests import Answer, GenerateRequest
from iha_eval.util.log import logger

# Fields named of those in which a journal differs; the first say enough.
SHOWN = 4


@dataclass(frozen=True)
class Recalled:
    """The requests of a call, apart.

    Attributes:
        keys: the key of each request, by its index; empty without a journal.
        finished: requests that the journal answers, with their answers.
        missing: the others, in order.
    """

    keys: Sequence[str]
    finished: Sequence[tuple[GenerateRequest, Answer]]
    missing: Sequence[GenerateRequest]


def open_journal(
    arguments: ModelArguments, identity: Mapping[str, Any], *, told: bool
) -> Journal | None:
    """The journal of this model, engine and tasks: in the folder asked for, or beside the output.

    Args:
        arguments: their `journal` is a folder, "" for none, None for beside the output.
        identity: model, engine and tasks.
        told: whether the user has been told already of journals that are not used.

    Returns:
        The journal, or None where there is no folder for it.

    Raises:
        UserError: it cannot be written, or another process writes to it.
    """
    command = invocation.current()
    if arguments.journal is not None:
        folder = Path(arguments.journal).expanduser() if arguments.journal else None
    else:
        folder = command.folder if command else None
    if folder is None:
        return None
    for path, names in {} if told else others(folder, identity).items():
        named = ", ".join(names[:SHOWN]) + (" and more" if len(names) > SHOWN else "")
        logger.warning("%s belongs to another run (%s differ): it is not used.", path, named)
    journal = Journal(folder, identity)
    # One in a folder of the user's own is theirs to keep.
    if command and arguments.journal is None:
        command.journals.append(journal)
    return journal


def recall(
    journal: Journal | None, work: Sequence[GenerateRequest], instances: Sequence[Instance]
) -> Recalled:
    """Look every request up.

    Args:
        journal: None finds nothing. With --fresh it forgets first what is asked for.
        work: the requests; the index of each is its place in `instances`.
        instances: for the documents.
    """
    if journal is None:
        return Recalled([], [], work)
    hashes: dict[int, str] = {}
    for instance in instances:
        # Repeats of a question share one document.
        if id(instance.doc) not in hashes:
            hashes[id(instance.doc)] = document_sha256(instance.doc)
    keys = [answer_key(job, hashes[id(instances[job.index].doc)]) for job in work]
    journal.used.update(keys)
    command = invocation.current()
    if command is not None and command.fresh:
        journal.forget(journal.used)
    answers = [journal.find(key) for key in keys]
    finished = [(job, made) for job, made in zip(work, answers, strict=True) if made is not None]
    missing = [job for job, made in zip(work, answers, strict=True) if made is None]
    return Recalled(keys, finished, missing)


def report(journal: Journal, recalled: Recalled) -> None:
    """Say what of a journal is used, once it has been looked through for the first time."""
    if recalled.finished:
        logger.warning(
            "%d of %d answers are in %s already; %d are left to be generated.",
            len(recalled.finished),
            len(recalled.keys),
            journal.path,
            len(recalled.missing),
        )
    unused = journal.count - len(recalled.finished)
    if unused > 0:
        logger.warning(
            "%d answers in %s are to other questions, prompts or sampling parameters: they are not "
            "used.",
            unused,
            journal.path,
        )
