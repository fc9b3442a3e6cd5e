"""What stands between two runs, in words: refusals, warnings, lists of documents.

For: the sentences of pairing, from what was found there.
Not for: finding it (pairing.py, settings.py).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from iha_eval.compare.inputs.samples import HASHES, Key, Sample
from iha_eval.errors import UserError

_PARTS = dict(zip(HASHES, ("document", "prompt", "target"), strict=True))

_REMEDY = "run both with the same tokenizer, data and settings, or add --unpaired to compare"


def hash_difference(
    iha: Mapping[Key, Sample], baseline: Mapping[Key, Sample], templates: Sequence[object]
) -> str:
    """What differs between documents of the same number; empty if nothing does.

    Args:
        iha: Samples of one run.
        baseline: Samples of the other, of the same task.
        templates: Hashes of the chat templates of both.
    """
    kinds: Counter[tuple[str, ...]] = Counter()
    differing: dict[int, None] = {}
    both = sorted({*iha} & {*baseline})
    for key in both:
        parts = _parts(iha[key], baseline[key])
        if parts:
            kinds[parts] += 1
            differing[key[1]] = None
    if not kinds:
        return ""
    parts = tuple(name for name in (*_PARTS.values(), "hash") if any(name in k for k in kinds))
    where = f"{numbers(list(differing))} of {len({number for _, number in both})}"
    if parts == ("hash",):
        return f"no hashes for {where}: they were made by an lm-eval that does not log them"
    if parts == ("prompt",):
        first, second = (str(one)[:12] if one else "none" for one in templates)
        template = (
            f"chat template ({first} against {second})" if first != second else "chat template"
        )
        return (
            f"the prompt alone of {where}: documents and targets are equal, so it is {template}, "
            "system instruction or worked examples"
        )
    return f"{' and '.join(parts)} of {where}"


def refusal(different: Mapping[str, str]) -> UserError:
    """The error where no task can be paired.

    Args:
        different: Task -> what differs; at least one.
    """
    task, what = next(iter(different.items()))
    more = f" (and {len(different) - 1} more tasks)" if len(different) > 1 else ""
    return UserError(
        f"The runs cannot be paired, for they differ in task {task}{more}: {what}; {_REMEDY} them "
        "as separate questions."
    )


def no_common_document(tasks: Mapping[str, Sequence[Mapping[Key, Sample]]]) -> UserError:
    """The error where no task has a document that both runs have.

    Args:
        tasks: Task -> the samples of both runs; at least one.
    """
    ours, theirs = next(iter(tasks.values()))
    return UserError(
        f"The runs have no document in common in {listed(list(tasks))} (in {next(iter(tasks))}, "
        f"{_range(ours)} against {_range(theirs)}): run both models on the same documents."
    )


def left_out(different: Mapping[str, str]) -> Iterator[str]:
    """A warning for all tasks that are refused for the same reason.

    Args:
        different: Task -> what differs, of those tasks.
    """
    reasons: dict[str, list[str]] = {}
    for task, what in different.items():
        reasons.setdefault(what, []).append(task)
    for what, tasks in reasons.items():
        yield (
            f"NOT COMPARED: {listed(tasks)}, for the runs differ there: {what}; {_REMEDY} separate "
            "questions."
        )


def broken_off(broken: Mapping[str, str]) -> Iterator[str]:
    """A warning for each task that cannot be compared for what its files are.

    Args:
        broken: Task -> what is wrong, a sentence.
    """
    return (f"NOT COMPARED: {task}: {sentence}" for task, sentence in broken.items())


def not_matched(different: Mapping[str, str]) -> str:
    """The warning of an unpaired comparison.

    Args:
        different: Task -> what differs, of the tasks that are compared unpaired; at least one.
    """
    told = " | ".join(f"{task}: {what}" for task, what in list(different.items())[:3])
    return (
        f"UNPAIRED: the questions of {listed(list(different))} were not matched, as --unpaired "
        f"allows; what differs is, in {told}{' | ...' if len(different) > 3 else ''}."
    )


def lacking(task: str, run: str, keys: Sequence[Key]) -> str:
    """The warning of documents that one run alone has.

    Args:
        task: Its name.
        run: The run without them.
        keys: Which; at least one.
    """
    missing = sorted({number for _, number in keys})
    return f"{task}: the {run} run lacks {numbers(missing)}: left out."


def numbers(documents: Sequence[int]) -> str:
    """Some document numbers, the first of them named."""
    first = ", ".join(map(str, documents[:3]))
    more = f" and {len(documents) - 3} more" if len(documents) > 3 else ""
    return f"document{'s' if len(documents) > 1 else ''} {first}{more}"


def listed(names: Sequence[str]) -> str:
    """Some names, the first of them written out."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _parts(a: Sample, b: Sample) -> tuple[str, ...]:
    if None in (*a.hashes, *b.hashes):
        return ("hash",)
    return tuple(
        _PARTS[name]
        for name, ours, theirs in zip(HASHES, a.hashes, b.hashes, strict=True)
        if ours != theirs
    )


def _range(samples: Mapping[Key, Sample]) -> str:
    documents = [number for _, number in samples]
    return f"documents {min(documents)} to {max(documents)}"
