"""Which document of one run is which of the other, and whether they may be compared at all.

For: pairing by task, filter and document number with equal hashes and settings; a task in which the
runs differ is refused, or compared unpaired where that is asked for.
Not for: reading files (runs.py, samples.py), nor for what is computed from the pairs
(iha_eval.compare.analysis).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from iha_eval.compare.inputs.runs import Run
from iha_eval.compare.inputs.samples import HASHES, Key, Sample, TaskSamples, read_samples
from iha_eval.compare.inputs.settings import (
    argument_warnings,
    differing_settings,
    generation_reader,
    request_difference,
    template,
)
from iha_eval.errors import UserError

Side = Literal["iha", "baseline"]

SIDES: tuple[Side, Side] = ("iha", "baseline")
"""Both, in the order in which they are told."""

_NAMES: dict[Side, str] = {"iha": "IHA", "baseline": "baseline"}

_MOST_SETTINGS = 6

_PARTS = dict(zip(HASHES, ("document", "prompt", "target"), strict=True))

_REMEDY = "run both with the same tokenizer, data and settings, or add --unpaired to compare"


@dataclass(frozen=True)
class ComparedTask:
    """One task of both runs.

    Attributes:
        name: Its name.
        sides: The samples of each run.
        paired: Whether the samples of one key are the same question.
    """

    name: str
    sides: Mapping[Side, TaskSamples]
    paired: bool

    def side(self, side: Side) -> Mapping[Key, Sample]:
        """The samples of one run."""
        return self.sides[side].samples

    @property
    def keys(self) -> list[Key]:
        """The keys that either run has, sorted."""
        return sorted({*self.side("iha"), *self.side("baseline")})

    @property
    def common(self) -> list[Key]:
        """The keys that both runs have, sorted."""
        return sorted({*self.side("iha")} & {*self.side("baseline")})

    @property
    def filters(self) -> list[str]:
        """The filters that both runs have, in the order of the first run's file."""
        theirs = {name for name, _ in self.side("baseline")}
        return [name for name in dict.fromkeys(n for n, _ in self.side("iha")) if name in theirs]

    def scores(self, side: Side, filter_name: str, metric: str) -> list[float | None]:
        """The scores of one run; paired, one for each document that either run has.

        Args:
            side: Which run.
            filter_name: Under which filter.
            metric: Which score; None stands for a missing document, NaN for a missing score.
        """
        mine = self.side(side)
        keys: Sequence[Key] = self.keys if self.paired else sorted(mine)
        return [
            mine[key].scores.get(metric) if key in mine else None
            for key in keys
            if key[0] == filter_name
        ]


@dataclass(frozen=True)
class Pairing:
    """Two runs, ready to be compared.

    Attributes:
        runs: Both.
        tasks: The tasks that both have and that can be compared, in the order of the first.
        paired: Whether the documents of every task are paired.
        warnings: What a reader must know, each a sentence; what was not paired comes first.
        refused: Tasks that both have samples of and that are not compared -> why.
    """

    runs: Mapping[Side, Run]
    tasks: Sequence[ComparedTask]
    paired: bool
    warnings: tuple[str, ...]
    refused: Mapping[str, str] = field(default_factory=dict)

    def task(self, name: str) -> ComparedTask:
        """The task of that name."""
        return next(task for task in self.tasks if task.name == name)

    @property
    def unpaired(self) -> list[str]:
        """The tasks whose documents are not paired."""
        return [task.name for task in self.tasks if not task.paired]

    @property
    def not_compared(self) -> dict[str, str]:
        """All tasks of either run that are left out -> why, in the order of the runs."""
        here = {task.name for task in self.tasks}
        names = dict.fromkeys(name for run in self.runs.values() for name in run.tasks)
        return {
            name: self.refused.get(name) or _lacking(self.runs, name)
            for name in names
            if name not in here
        }

    @property
    def documents(self) -> int:
        """Documents that are compared; of unpaired tasks, those of the first run."""
        return sum(
            len({number for _, number in (task.common if task.paired else task.side("iha"))})
            for task in self.tasks
        )


