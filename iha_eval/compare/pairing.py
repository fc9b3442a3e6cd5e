"""Which document of one run is which of the other, and whether they may be compared at all.

For: pairing by task, filter and document number with equal hashes and settings, or a refusal that
says what differs.
Not for: reading files (runs.py, samples.py), nor for what is computed from the pairs (cells.py).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from iha_eval.compare.runs import Run
from iha_eval.compare.samples import HASHES, Key, Sample, TaskSamples, read_samples
from iha_eval.compare.settings import differing_settings, task_settings
from iha_eval.errors import UserError

Side = Literal["iha", "baseline"]

SIDES: tuple[Side, Side] = ("iha", "baseline")
"""Both, in the order in which they are told."""

_PARTS = dict(zip(HASHES, ("document", "prompt", "target"), strict=True))


@dataclass(frozen=True)
class Task:
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
        tasks: The tasks that both have, in the order of the first.
        paired: Whether documents are paired.
        warnings: What a reader must know, each a sentence.
    """

    runs: Mapping[Side, Run]
    tasks: Sequence[Task]
    paired: bool
    warnings: tuple[str, ...]

    def task(self, name: str) -> Task:
        """The task of that name."""
        return next(task for task in self.tasks if task.name == name)

    @property
    def documents(self) -> int:
        """Documents that are compared; unpaired, those of the first run."""
        return sum(
            len({number for _, number in (task.common if task.paired else task.side("iha"))})
            for task in self.tasks
        )


def pair(iha: Run, baseline: Run, *, unpaired: bool = False) -> Pairing:
    """Pair two runs.

    Args:
        iha: The run in question.
        baseline: The one it is measured by.
        unpaired: Compare the scores of runs that cannot be paired, as separate questions.

    Raises:
        UserError: They have no task or document in common, or they differ in documents, prompts,
            targets or settings and `unpaired` is not set; the sentence says in which.
    """
    names = [task for task in iha.samples if task in baseline.samples]
    if not names:
        raise UserError(
            f"The runs have no task in common ({_names(iha.samples)} against "
            f"{_names(baseline.samples)}): run both models on the same tasks."
        )
    base = baseline.samples
    settings = {name: _settings(iha, baseline, name) for name in names}
    if not unpaired:
        _refuse(settings)
    tasks = [
        Task(
            name,
            {"iha": read_samples(iha.samples[name]), "baseline": read_samples(base[name])},
            paired=not unpaired,
        )
        for name in names
    ]
    hashes = {task.name: _hashes(task) for task in tasks}
    if not unpaired:
        _refuse(hashes)
        _refuse_empty(tasks)
    warnings = [*_one_sided(iha, baseline), *(w for task in tasks for w in _warnings(task))]
    if unpaired:
        warnings.insert(0, _unpaired(settings, hashes))
    return Pairing({"iha": iha, "baseline": baseline}, tasks, not unpaired, tuple(warnings))


def _settings(iha: Run, baseline: Run, task: str) -> str:
    """The settings of a task that differ, in words; empty if none does."""
    return ", ".join(
        differing_settings(task_settings(iha, task), task_settings(baseline, task))[:6]
    )


def _hashes(task: Task) -> str:
    """What differs between documents of the same number, in words; empty if nothing does."""
    iha, baseline = task.side("iha"), task.side("baseline")
    kinds: Counter[tuple[str, ...]] = Counter()
    numbers: dict[int, None] = {}
    for key in task.common:
        parts = _parts(iha[key], baseline[key])
        if parts:
            kinds[parts] += 1
            numbers[key[1]] = None
    if not kinds:
        return ""
    parts = tuple(name for name in (*_PARTS.values(), "hash") if any(name in k for k in kinds))
    where = f"{_numbers(list(numbers))} of {len({number for _, number in task.common})}"
    if parts == ("hash",):
        return f"no hashes for {where}: they were made by an lm-eval that does not log them"
    if parts == ("prompt",):
        return (
            f"the prompt alone of {where}: documents and targets are equal, so it is chat "
            "template, system instruction or worked examples"
        )
    return f"{' and '.join(parts)} of {where}"


def _parts(a: Sample, b: Sample) -> tuple[str, ...]:
    if None in (*a.hashes, *b.hashes):
        return ("hash",)
    return tuple(
        _PARTS[name]
        for name, ours, theirs in zip(HASHES, a.hashes, b.hashes, strict=True)
        if ours != theirs
    )


def _refuse(found: Mapping[str, str]) -> None:
    different = {task: what for task, what in found.items() if what}
    if not different:
        return
    task, what = next(iter(different.items()))
    more = f" (and {len(different) - 1} more tasks)" if len(different) > 1 else ""
    raise UserError(
        f"The runs cannot be paired, for they differ in task {task}{more}: {what}; run both with "
        "the same tokenizer, data and settings, or add --unpaired to compare them as separate "
        "questions."
    )


def _refuse_empty(tasks: Sequence[Task]) -> None:
    if not any(task.common for task in tasks):
        first = tasks[0]
        raise UserError(
            f"The runs have no document in common in {_names([task.name for task in tasks])} (in "
            f"{first.name}, {_range(first.side('iha'))} against {_range(first.side('baseline'))}): "
            "run both models on the same documents."
        )


def _unpaired(settings: Mapping[str, str], hashes: Mapping[str, str]) -> str:
    found = [
        f"{task}: {'; '.join(filter(None, (settings[task], hashes[task])))}"
        for task in settings
        if settings[task] or hashes[task]
    ]
    reason = (
        f"what differs is, in {' | '.join(found[:3])}{' | ...' if len(found) > 3 else ''}"
        if found
        else "nothing stands against pairing these runs, which would tell much more"
    )
    return f"UNPAIRED: questions were not matched, as asked for by --unpaired; {reason}."


def _one_sided(iha: Run, baseline: Run) -> Iterator[str]:
    for name, one, other in (("IHA", iha, baseline), ("baseline", baseline, iha)):
        only = [task for task in one.tasks if task not in other.tasks]
        if only:
            yield f"Only the {name} run has {_names(only)}: left out."


def _warnings(task: Task) -> Iterator[str]:
    for side in SIDES:
        yield from task.sides[side].warnings
    if not task.paired:
        return
    for side, other in zip(SIDES, reversed(SIDES), strict=True):
        missing = [key for key in task.side(other) if key not in task.side(side)]
        if missing:
            numbers = sorted({number for _, number in missing})
            yield (
                f"{task.name}: the {'IHA' if side == 'iha' else 'baseline'} run lacks "
                f"{_numbers(numbers)}: left out."
            )


def _numbers(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:3]))
    more = f" and {len(numbers) - 3} more" if len(numbers) > 3 else ""
    return f"document{'s' if len(numbers) > 1 else ''} {shown}{more}"


def _range(samples: Mapping[Key, Sample]) -> str:
    numbers = [number for _, number in samples]
    return f"documents {min(numbers)} to {max(numbers)}"


def _names(names: Sequence[str] | Mapping[str, object]) -> str:
    listed = list(names)
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")