def pair(iha: Run, baseline: Run, *, unpaired: bool = False) -> Pairing:
    """Pair two runs, task by task.

    Args:
        iha: The run in question.
        baseline: The one it is measured by.
        unpaired: Compare the scores of tasks that cannot be paired, as separate questions; else
            those tasks are left out, with a warning.

    Raises:
        UserError: They have no task or document in common, or they differ in documents, prompts,
            targets or settings of every task and `unpaired` is not set; the sentence says in which.
    """
    runs: dict[Side, Run] = {"iha": iha, "baseline": baseline}
    names = [task for task in iha.samples if task in baseline.samples]
    if not names:
        raise UserError(
            f"The runs have no task in common ({listed(list(iha.samples))} against "
            f"{listed(list(baseline.samples))}): run both models on the same tasks."
        )
    tasks: list[ComparedTask] = []
    different: dict[str, str] = {}
    broken: dict[str, str] = {}
    for name in names:
        settings = ", ".join(differing_settings(iha, baseline, name)[:_MOST_SETTINGS])
        if settings and not unpaired:
            # What is refused anyway need not be read.
            different[name] = settings
            continue
        try:
            sides = {side: read_samples(run.samples[name]) for side, run in runs.items()}
        except UserError as error:
            broken[name] = str(error)
            continue
        what = _different(runs, name, sides, settings, unpaired)
        if what:
            different[name] = what
        if unpaired or not what:
            tasks.append(ComparedTask(name, sides, paired=not what))
    if not tasks:
        raise refusal(different) if different else UserError(next(iter(broken.values())))
    if not unpaired and not any(task.common for task in tasks):
        raise no_common_document({task.name: [task.side(side) for side in SIDES] for task in tasks})
    return Pairing(
        runs,
        tasks,
        all(task.paired for task in tasks),
        tuple(_warnings(runs, tasks, different, broken, unpaired)),
        {**_refused(different, unpaired), **broken},
    )


def _different(
    runs: Mapping[Side, Run],
    task: str,
    sides: Mapping[Side, TaskSamples],
    settings: str,
    unpaired: bool,
) -> str:
    """What stands against pairing the documents of a task; empty if nothing does."""
    ours, theirs = (sides[side].samples for side in SIDES)
    documents = hash_difference(ours, theirs, [template(runs[side], task) for side in SIDES])
    if unpaired and not {*ours} & {*theirs}:
        documents = "no document is in both"
    # Settings that the results tell apart need not be told once more.
    both = [runs[side] for side in SIDES]
    readers = [generation_reader(run, other) for run, other in zip(both, both[::-1], strict=True)]
    requests = "" if settings else request_difference(ours, theirs, readers)
    return "; ".join(filter(None, (settings, documents, requests)))


def _refused(different: Mapping[str, str], unpaired: bool) -> dict[str, str]:
    if unpaired:
        return {}
    return {task: f"the runs differ there: {what}" for task, what in different.items()}


def _lacking(runs: Mapping[Side, Run], task: str) -> str:
    """Why a task is in no comparison that was not refused."""
    for side, run in runs.items():
        if task not in run.tasks:
            return f"the {_NAMES[side]} run does not have it"
    sides = [_NAMES[side] for side, run in runs.items() if task not in run.samples]
    return f"there is no sample file of it in the {' and the '.join(sides)} run"


def _warnings(
    runs: Mapping[Side, Run],
    tasks: Sequence[ComparedTask],
    different: Mapping[str, str],
    broken: Mapping[str, str],
    unpaired: bool,
) -> Iterator[str]:
    yield from broken_off(broken)
    if different and unpaired:
        yield not_matched(different)
    elif different:
        yield from left_out(different)
    elif unpaired and not broken:
        yield "--unpaired changed nothing: every task could be paired, and is."
    for side, other in zip(SIDES, reversed(SIDES), strict=True):
        only = [task for task in runs[side].tasks if task not in runs[other].tasks]
        if only:
            yield f"Only the {_NAMES[side]} run has {listed(only)}: left out."
    yield from argument_warnings(runs["iha"], runs["baseline"])
    for task in tasks:
        yield from _task_warnings(task)


def _task_warnings(task: ComparedTask) -> Iterator[str]:
    for side in SIDES:
        yield from task.sides[side].warnings
    if not task.paired:
        return
    for side, other in zip(SIDES, reversed(SIDES), strict=True):
        missing = [key for key in task.side(other) if key not in task.side(side)]
        if missing:
            yield lacking(task.name, _NAMES[side], missing)


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
        first, second = (str(sha)[:12] if sha else "none" for sha in templates)
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
